"""A server of a destination, in this process and without a socket, for tests of its API and pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from nightscribe.server.app import create_app
from nightscribe.server.config import ServerSettings
from nightscribe.server.context import Context
from nightscribe.server.database import credentials
from nightscribe.server.database.credentials import Scope
from nightscribe.server.database.database import open_database
from nightscribe.services.search import index
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.location import FolderLocation

HERE = "http://127.0.0.1:8484"
"""How programs of this machine reach the server, which lets them in without a token."""


@contextmanager
def serving(dest: Path, source: Path | None = None, **server: Any) -> Iterator[Context]:
    """Yield what a server needs. `server`: its settings."""
    place = FolderLocation(dest)
    database = open_database(place)
    try:
        yield Context(place, FolderLocation(source) if source else None, Settings(), ServerSettings(**server), database)
    finally:
        database.close()


@contextmanager
def client_of(context: Context, address: str = HERE) -> Iterator[TestClient]:
    """Yield a client of a server, whose list of recordings is up to date. Errors become responses."""
    index(context.dest, source=context.source)
    with TestClient(create_app(context), base_url=address, raise_server_exceptions=False) as client:
        yield client


def token(context: Context, *scopes: Scope, **values: Any) -> dict[str, str]:
    """Return the header of a new token."""
    with context.database.write() as session:
        created = credentials.create_token(session, "a test", scopes=scopes, created_by="a test", **values)
    return {"Authorization": f"Bearer {created.secret}"}
