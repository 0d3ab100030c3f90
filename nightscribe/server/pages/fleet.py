"""The page about workers, the queue and failures, and the review of what is in doubt."""

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from nightscribe.search.library import Choice
from nightscribe.server.auth import Admin, note, require_everything
from nightscribe.server.context import Context, Serving
from nightscribe.server.database.log import Action
from nightscribe.server.pages.site import Visitor, page, part, plural, recording_url
from nightscribe.server.pages.state import state_of
from nightscribe.services.library import list_recordings, next_in_doubt
from nightscribe.services.names import pattern_of
from nightscribe.services.retry import retry
from nightscribe.services.status import QueuedJob, Status, gather
from nightscribe.shared.model.failure_codes import SENTENCES

router = APIRouter(include_in_schema=False)
PER_PAGE = 50
SHOWN_JOBS = 50


@router.get("/workers")
def workers(request: Request, principal: Visitor, context: Serving) -> HTMLResponse:
    """Show workers, what they do, and what failed."""
    require_everything(principal)
    return page(request, "workers.html", principal, here="/workers", **_status(context))


@router.get("/parts/workers")
def workers_part(principal: Visitor, context: Serving) -> HTMLResponse:
    """Show the same again."""
    require_everything(principal)
    return part("_workers.html", may_admin=principal.may("admin"), **_status(context))


def _status(context: Context) -> dict[str, Any]:
    status = gather(context.dest, context.settings)
    failures = Counter(each.code for each in status.failures)
    examples = {each.code: each for each in reversed(status.failures)}
    return {
        "status": status,
        "waiting": _waiting(status),
        "n_waiting": _n_waiting(context, status),
        "failures": [(code, n, SENTENCES.get(code, ""), examples[code]) for code, n in failures.most_common()],
    }


def _n_waiting(context: Context, status: Status) -> int | None:
    """Return how many jobs wait for a worker, those of this server included; None if there is no queue."""
    listed = status.queue.n_waiting if status.queue else None
    if context.jobs is None:
        return listed
    own = context.jobs.n_queued(interactive=True)  # `status` does not look at their queue
    return own + (context.jobs.n_queued(interactive=False) if listed is None else listed)


def _waiting(status: Status) -> list[QueuedJob]:
    jobs = status.queue.jobs if status.queue and status.queue.jobs else ()
    return [job for job in jobs if job.waiting][:SHOWN_JOBS]


class Retrying(BaseModel):
    """Which failures to try again: those of a code, or one recording."""

    code: str = Field(default="", max_length=60)
    recording: str = Field(default="", max_length=4000)


@router.post("/parts/retry")
def retry_failed(given: Retrying, principal: Admin, context: Serving) -> dict[str, str]:
    """Try failed recordings again."""
    require_everything(principal)
    done = retry_chosen(context, given.code, given.recording)
    note(context, principal, Action.RETRIED, recording=given.recording or None, code=given.code)
    context.changed.set()
    return {"message": done}


def retry_chosen(context: Context, code: str, recording: str) -> str:
    """Remove failure records, so that the recordings are done again; return a sentence about it."""
    status = gather(context.dest, context.settings)
    names = [recording] if recording else [each.recording for each in status.failures if each.code == code]
    if not names:
        return "Nothing that failed matches any more."
    done = retry(context.dest, [pattern_of(name) for name in names])
    n = plural(len(done.chosen), "recording")
    if done.enqueued is not None:
        return f"{n} queued again."
    if done.is_watched:
        return f"{n} will be queued again in a moment."
    return f"{n} will be transcribed by the next run."


@router.get("/review")
def review(
    request: Request,
    principal: Visitor,
    context: Serving,
    flag: Annotated[str, Query(max_length=60)] = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=1_000_000)] = 1,
) -> HTMLResponse:
    """Show recordings by how much in them is in doubt."""
    choice = Choice(folder=principal.folder, flag=flag, state=None if flag else "review")
    listed = list_recordings(context.dest, choice, "doubt", limit=PER_PAGE, offset=(page_number - 1) * PER_PAGE)
    return page(
        request, "review.html", principal, here="/review", listed=listed,
        facets=state_of(request).facets.get(principal.folder), flag=flag, number=page_number,
        n_pages=max(1, -(-listed.page.n_total // PER_PAGE)),
    )  # fmt: skip


@router.get("/review/next")
def review_next(principal: Visitor, context: Serving, after: str = "") -> Response:
    """Go to the recording in which most is in doubt, or to the one that follows."""
    found = next_in_doubt(context.dest, after or None)
    while found and not principal.may_see(found):
        found = next_in_doubt(context.dest, found)
    return RedirectResponse(recording_url(found, review="1") if found else "/review", 303)
