"""Tell clients what happens to jobs while it happens, as server-sent events."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.encoders import jsonable_encoder
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from nightscribe.server.api.jobs import JobId, JobView, owner_of
from nightscribe.server.auth import Reader
from nightscribe.server.context import Working
from nightscribe.server.jobs.model import UNFINISHED, Job, JobEvent
from nightscribe.server.jobs.service import Jobs

router = APIRouter(tags=["events"])

PING_S = 15.0
MOST_WAITING = 1_000  # events for one client that reads too slowly; then it gets the present state instead
MOST_JOBS = 1_000  # in the state at the beginning
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
STREAM = {
    200: {
        "description": "Events `queued`, `running`, `progress`, `finished`, `failed`, `cancelled` and `deleted`, each "
        "with the job as JSON; `state` first, for each job as it is now, unless the stream goes on after "
        "Last-Event-ID. A comment every 15 seconds shows that the connection is alive.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
LastEventId = Annotated[str, Header(alias="Last-Event-ID", description="Id of the last event that was received.")]


@router.get("/jobs/{job_id}/events", responses=STREAM, response_class=StreamingResponse)  # type: ignore[arg-type]
async def events_of_job(
    job_id: JobId, principal: Reader, jobs: Working, last_event_id: LastEventId = ""
) -> StreamingResponse:
    """Follow one job. The stream ends with the job."""
    owner = owner_of(principal)
    await run_in_threadpool(jobs.get, job_id, owner)  # raises if there is none

    def state() -> list[Job]:
        return [jobs.get(job_id, owner)]

    def concerns(event: JobEvent) -> bool:
        return event.job.id == job_id

    return _stream(jobs, state, concerns, last_event_id, ends=True)


@router.get("/events", responses=STREAM, response_class=StreamingResponse)  # type: ignore[arg-type]
async def events(principal: Reader, jobs: Working, last_event_id: LastEventId = "") -> StreamingResponse:
    """Follow all your jobs; those of everybody with the scope admin."""
    owner = owner_of(principal)

    def state() -> list[Job]:
        return jobs.list(owner=owner, states=UNFINISHED, limit=MOST_JOBS)

    def concerns(event: JobEvent) -> bool:
        return owner is None or event.job.owner == owner

    return _stream(jobs, state, concerns, last_event_id, ends=False)


def _stream(
    jobs: Jobs, state: Callable[[], list[Job]], concerns: Callable[[JobEvent], bool], last: str, *, ends: bool
) -> StreamingResponse:
    return StreamingResponse(
        _events(jobs, state, concerns, last, ends), media_type="text/event-stream", headers=HEADERS
    )


async def _events(
    jobs: Jobs, state: Callable[[], list[Job]], concerns: Callable[[JobEvent], bool], last: str, ends: bool
) -> AsyncIterator[str]:
    """Yield what happens, as text. `ends`: with the end of a job."""
    loop, signals = asyncio.get_running_loop(), jobs.signals
    waiting: deque[JobEvent] = deque(maxlen=MOST_WAITING + 1)
    news = asyncio.Event()

    def hear(event: JobEvent) -> None:
        def note() -> None:
            waiting.append(event)
            news.set()

        if concerns(event):
            loop.call_soon_threadsafe(note)

    with signals.listening(hear, ended=lambda: loop.call_soon_threadsafe(news.set)):
        start, _, number = last.partition("-")
        missed = signals.since(int(number)) if start == signals.start and number.isdecimal() else None
        seen = 0
        if missed is None:
            seen = signals.number
            for job in await run_in_threadpool(state):
                yield _text("state", job, f"{signals.start}-{seen}")
                if ends and job.is_over:
                    return
        for event in missed or ():
            seen = event.number
            if concerns(event):
                yield _text(event.kind, event.job, f"{signals.start}-{event.number}")
                if ends and event.job.is_over:
                    return
        while not signals.is_closed:
            try:
                await asyncio.wait_for(news.wait(), PING_S)
            except TimeoutError:
                yield ": ping\n\n"
                continue
            news.clear()
            if len(waiting) > MOST_WAITING:
                return  # the client connects again, and gets the present state
            while waiting:
                event = waiting.popleft()
                if event.number <= seen:
                    continue
                yield _text(event.kind, event.job, f"{signals.start}-{event.number}")
                if ends and (event.job.is_over or event.kind == "deleted"):
                    return


def _text(kind: str, job: Job, number: str) -> str:
    data = json.dumps(jsonable_encoder(JobView.of(job)), separators=(",", ":"))
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n"
