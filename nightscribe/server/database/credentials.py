"""Create, list, revoke and check tokens and logins. Secrets are kept as hashes only."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from nightscribe.server.database.tables import Credential, LoginSession
from nightscribe.shared.errors import ValueRefused

if TYPE_CHECKING:
    from argon2 import PasswordHasher

Scope = Literal["read", "write", "admin"]
"""`read` sees and hears, `write` also uploads, corrects and deletes, `admin` also manages tokens and the fleet."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
TOKEN_PREFIX = "ns_"  # noqa: S105  so that scanners for leaked secrets recognize one
TOKEN_BYTES = 32
LEAST_PASSWORD_CHARS = 10
MOST_NAME_CHARS = 100
USED_EVERY = timedelta(minutes=5)  # how exactly it is noted when a token was used


@dataclass(frozen=True)
class Created:
    """A new token. Its secret is shown once, and is kept nowhere."""

    credential: Credential
    secret: str


def create_token(
    session: Session,
    name: str,
    *,
    scopes: Sequence[Scope] = ("read",),
    folder: str = "",
    expires_at: datetime | None = None,
    created_by: str,
) -> Created:
    """Create a token. Raises: ValueRefused: if the name or a scope is not valid."""
    secret = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    made = _new(
        session,
        "token",
        name,
        digest(secret),
        scopes=scopes,
        folder=folder,
        expires_at=expires_at,
        created_by=created_by,
    )
    return Created(made, secret)


def create_login(
    session: Session,
    name: str,
    password: str,
    *,
    scopes: Sequence[Scope] = ("read", "write"),
    folder: str = "",
    expires_at: datetime | None = None,
    created_by: str,
) -> Credential:
    """Create a login. Raises: ValueRefused: if the password is too short, or there is a login of that name."""
    if len(password) < LEAST_PASSWORD_CHARS:
        raise ValueRefused(f"The password is too short; use at least {LEAST_PASSWORD_CHARS} characters.")
    if _login(session, name.strip()):
        raise ValueRefused(f"There is a login named {name.strip()!r}; revoke it first, or choose another name.")
    return _new(
        session,
        "login",
        name,
        _hasher().hash(password),
        scopes=scopes,
        folder=folder,
        expires_at=expires_at,
        created_by=created_by,
    )


def _new(
    session: Session,
    kind: str,
    name: str,
    secret_hash: str,
    *,
    scopes: Sequence[Scope],
    folder: str,
    expires_at: datetime | None,
    created_by: str,
) -> Credential:
    name = name.strip()
    if not 0 < len(name) <= MOST_NAME_CHARS or not name.isprintable():
        raise ValueRefused(f"Give a name of 1 to {MOST_NAME_CHARS} letters that says who or what uses it.")
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise ValueRefused(f"Scopes are {', '.join(SCOPES)}; {', '.join(map(repr, unknown)) or 'none'} was given.")
    made = Credential(
        id=secrets.token_hex(8),
        kind=kind,
        name=name,
        secret_hash=secret_hash,
        scopes=[scope for scope in SCOPES if scope in scopes],
        folder=folder.strip("/"),
        created_at=datetime.now(UTC),
        created_by=created_by,
        expires_at=expires_at,
    )
    session.add(made)
    session.flush()
    return made


def listed(session: Session) -> Sequence[Credential]:
    """Return all tokens and logins that are not revoked, the oldest first."""
    query = select(Credential).where(Credential.revoked_at.is_(None)).order_by(Credential.created_at, Credential.id)
    return session.scalars(query).all()


def revoke(session: Session, name_or_id: str) -> Sequence[Credential]:
    """Revoke the token or login with this id, or all with this name, and end their sessions; return them."""
    query = select(Credential).where(
        Credential.revoked_at.is_(None), or_(Credential.id == name_or_id, Credential.name == name_or_id)
    )
    found = session.scalars(query).all()
    for each in found:
        each.revoked_at = datetime.now(UTC)
        session.execute(delete(LoginSession).where(LoginSession.credential_id == each.id))
    return found


def of_token(session: Session, secret: str) -> Credential | None:
    """Return the valid credential of a token, or None."""
    found = session.scalar(
        select(Credential).where(Credential.kind == "token", Credential.secret_hash == digest(secret))
    )
    return found if found and is_valid(found) else None


def of_login(session: Session, name: str, password: str) -> Credential | None:
    """Return the valid credential of a name and password, or None. It takes as long for an unknown name."""
    from argon2.exceptions import Argon2Error, InvalidHashError

    found = _login(session, name.strip())
    try:
        _hasher().verify(found.secret_hash if found else _nobody(), password)
    except (Argon2Error, InvalidHashError):
        return None
    return found if found and is_valid(found) else None


def is_valid(credential: Credential) -> bool:
    """Return whether a credential is neither revoked nor expired."""
    expires_at = credential.expires_at
    return credential.revoked_at is None and (expires_at is None or expires_at > datetime.now(UTC))


def exist(session: Session) -> bool:
    """Return whether there is a valid token or login."""
    return any(map(is_valid, listed(session)))


def is_use_worth_noting(credential: Credential) -> bool:
    """Return whether it is long ago that a use of the credential was noted."""
    last = credential.last_used_at
    return last is None or datetime.now(UTC) - last > USED_EVERY


def digest(secret: str) -> str:
    """Return the hash by which a secret of 256 random bits is kept."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _login(session: Session, name: str) -> Credential | None:
    return session.scalar(
        select(Credential).where(Credential.kind == "login", Credential.name == name, Credential.revoked_at.is_(None))
    )


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobody() -> str:
    return _hasher().hash(secrets.token_hex())
