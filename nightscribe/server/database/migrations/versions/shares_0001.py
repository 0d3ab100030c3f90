"""Create the table of links that share a transcript."""

import sqlalchemy as sa
from alembic import op

from nightscribe.server.database.tables import UtcTime

revision = "shares_0001"
down_revision = None
branch_labels = ("shares",)
depends_on = None


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "shares",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("recording", sa.Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("expires_at", UtcTime, nullable=False),
    )
