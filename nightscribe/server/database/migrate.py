"""Bring the tables of a database up to date when a server starts; several servers may start at the same moment."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from nightscribe.server.database.database import Database
from nightscribe.server.database.tables import Base
from nightscribe.shared.errors import SetupError

log = structlog.get_logger()

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x6E69676874  # any number, the same in all servers
VERSIONS = "schema_versions"
"""Table with the last migration of each area."""


def upgrade(database: Database, to: str = "heads") -> None:
    """Run the migrations that are missing; all of them are stored, or none.

    `to`: the migration to stop at, for tests.

    Raises: SetupError: if a newer release has changed the tables.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    with _only_one(database), database.engine.execution_options(writes=True).begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        before = _heads(connection)
        _refuse_newer(script, before)

        def missing(revision: object, _context: MigrationContext) -> object:
            return script._upgrade_revs(to, revision)  # type: ignore[arg-type]  # noqa: SLF001  as alembic's own command

        with EnvironmentContext(config, script, fn=missing) as environment:
            environment.configure(
                connection=connection,
                target_metadata=Base.metadata,
                version_table=VERSIONS,
                transactional_ddl=False,  # one transaction around all of them is open here
            )
            environment.run_migrations()
        after = _heads(connection)
    if after != before:
        log.info("database.upgraded", before=sorted(before), after=sorted(after))


def _heads(connection: Connection) -> set[str]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSIONS})
    return set(context.get_current_heads())


def _refuse_newer(script: ScriptDirectory, heads: set[str]) -> None:
    for head in heads:
        try:
            script.get_revision(head)
        except CommandError:
            raise SetupError(
                f"A newer release of nightscribe has changed the database (to {head}); start that release, or restore "
                "the backup that was made before."
            ) from None


@contextmanager
def _only_one(database: Database) -> Iterator[None]:
    """Let one process at a time migrate a file. PostgreSQL has locks of its own."""
    if database.path is None:
        yield
        return
    with database.path.with_name("migrate.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
