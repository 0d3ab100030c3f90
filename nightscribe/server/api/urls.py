"""Submit the URL of a recording, which the server fetches. Off unless an administrator allows it."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from nightscribe.server.address_policy import AddressPolicy
from nightscribe.server.api.jobs import JobView
from nightscribe.server.api.uploads import SIZES, Desk
from nightscribe.server.errors import ApiError
from nightscribe.server.fetch import FetchLimits, TooLarge, fetch
from nightscribe.server.jobs.model import Busy, Refused
from nightscribe.server.jobs.spool import Spool, Upload
from nightscribe.server.jobs.wishes import Wishes

router = APIRouter(prefix="/jobs", tags=["jobs"])

MAX_FETCHES = 4
CHECKED_EVERY_BYTES = 64 * 2**20


class UrlJob(Wishes):  # type: ignore[misc]  # it is made from the options of a job
    """A recording to fetch and transcribe, and how. What is left out follows the settings of the server."""

    url: str = Field(min_length=1, max_length=4000, description="Begins with https:// or http://.")
    folder: str = Field(default="", max_length=1000, description="Folder of the source for it.")
    keep: bool = Field(default=True, description="Keep recording and transcript in the library.")


@router.post("/from-url", status_code=202, responses=SIZES)
async def submit_url(wishes: UrlJob, request: Request, desk: Desk) -> JobView:
    """Fetch a recording from a URL, and respond with its job once it is here.

    Only public addresses are fetched, besides those that the administrator has allowed.
    """
    context = desk.context
    if not context.server.fetch_urls:
        raise ApiError(
            403, "urls_not_allowed", "This server fetches no URLs.",
            "Upload the file, or set NIGHTSCRIBE_FETCH_URLS for the server.",
        )  # fmt: skip
    about = {"folder": wishes.folder, "keep": str(wishes.keep)}
    wanted = desk.request(wishes, about)
    state = request.app.state
    if getattr(state, "n_fetches", 0) >= MAX_FETCHES:
        raise Busy(f"The server fetches {MAX_FETCHES} other URLs. Try again later.", retry_after_s=10)
    state.n_fetches = getattr(state, "n_fetches", 0) + 1
    try:
        upload = await _fetched(
            wishes.url,
            desk.jobs.spool,
            AddressPolicy.of(context.server.allowed_addresses),
            60 * context.server.fetch_minutes,
        )
    finally:
        state.n_fetches -= 1
    try:
        return JobView.of(await run_in_threadpool(desk.submit, upload, wanted))
    finally:
        await run_in_threadpool(upload.discard)


async def _fetched(url: str, spool: Spool, policy: AddressPolicy, timeout_s: float) -> Upload:
    """Fetch a URL to where uploads wait. Raises: what `fetch` and `Spool.require_room` raise."""
    await run_in_threadpool(spool.require_room, 0)
    token = secrets.token_hex(16)
    path = spool.path_of(token, "recording")
    limits = FetchLimits(spool.most_bytes, timeout_s)
    try:
        found = await fetch(url, path, policy=policy, limits=limits, progress=_checking_room(spool))
    except TooLarge as error:
        raise Refused(str(error), code=error.code) from None
    named = spool.path_of(token, found.name)
    try:
        await run_in_threadpool(path.rename, named)
    except BaseException:
        _remove(path)
        raise
    return Upload(named, found.name, found.size)


def _checking_room(spool: Spool) -> Callable[[int, int | None], None]:
    """Return a function that is told the bytes done and in all, and refuses what would fill the disk."""
    checked_at = -CHECKED_EVERY_BYTES

    def check(done: int, total: int | None) -> None:
        nonlocal checked_at
        if done - checked_at >= CHECKED_EVERY_BYTES:
            checked_at = done
            spool.require_room(max(0, (total or done) - done))

    return check


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
