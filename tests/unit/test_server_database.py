"""The server's database: the same on SQLite and PostgreSQL, up to date after every start, and nothing lost."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from argon2 import PasswordHasher
from sqlalchemy import create_engine, text
from support import postgresql

from nightscribe.server.database import credentials, log
from nightscribe.server.database import database as opening
from nightscribe.server.database.database import Database, open_database
from nightscribe.server.database.log import Action
from nightscribe.server.database.migrate import VERSIONS, upgrade
from nightscribe.server.database.tables import Base, LogEntry
from nightscribe.shared.errors import RetryableError, SetupError, ValueRefused
from nightscribe.shared.storage.folder.location import FolderLocation

NOW = datetime(2026, 5, 31, 12, tzinfo=UTC)
KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    """Where databases can be created, with `{name}` for their names."""
    if (programs := postgresql.programs()) is None:
        pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    with postgresql.running(programs) as url:
        yield url


Urls = Callable[[], str]


@pytest.fixture(params=KINDS)
def new_url(request: pytest.FixtureRequest, tmp_path: Path, sockets: None) -> Urls:
    """Return the URL of another empty database each time it is called."""
    n = 0

    def sqlite() -> str:
        nonlocal n
        n += 1
        return f"sqlite:///{tmp_path}/{n}/server.sqlite"

    if request.param == "sqlite":
        return sqlite
    url: str = request.getfixturevalue("postgresql_url")
    engine = create_engine(
        url.format(name="postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )

    def created() -> str:
        name = f"db{abs(hash(tmp_path)):x}{len(used)}"
        used.append(name)
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
        return url.format(name=name)

    used: list[str] = []
    request.addfinalizer(engine.dispose)
    return created


@pytest.fixture
def database(new_url: Urls, tmp_path: Path) -> Iterator[Database]:
    """A database that was opened for the first time."""
    opened = open_database(FolderLocation(tmp_path), new_url())
    yield opened
    opened.close()


def test_the_migrations_make_the_tables_that_are_defined(database: Database) -> None:
    import_module("nightscribe.server.app")  # with everything that it mounts, and the tables of that
    import_module("nightscribe.server.pages.shares")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSIONS, "compare_type": True, "compare_server_default": False}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_an_upgrade_from_the_first_migration_keeps_data_and_can_be_repeated(new_url: Urls) -> None:
    path, engine = opening._engine(FolderLocation(Path()), new_url())
    opened = Database(engine, path)
    upgrade(opened, to="core_0001")
    with opened.write() as session:
        secret = credentials.create_token(session, "kept", created_by="a test").secret
        log.add(session, Action.UPLOADED, actor="kept", at=NOW, recording="ü.mp3", size=3)
    for _ in range(2):
        upgrade(opened)
    with opened.read() as session:
        assert credentials.of_token(session, secret)
        [entry] = log.entries(session, limit=10)
        assert (entry.at, entry.recording, entry.details) == (NOW, "ü.mp3", {"size": 3})
    opened.close()


def test_several_servers_start_at_the_same_moment(new_url: Urls, tmp_path: Path) -> None:
    url = new_url()
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_database(FolderLocation(tmp_path), url), range(4)))
    for each in opened:
        with each.read() as session:
            assert credentials.listed(session) == []
        each.close()


def test_the_tables_of_a_newer_release_are_left_alone(database: Database) -> None:
    with database.write() as session:
        session.execute(text(f"UPDATE {VERSIONS} SET version_num = 'core_9999' WHERE version_num LIKE 'core_%'"))
    with pytest.raises(SetupError, match="newer release"):
        upgrade(database)


def test_a_migration_that_fails_changes_nothing(new_url: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightscribe.server.database.migrations.versions import core_0001

    path, engine = opening._engine(FolderLocation(Path()), new_url())
    opened = Database(engine, path)
    original = core_0001.op.execute

    def broken(statement: str) -> None:
        raise RuntimeError("interrupted")

    monkeypatch.setattr("alembic.op.execute", broken)
    with pytest.raises(RuntimeError):
        upgrade(opened, to="core_0001")
    monkeypatch.setattr("alembic.op.execute", original)
    upgrade(opened, to="core_0001")
    opened.close()


def test_writers_wait_for_each_other(database: Database) -> None:
    def write(n: int) -> None:
        for _ in range(10):
            with database.write() as session:
                before = len(log.entries(session, actor=str(n), limit=100))  # reads first, then writes
                log.add(session, Action.UPLOADED, actor=str(n), at=NOW, n=before)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with database.read() as session:
        assert len(log.entries(session, limit=1000)) == 80


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:
        log.add(session, Action.UPLOADED, actor="me", at=NOW)
        session.flush()
        raise RuntimeError
    with database.read() as session:
        assert log.entries(session, limit=10) == []


def test_tokens_and_logins_are_kept_as_hashes_and_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(credentials, "_hasher", lambda: hasher)
    with database.write() as session:
        made = credentials.create_token(session, "script", scopes=("write", "read"), folder="/2012/", created_by="me")
        late = credentials.create_token(session, "late", expires_at=datetime.now(UTC), created_by="me").secret
        credentials.create_login(session, "anna", "long enough", created_by="me")
        with pytest.raises(ValueRefused, match="There is a login"):
            credentials.create_login(session, "anna", "also long enough", created_by="me")
    with database.read() as session:
        stored = str([(each.secret_hash, each.name) for each in credentials.listed(session)])
        assert made.secret not in stored
        assert "long enough" not in stored
        found = credentials.of_token(session, made.secret)
        assert found
        assert (found.scopes, found.folder) == (["read", "write"], "2012")
        assert credentials.of_token(session, late) is None
        assert credentials.of_token(session, "ns_other") is None
        assert credentials.of_login(session, "anna", "long enough")
        assert credentials.of_login(session, "anna", "guessed") is None
        assert credentials.of_login(session, "nobody", "long enough") is None
    with database.write() as session:
        assert len(credentials.revoke(session, "anna")) == len(credentials.revoke(session, made.credential.id)) == 1
        assert credentials.revoke(session, "anna") == []
    with database.read() as session:
        assert credentials.of_token(session, made.secret) is None
        assert credentials.of_login(session, "anna", "long enough") is None


def test_the_log_is_read_by_pages_and_summed_up_in_plain_sql(database: Database) -> None:
    with database.write() as session:
        for n in range(5):
            at = NOW + timedelta(hours=6 * n)
            log.add(session, Action.CORRECTED, actor="anna", at=at, recording=f"{n % 2}.mp3", words="x" * 900)
    with database.read() as session:
        first = log.entries(session, limit=3)
        rest = log.entries(session, limit=3, before=first[-1].id)
        assert [each.at for each in (*first, *rest)] == [NOW + timedelta(hours=6 * n) for n in range(4, -1, -1)]
        assert len(log.entries(session, since=NOW + timedelta(hours=6), until=NOW + timedelta(hours=18), limit=9)) == 2
        assert len(first[0].details["words"]) == log.MOST_DETAIL_CHARS
        rows = session.execute(text("SELECT day, actor, action, n, n_recordings FROM log_by_day ORDER BY day")).all()
        assert [(str(day), *others) for day, *others in rows] == [
            ("2026-05-31", "anna", "corrected", 2, 2),
            ("2026-06-01", "anna", "corrected", 3, 2),
        ]


def test_a_time_without_a_zone_is_not_stored(database: Database) -> None:
    with pytest.raises(Exception, match="without a zone"), database.write() as session:
        session.add(LogEntry(at=datetime(2026, 1, 1), actor="me", action="uploaded", details={}))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://host/name", "not supported"),
        ("nonsense", "not the URL of a database"),
        ("sqlite:////proc/nothing/server.sqlite", "cannot be created"),
    ],
)
def test_a_wrong_url_is_explained(url: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=why):
        open_database(FolderLocation(tmp_path), url)


def test_an_unreachable_server_is_explained_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(RetryableError, match="cannot be used now") as caught:
        open_database(FolderLocation(tmp_path), f"postgresql://me:hunter2@/name?host={tmp_path}")
    assert "hunter2" not in str(caught.value)
    assert caught.value.code == "database_unreachable"


def test_the_file_is_for_its_owner_only_and_beside_the_records(tmp_path: Path) -> None:
    opened = open_database(FolderLocation(tmp_path))
    assert opened.path == tmp_path / ".nightscribe" / "server" / "server.sqlite"
    assert opened.path.stat().st_mode & 0o077 == 0
    assert opened.path.parent.stat().st_mode & 0o077 == 0
    opened.close()
