"""Show what the workers do, what waits and what failed, and try it again."""

from typing import Annotated, cast

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from nightscribe.server.auth import Admin, Reader, note, require_everything
from nightscribe.server.context import Context, Serving
from nightscribe.server.database.log import Action
from nightscribe.server.errors import not_found
from nightscribe.server.ids import MOST_CHARS, path_of, recording_id
from nightscribe.server.seldom import Seldom
from nightscribe.services.names import pattern_of
from nightscribe.services.retry import retry
from nightscribe.services.status import Status, Working, gather
from nightscribe.shared.model.failure import Failure

router = APIRouter(prefix="/fleet", tags=["fleet"])

MOST_LISTED = 1000


class FailureGroup(BaseModel):
    """Recordings that failed for one reason."""

    code: str
    reason: str = Field(description="The reason of one of them.")
    n: int
    recordings: list[str] = Field(description="Ids of the newest of them, at most 100.")


class Retry(BaseModel):
    """Which failures to try again. Of several values of one kind, one must fit; empty fits all."""

    recordings: list[Annotated[str, Field(max_length=MOST_CHARS)]] = Field(
        default=[], max_length=MOST_LISTED, description="Ids."
    )
    reasons: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        default=[], max_length=100, description="Parts of reasons; case is ignored."
    )
    dry_run: bool = Field(default=False, description="Only list what would be tried again.")


class RetriedItems(BaseModel):
    """What is, or would be, tried again."""

    recordings: list[str] = Field(description="Paths.")
    n_queued: int | None = Field(description="Recordings that were queued at once; null if none were.")
    is_over: bool = Field(description="Whether it needs nothing more; otherwise the next run tries them.")
    why: str | None = Field(description="Why they could not be queued at once.")


def status_of(request: Request, context: Context) -> Status:
    """Return the status of the destination, which may be some seconds old."""
    return _kept(request).get("", lambda: gather(context.dest, context.settings))


def _kept(request: Request) -> Seldom[Status]:
    return cast("Seldom[Status]", request.app.state.fleet)


@router.get("")
def fleet(request: Request, principal: Reader, context: Serving) -> Status:
    """Return the status of the destination: the last run, the queue, the workers and the failures."""
    require_everything(principal)
    return status_of(request, context)


@router.get("/workers")
def workers(request: Request, principal: Reader, context: Serving) -> list[Working]:
    """List the workers that may be alive, and what each does."""
    require_everything(principal)
    return list(status_of(request, context).workers)


@router.get("/failures")
def failures(request: Request, principal: Reader, context: Serving) -> list[FailureGroup]:
    """List what failed, by reason; the most frequent reason first. Dead letters of the queue are among them."""
    require_everything(principal)
    groups: dict[str, list[Failure]] = {}
    for failure in status_of(request, context).failures:
        groups.setdefault(failure.code if failure.code != "unknown" else failure.reason, []).append(failure)
    found = [
        FailureGroup(
            code=group[0].code,
            reason=group[0].reason,
            n=len(group),
            recordings=[recording_id(each.recording) for each in group[:100]],
        )
        for group in groups.values()
    ]
    return sorted(found, key=lambda each: -each.n)


@router.post("/retry")
def retry_failures(which: Retry, request: Request, principal: Admin, context: Serving) -> RetriedItems:
    """Try failed recordings again: their failures are removed, and they are queued at once where that is possible."""
    require_everything(principal)
    paths = [path_of(each) for each in which.recordings]
    if None in paths:
        raise not_found()
    done = retry(
        context.dest,
        [pattern_of(path) for path in paths if path],
        which.reasons,
        dry_run=which.dry_run,
        queue_name=context.settings.queue_name,
    )
    chosen = [each.recording for each in done.chosen]
    if chosen and not which.dry_run:
        note(context, principal, Action.RETRIED, n=len(chosen), reasons=", ".join(which.reasons))
        context.changed.set()
        _kept(request).forget()
    return RetriedItems(
        recordings=chosen,
        n_queued=done.enqueued.n_queued if done.enqueued else None,
        is_over=done.is_over,
        why=done.not_enqueued or done.unreachable,
    )
