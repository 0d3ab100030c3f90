"""Create, list and revoke tokens and logins."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from nightscribe.server.auth import Admin, add_to_log
from nightscribe.server.context import Serving
from nightscribe.server.database import credentials
from nightscribe.server.database.credentials import Scope
from nightscribe.server.database.log import Action
from nightscribe.server.errors import not_found

router = APIRouter(prefix="/tokens", tags=["tokens"])


class Token(BaseModel):
    """A token of a program, or the login of a person."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: Literal["token", "login"]
    name: str
    scopes: list[Scope]
    folder: str = Field(description="The folder outside which it sees nothing; empty for all.")
    created_at: AwareDatetime
    created_by: str
    expires_at: AwareDatetime | None
    last_used_at: AwareDatetime | None = Field(description="To five minutes.")


class NewToken(BaseModel):
    """What a token is for. With a password, it is the login of a person."""

    name: Annotated[str, Field(min_length=1, max_length=credentials.MOST_NAME_CHARS)]
    scopes: list[Scope] = Field(default=["read"], min_length=1, max_length=3)
    folder: Annotated[str, Field(max_length=1000)] = ""
    days: float | None = Field(default=None, gt=0, le=36_500, description="Days until it expires.")
    password: Annotated[SecretStr, Field(max_length=1000)] | None = None


class CreatedToken(Token):
    """A new token with its secret, which is shown once."""

    token: str | None = Field(description="Send it as `Authorization: Bearer …`. None for a login.")


@router.get("")
def list_tokens(principal: Admin, context: Serving) -> list[Token]:
    """List all tokens and logins that are not revoked."""
    with context.database.read() as session:
        found = [each for each in credentials.listed(session) if principal.may_see(each.folder)]
        return [Token.model_validate(each) for each in found]


@router.post("", status_code=201)
def create_token(new: NewToken, principal: Admin, context: Serving) -> CreatedToken:
    """Create a token, or a login if a password is given. The token is in this response and nowhere else."""
    expires_at = datetime.now(UTC) + timedelta(days=new.days) if new.days is not None else None
    # Nobody can give away more than they have.
    folder = principal.within(new.folder)
    with context.database.write() as session:
        if new.password is not None:
            made = credentials.create_login(
                session,
                new.name,
                new.password.get_secret_value(),
                scopes=new.scopes,
                folder=folder,
                expires_at=expires_at,
                created_by=principal.name,
            )
            secret = None
        else:
            created = credentials.create_token(
                session,
                new.name,
                scopes=new.scopes,
                folder=folder,
                expires_at=expires_at,
                created_by=principal.name,
            )
            made, secret = created.credential, created.secret
        add_to_log(session, principal, Action.TOKEN_CREATED, name=made.name, id=made.id, kind=made.kind)
    return CreatedToken(**Token.model_validate(made).model_dump(), token=secret)


@router.delete("/{id}", status_code=204)
def revoke_token(id: str, principal: Admin, context: Serving) -> None:  # noqa: A002  as the path names it
    """Revoke a token or a login, and end its sessions, at once."""
    with context.database.write() as session:
        found = [each for each in credentials.listed(session) if each.id == id and principal.may_see(each.folder)]
        if not found:
            raise not_found("token")
        credentials.revoke(session, id)
        add_to_log(session, principal, Action.TOKEN_REVOKED, name=found[0].name, id=id)
