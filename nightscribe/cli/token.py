"""Define the commands of `nightscribe token`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from nightscribe.cli.options import folders, setting
from nightscribe.cli.serve import need_server
from nightscribe.cli.user import user_name
from nightscribe.server.config import ServerSettings, load_server_settings
from nightscribe.terminal import visible

if TYPE_CHECKING:
    from nightscribe.server.database.credentials import Scope
    from nightscribe.server.database.database import Database
    from nightscribe.server.database.tables import Credential
    from nightscribe.shared.storage.base import Location

SCOPES: tuple["Scope", ...] = ("read", "write", "admin")


@click.group()
def token() -> None:
    """Create, list and revoke tokens and logins for the server of DEST.

    \b
    Examples:
      nightscribe token create ~/transcripts backup-script --days 365
      nightscribe token create ~/transcripts anna --login --scope write
      nightscribe token list ~/transcripts
      nightscribe token revoke ~/transcripts backup-script
    """


@token.command()
@folders("dest")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do: read (see, hear, search), write (also upload, correct, delete), admin (also manage tokens "
    "and workers).  [default: read; for a login, write]",
)
@click.option("--days", type=click.FloatRange(0, min_open=True), help="Days until it expires.  [default: never]")
@click.option("--folder", default="", metavar="PATH", help="It sees only recordings in this folder below SOURCE.")
@click.option(
    "--login", is_flag=True, help="Create a login for the page; the password is asked for, or read from stdin."
)
@setting("database", model=ServerSettings)
def create(
    dest: "Location",
    name: str,
    *,
    scopes: tuple[str, ...],
    days: float | None,
    folder: str,
    login: bool,
    database: str | None,
) -> None:
    """Create a token for a program, or a login for a person, named NAME.

    \b
    Examples:
      nightscribe token create ~/transcripts backup-script --days 365
      nightscribe token create ~/transcripts studio --scope write --folder studio/2012
      nightscribe token create ~/transcripts anna --login --scope write

    A token is printed once, alone on stdout; only its hash is kept. Programs send it in the header
    `Authorization: Bearer …`. A running server knows it at once.
    """
    password = _password() if login else None
    with _database(dest, database) as opened:
        from nightscribe.server.database import credentials, log

        expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
        by = user_name()
        with opened.write() as session:
            if password is not None:
                made = credentials.create_login(
                    session, name, password, scopes=_scopes(scopes, "write"), folder=folder, expires_at=expires_at,
                    created_by=by,
                )  # fmt: skip
                secret = None
            else:
                created = credentials.create_token(
                    session, name, scopes=_scopes(scopes, "read"), folder=folder, expires_at=expires_at, created_by=by
                )
                made, secret = created.credential, created.secret
            log.add(session, log.Action.TOKEN_CREATED, actor=by, at=datetime.now(UTC), name=name, id=made.id)
    if secret:
        click.echo(visible(f"The token {made.name} ({_rights(made)}), shown only now:"), err=True)
        click.echo(secret)
    else:
        click.echo(visible(f"{made.name} can log in now ({_rights(made)})."))


@token.command("list")
@folders("dest")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each, one on a line.")
@setting("database", model=ServerSettings)
def list_(dest: "Location", *, as_json: bool, database: str | None) -> None:
    """List the tokens and logins that are not revoked.

    \b
    Examples:
      nightscribe token list ~/transcripts
      nightscribe token list ~/transcripts --json
    """
    with _database(dest, database) as opened:
        from nightscribe.server.database import credentials

        with opened.read() as session:
            found = credentials.listed(session)
    if as_json:
        for each in found:
            click.echo(json.dumps(_as_object(each)))
    elif not found:
        click.echo("There are no tokens and no logins. Create one with: nightscribe token create DEST NAME")
    else:
        for each in found:
            click.echo(visible(f"{each.id}  {each.kind:5}  {each.name}  ({_rights(each)}; {_times(each)})"))


@token.command()
@folders("dest")
@click.argument("name")
@setting("database", model=ServerSettings)
def revoke(dest: "Location", name: str, *, database: str | None) -> None:
    """Revoke every token and login with the name, or the id, NAME.

    \b
    Examples:
      nightscribe token revoke ~/transcripts backup-script
      nightscribe token revoke ~/transcripts 3f9a0c1b2d4e5f60

    A running server refuses it at once, and ends its sessions. Exit code: 0, or 2 if there is none.
    """
    from nightscribe.shared.errors import ValueRefused

    with _database(dest, database) as opened:
        from nightscribe.server.database import credentials, log

        with opened.write() as session:
            found = credentials.revoke(session, name)
            for each in found:
                log.add(
                    session, log.Action.TOKEN_REVOKED, actor=user_name(), at=datetime.now(UTC), name=each.name,
                    id=each.id,
                )  # fmt: skip
    if not found:
        raise ValueRefused(f"There is no token or login {name!r}; nightscribe token list shows all of them.")
    click.echo(visible(f"Revoked: {', '.join(f'{each.kind} {each.name} ({each.id})' for each in found)}"))


@contextmanager
def _database(dest: "Location", url: str | None) -> Iterator["Database"]:
    with need_server():
        from nightscribe.server.database.database import open_database
    opened = open_database(dest, load_server_settings(database=url).database)
    try:
        yield opened
    finally:
        opened.close()


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _scopes(given: tuple[str, ...], default: str) -> tuple["Scope", ...]:
    return tuple(scope for scope in SCOPES if scope in (given or (default,)))


def _rights(credential: "Credential") -> str:
    return ", ".join(credential.scopes) + (f", only in {credential.folder}/" if credential.folder else "")


def _times(credential: "Credential") -> str:
    expires = f"expires {credential.expires_at:%Y-%m-%d}" if credential.expires_at else "never expires"
    if credential.expires_at and credential.expires_at < datetime.now(UTC):
        expires = f"expired {credential.expires_at:%Y-%m-%d}"
    used = f"last used {credential.last_used_at:%Y-%m-%d}" if credential.last_used_at else "never used"
    return f"{expires}, {used}"


def _as_object(credential: "Credential") -> dict[str, object]:
    times = {
        name: value.isoformat() if (value := getattr(credential, name)) else None
        for name in ("created_at", "expires_at", "last_used_at")
    }
    return {
        "id": credential.id,
        "kind": credential.kind,
        "name": credential.name,
        "scopes": credential.scopes,
        "folder": credential.folder,
        "created_by": credential.created_by,
        **times,
    }
