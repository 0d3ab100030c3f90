"""Create the tables of the core: credentials, sessions and the log with its view."""

import sqlalchemy as sa
from alembic import op

from nightscribe.server.database.tables import Number, UtcTime

revision = "core_0001"
down_revision = None
branch_labels = ("core",)
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False, index=True),
        sa.Column("secret_hash", sa.String(300), nullable=False, index=True),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("expires_at", UtcTime),
        sa.Column("revoked_at", UtcTime),
        sa.Column("last_used_at", UtcTime),
    )
    op.create_table(
        "sessions",
        sa.Column("id_hash", sa.String(64), primary_key=True),
        sa.Column(
            "credential_id",
            sa.String(32),
            sa.ForeignKey("credentials.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("csrf_token", sa.String(64), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("expires_at", UtcTime, nullable=False, index=True),
    )
    op.create_table(
        "log",
        sa.Column("id", Number, primary_key=True, autoincrement=True),
        sa.Column("at", UtcTime, nullable=False, index=True),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("credential_id", sa.String(32)),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("recording", sa.Text),
        sa.Column("address", sa.String(64)),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.create_index("ix_log_action_at", "log", ["action", "at"])
    day = "date(at)" if op.get_bind().dialect.name == "sqlite" else "(at AT TIME ZONE 'UTC')::date"
    op.execute(
        f"CREATE VIEW log_by_day AS SELECT {day} AS day, actor, action, count(*) AS n, "  # noqa: S608  no user's words
        f"count(DISTINCT recording) AS n_recordings FROM log GROUP BY {day}, actor, action"
    )
