"""Open the database of a server, and run transactions in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from nightscribe.server.database.place import default_path
from nightscribe.shared.errors import ExtraMissing, MachineError, RetryableError, SetupError
from nightscribe.shared.storage.base import Location

BUSY_TIMEOUT_S = 30
POOL_SIZE = 10
MAX_OVERFLOW = 50  # more than there are threads that serve requests, so that none of them waits for a connection


class Database:
    """A database whose tables exist. Use it from any thread."""

    def __init__(self, engine: Engine, path: Path | None) -> None:
        self.engine = engine
        self.path = path
        """File of the database, if it is one."""

    @property
    def is_sqlite(self) -> bool:
        """Return whether it is a file of this machine."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one state of the database."""
        with _guarded(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session whose changes are all stored at the end, or none of them if an error is raised."""
        engine = self.engine.execution_options(writes=True)
        with _guarded(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_database(dest: Location, url: str = "") -> Database:
    """Open the database of a destination, and bring its tables up to date.

    `url`: as SQLAlchemy takes it; empty for a SQLite file, see `default_path`.

    Raises: SetupError: if the URL is not valid, the driver is missing or the file cannot be created.
        RetryableError: if the database is unreachable.
    """
    from nightscribe.server.database.migrate import upgrade

    path, engine = _engine(dest, url)
    database = Database(engine, path)
    with _guarded():
        upgrade(database)
    return database


def _engine(dest: Location, url: str) -> tuple[Path | None, Engine]:
    if not url:
        path = default_path(dest)
        return path, _sqlite(path)
    try:
        made = make_url(url)
        if made.drivername == "sqlite":
            path = Path(made.database or "")
            return path, _sqlite(path)
        if made.drivername in ("postgresql", "postgres"):
            made = made.set(drivername="postgresql+psycopg")
        elif not made.drivername.startswith("postgresql+"):
            raise SetupError(f"NIGHTSCRIBE_DATABASE: {made.drivername!r} is not supported; use postgresql or sqlite.")
        return None, _postgresql(made)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise SetupError(
            "NIGHTSCRIBE_DATABASE is not the URL of a database; give one such as postgresql://user@host/name."
        ) from None
    except ModuleNotFoundError:
        raise ExtraMissing("The driver for PostgreSQL is not installed.", "postgresql") from None


def _postgresql(url: URL) -> Engine:
    return create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=MAX_OVERFLOW,
        pool_pre_ping=True,  # a restarted database costs no request
        connect_args={"connect_timeout": 10},
    )


def _sqlite(path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)  # it holds hashes of secrets
    except OSError as error:
        raise SetupError(
            f"The database {str(path)!r} cannot be created ({error.strerror}); make its folder writable, or give "
            "NIGHTSCRIBE_DATABASE."
        ) from None
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=POOL_SIZE,
        max_overflow=MAX_OVERFLOW,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin below, because the driver begins them too late
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # what a client was told is stored survives a power failure
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A transaction that reads first and then writes fails at once if another one has written in between.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def _guarded() -> Iterator[None]:
    """Turn errors of the connection into ours; those of a statement are mistakes of ours, and stay."""
    try:
        yield
    except OperationalError as error:
        reason = str(error.orig).splitlines()[0] if error.orig else "no reason given"
        if "disk is full" in reason or "No space" in reason:
            raise MachineError("The server's database cannot be written, because the disk is full.") from error
        raise RetryableError(
            f"The server's database cannot be used now ({reason}).", code="database_unreachable"
        ) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise RetryableError("The server's database has been restarted.", code="database_unreachable") from error
        raise
