"""Log people in and out, and tell a caller who they are."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, SecretStr

from nightscribe.server.auth import Principal, Reader, log_in, log_out
from nightscribe.server.context import Serving
from nightscribe.server.database.credentials import SCOPES, Scope

router = APIRouter(prefix="/session", tags=["session"])


class Login(BaseModel):
    """A name and a password, or a token."""

    name: Annotated[str, Field(max_length=200)] = Field(default="", description="Empty to log in with a token.")
    password: Annotated[SecretStr, Field(max_length=1000)] = Field(description="The password, or the token.")


class Who(BaseModel):
    """Who makes the request."""

    name: str
    kind: str = Field(description="`token`, `login`, or `machine` for programs of the server's own machine.")
    scopes: list[Scope]
    folder: str = Field(description="The folder outside which they see nothing; empty for all.")
    csrf_token: str = Field(description="To be sent in X-CSRF-Token by pages; empty without a login.")


@router.get("")
def who(principal: Reader) -> Who:
    """Tell the caller who they are."""
    return _who(principal)


@router.post("")
def start(login: Login, request: Request, response: Response, context: Serving) -> Who:
    """Log in: set the cookie of a session. After ten wrong tries in five minutes, it takes none for a while."""
    return _who(log_in(context, request, response, name=login.name, secret=login.password.get_secret_value()))


@router.delete("", status_code=204)
def end(principal: Reader, request: Request, response: Response, context: Serving) -> None:
    """Log out."""
    log_out(context, request, response, principal)


def _who(principal: Principal) -> Who:
    return Who(
        name=principal.name,
        kind=principal.kind,
        scopes=[scope for scope in SCOPES if principal.may(scope)],
        folder=principal.folder,
        csrf_token=principal.csrf_token,
    )
