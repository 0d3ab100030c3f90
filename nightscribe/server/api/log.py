"""Read the log of what users did."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from nightscribe.server.auth import Admin, require_everything
from nightscribe.server.context import Serving
from nightscribe.server.database import log
from nightscribe.server.database.log import Action

router = APIRouter(prefix="/log", tags=["log"])


class LogLine(BaseModel):
    """Something that somebody did."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: AwareDatetime
    actor: str
    action: str
    recording: str | None
    address: str | None
    details: dict[str, Any]


class LogPage(BaseModel):
    """A page of the log, the newest entry first."""

    entries: list[LogLine]
    next_before: int | None
    """`before` of the next page, or null if this is the last one."""


@router.get("")
def read_log(
    *,
    principal: Admin,
    context: Serving,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    action: Action | None = None,
    actor: Annotated[str | None, Query(max_length=200)] = None,
    recording: Annotated[str | None, Query(max_length=4000)] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> LogPage:
    """List what users did: uploads, results, corrections, deletions and logins.

    In SQL, the view `log_by_day` sums it up.
    """
    require_everything(principal)
    with context.database.read() as session:
        found = log.entries(
            session,
            before=before,
            action=action,
            actor=actor,
            recording=recording,
            since=since,
            until=until,
            limit=limit + 1,
        )
        lines = [LogLine.model_validate(each) for each in found[:limit]]
    return LogPage(entries=lines, next_before=lines[-1].id if len(found) > limit else None)
