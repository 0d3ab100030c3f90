"""Decide who makes a request, and what they may do.

There are three kinds of callers: a program with a token (`Authorization: Bearer ns_…`), a browser in which somebody has
logged in (a cookie), and, on loopback only, anybody on this machine. A browser sends its cookies, and reaches loopback,
also for pages of other sites. So requests that change something must come from our own pages (`_require_own_page`).
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response
from fastapi.security import HTTPBearer
from sqlalchemy import delete
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from nightscribe.server.context import Context, Serving
from nightscribe.server.database import credentials, log
from nightscribe.server.database.credentials import SCOPES, TOKEN_PREFIX, Scope
from nightscribe.server.database.log import Action
from nightscribe.server.database.tables import Credential, LoginSession
from nightscribe.server.errors import ApiError, not_found
from nightscribe.server.hosts import is_loopback_name
from nightscribe.server.rate_limits import Limiter
from nightscribe.server.webhooks.events import EventType
from nightscribe.server.webhooks.store import emit_recording

COOKIE = "nightscribe_session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
THIS_MACHINE = "this machine"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORWARDING_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
LOGIN_TRIES = 10
LOGIN_WINDOW_S = 300.0
SESSION_BYTES = 32
CHANGES = {
    Action.CORRECTED: EventType.CHANGED,
    Action.REVIEWED: EventType.CHANGED,
    Action.SPEAKER_NAMED: EventType.CHANGED,
    Action.DELETED: EventType.DELETED,
}
"""What webhooks are told of what somebody did to a recording."""


@dataclass(frozen=True)
class Principal:
    """Who makes a request."""

    kind: Literal["token", "login", "machine"]
    name: str
    scopes: frozenset[Scope]
    credential_id: str | None = None
    folder: str = ""
    """Folder below the source outside which they see nothing; empty for all."""
    csrf_token: str = ""
    """Goes into every form and every request that changes something, where a cookie says who it is."""
    address: str | None = None

    @property
    def owner(self) -> str:
        """Return the id under which their jobs and uploads are kept."""
        return self.credential_id or THIS_MACHINE

    def may(self, scope: Scope) -> bool:
        """Return whether they have a scope. `admin` includes `write`, and `write` includes `read`."""
        return any(SCOPES.index(each) >= SCOPES.index(scope) for each in self.scopes)

    def may_see(self, recording: str) -> bool:
        """Return whether a path below the source is in their folder."""
        return not self.folder or f"{recording}/".startswith(f"{self.folder}/")

    def within(self, folder: str) -> str:
        """Return the folder to list: the one that was requested if it lies in theirs, else theirs.

        Raises: ApiError: if they may not see the requested folder.
        """
        folder = folder.strip("/")
        if not folder:
            return self.folder
        if not self.may_see(folder):
            raise not_found("folder")
        return folder


def principal_of(request: Request, context: Context) -> Principal | None:
    """Return who makes a request, or None if nobody is known. It reads the database, so call it in a thread.

    Raises: ApiError: if a token or a login is not valid any more, or another site's page made the request.
    """
    address = request.client.host if request.client else None
    secret = _bearer(request)
    if secret and (secret.startswith(TOKEN_PREFIX) or not allows_machine(request, context)):
        return _token_principal(context, secret, address)
    if (
        not secret
        and (cookie := request.cookies.get(COOKIE))
        and (found := _session_principal(context, cookie, address))
    ):
        _require_own_page(request)
        return found
    if allows_machine(request, context):
        # Clients of other APIs cannot do without a token, so any other than ours is as good as none here.
        _require_own_page(request)
        return Principal("machine", THIS_MACHINE, frozenset(SCOPES), address=address)
    return None


def allows_machine(request: Request, context: Context) -> bool:
    """Return whether a request comes from this machine, where no token is required.

    Behind a proxy, all requests come from this machine, so forwarded ones do not count.
    """
    settings = context.server
    if settings.require_login or settings.allowed_hosts or not settings.is_loopback:
        return False
    return is_loopback_name(request.headers.get("host", "")) and not any(
        name in request.headers for name in FORWARDING_HEADERS
    )


def require(scope: Scope) -> Callable[[Request, Context], Awaitable[Principal]]:
    """Return a dependency that yields the `Principal`, and refuses callers without the scope."""

    async def required(request: Request, context: Serving) -> Principal:
        principal = await run_in_threadpool(principal_of, request, context)
        if principal is None:
            raise ApiError(
                401, "not_authenticated", "This server requires a token or a login.",
                "Send a token of `nightscribe token create` in the header Authorization: Bearer …, or log in.",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        if not principal.may(scope):
            raise ApiError(
                403, "not_allowed", f"This needs the scope {scope}.",
                "Use another token or login; `nightscribe token create --scope` makes one.",
            )  # fmt: skip
        if principal.kind == "login" and request.method not in SAFE_METHODS:
            _check_csrf(principal, await _csrf_token_in(request))
        return principal

    return required


async def _csrf_token_in(request: Request) -> str:
    """Return the token that our pages send in a header, or in a field of a plain form."""
    if (sent := request.headers.get(CSRF_HEADER)) is not None:
        return sent
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = await request.form()
        return str(form.get(CSRF_FIELD, ""))
    return ""


def _check_csrf(principal: Principal, sent: str) -> None:
    if not secrets.compare_digest(sent.encode(), principal.csrf_token.encode()):
        raise ApiError(
            403, "csrf", "The request does not have the token of this login's pages.",
            f"Send the `csrf_token` of GET /api/v1/session in the header {CSRF_HEADER}; in a browser, reload the page.",
        )  # fmt: skip


bearer = HTTPBearer(auto_error=False, description="A token of `nightscribe token create`.")
"""Only documents the header in OpenAPI; `principal_of` reads it."""

Reader = Annotated[Principal, Depends(require("read"))]
Writer = Annotated[Principal, Depends(require("write"))]
Admin = Annotated[Principal, Depends(require("admin"))]


def require_everything(principal: Principal) -> None:
    """Refuse a caller who may see one folder only. Raises: ApiError."""
    if principal.folder:
        raise ApiError(
            403, "not_allowed", "This token sees one folder only, and this is about all of them.", "Use another token."
        )


# Logins


def log_in(context: Context, request: Request, response: Response, *, name: str, secret: str) -> Principal:
    """Start the session of a name and password, or of a token if the name is empty, and set its cookie.

    Raises: ApiError: if they are wrong, were tried too often, or another site's page made the request.
    """
    _require_own_page(request)
    address = request.client.host if request.client else "unknown"
    limiter: Limiter = request.app.state.login_limiter
    # By address and by name: neither many names from one address nor one name from many addresses.
    keys = [f"address {address}", *([f"name {name}"] if name else [])]
    for key in keys:
        if wait_s := limiter.wait_s(key):
            raise ApiError(
                429, "too_many_tries", "There were too many wrong logins.", f"Try again in {wait_s:.0f} seconds.",
                headers={"Retry-After": f"{wait_s:.0f}"},
            )  # fmt: skip
    with context.database.read() as session:
        found = credentials.of_login(session, name, secret) if name else credentials.of_token(session, secret)
    now = datetime.now(UTC)
    if found is None:
        for key in keys:
            limiter.count(key)
        with context.database.write() as session:
            # Some people type their token, or half of it, where the name belongs.
            actor = "a token" if not name or TOKEN_PREFIX in name else name
            log.add(session, Action.LOGIN_FAILED, actor=actor, at=now, address=address)
        raise ApiError(401, "wrong_login", "The name or the password is wrong.", "Check both, and try again.")
    cookie, csrf_token = secrets.token_urlsafe(SESSION_BYTES), secrets.token_urlsafe(SESSION_BYTES)
    ends_at = now + timedelta(hours=context.server.session_hours)
    if found.expires_at:
        ends_at = min(ends_at, found.expires_at)
    with context.database.write() as session:
        session.execute(delete(LoginSession).where(LoginSession.expires_at < now))
        session.add(
            LoginSession(
                id_hash=credentials.digest(cookie),
                credential_id=found.id,
                csrf_token=csrf_token,
                created_at=now,
                expires_at=ends_at,
            )
        )
        log.add(session, Action.LOGGED_IN, actor=found.name, at=now, credential_id=found.id, address=address)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int((ends_at - now).total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
        path="/",
    )
    return _principal(found, "login", address, csrf_token)


def log_out(context: Context, request: Request, response: Response, principal: Principal) -> None:
    """End the session of this browser, and remove its cookie."""
    if cookie := request.cookies.get(COOKIE):
        with context.database.write() as session:
            session.execute(delete(LoginSession).where(LoginSession.id_hash == credentials.digest(cookie)))
            if principal.kind == "login":
                add_to_log(session, principal, Action.LOGGED_OUT)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")


# How callers identify themselves


def _bearer(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.casefold() == "bearer" else ""


def _token_principal(context: Context, secret: str, address: str | None) -> Principal:
    with context.database.read() as session:
        found = credentials.of_token(session, secret)
    if found is None:
        raise ApiError(
            401, "token_not_valid", "The token is not known, has expired or was revoked.",
            "Create another one with `nightscribe token create`.", headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip
    _note_use(context, found)
    return _principal(found, "token", address, "")


def _session_principal(context: Context, cookie: str, address: str | None) -> Principal | None:
    with context.database.read() as session:
        held = session.get(LoginSession, credentials.digest(cookie))
        if held is None or held.expires_at <= datetime.now(UTC):
            return None
        found = session.get(Credential, held.credential_id)
    if found is None or not credentials.is_valid(found):
        return None
    _note_use(context, found)
    return _principal(found, "login", address, held.csrf_token)


def _note_use(context: Context, credential: Credential) -> None:
    if credentials.is_use_worth_noting(credential):
        with context.database.write() as session:
            if same := session.get(Credential, credential.id):
                same.last_used_at = datetime.now(UTC)


def _principal(
    credential: Credential, kind: Literal["token", "login"], address: str | None, csrf_token: str
) -> Principal:
    scopes = frozenset(scope for scope in SCOPES if scope in credential.scopes)
    return Principal(kind, credential.name, scopes, credential.id, credential.folder, csrf_token, address)


def _require_own_page(request: Request) -> None:
    """Refuse a request that changes something if a page of another site made it.

    Every browser states that in a header. Programs that are no browsers state nothing.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    is_own = (site is None or site in ("same-origin", "none")) and (
        origin is None or urlsplit(origin).netloc.casefold() == request.headers.get("host", "").casefold()
    )
    if not is_own:
        raise ApiError(
            403, "other_site", "A page of another site made this request.", "Use the pages of this server, or a token."
        )


def note(
    context: Context, principal: Principal, action: Action, *, recording: str | None = None, **details: object
) -> None:
    """Note in the log what somebody did, in a transaction of its own."""
    with context.database.write() as session:
        add_to_log(session, principal, action, recording=recording, **details)


def add_to_log(
    session: Session, principal: Principal, action: Action, *, recording: str | None = None, **details: object
) -> None:
    """Note what somebody did, in the transaction of a session, and tell webhooks if it changed a recording."""
    log.add(
        session,
        action,
        actor=principal.name,
        at=datetime.now(UTC),
        credential_id=principal.credential_id,
        recording=recording,
        address=principal.address,
        **details,
    )
    if recording and "job" not in details and (event := CHANGES.get(action)):  # deleted jobs leave their recordings
        emit_recording(session, event, datetime.now(UTC), recording)
