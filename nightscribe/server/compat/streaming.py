"""Yield what is known of a recording while it is transcribed."""

import json
import re
from collections.abc import AsyncIterator
from itertools import count

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from nightscribe.server.compat.waiting import attended, result
from nightscribe.server.context import context_of, jobs_of
from nightscribe.server.errors import ApiError
from nightscribe.server.jobs.model import Job
from nightscribe.shared.destination.json_store import JsonStore
from nightscribe.shared.destination.keys import parts_folder
from nightscribe.shared.destination.partial_results import PART
from nightscribe.shared.model.transcript import Part, Transcript
from nightscribe.shared.storage.base import TranscriptStore

LOOK_EVERY_S = 1.0
PING_EVERY_LOOKS = 15
PING = b": still at work\n\n"
"""A comment that clients ignore, so that no proxy takes the connection for dead."""
_NAME = re.compile(r"[0-9a-f]+-(\d+)" + re.escape(PART))


async def parts_as_they_finish(request: Request, job: Job) -> AsyncIterator[Part | Transcript | None]:
    """Yield the parts of a job in order as each is done, then its transcript; None now and then meanwhile.

    Raises: ApiError: if the job fails.
    """
    jobs, context = jobs_of(request), context_of(request)
    store = context.dest.open_store(context.storage)
    done = 0
    with attended(request, job):
        for look in count(1):
            job = await jobs.wait_async(job.id, LOOK_EVERY_S)
            if job.is_over:
                break
            while part := await run_in_threadpool(_part, store, job.recording, done):
                done += 1
                yield part
            if look % PING_EVERY_LOOKS == 0:
                yield None
        yield await run_in_threadpool(result, jobs, job)


def _part(store: TranscriptStore, recording: str, index: int) -> Part | None:
    """Return the finished part with this index, or None if it is not finished."""
    folder = parts_folder(recording)
    for name in store.names(folder):
        if (found := _NAME.fullmatch(name)) and int(found[1]) == index:
            return JsonStore(store).load(Part, folder + name)
    return None


async def peeked(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return the events once the first one is known, so that a job that fails at once has a status of its own.

    Raises: ApiError: if the job has failed by then. Later, the failure is the last event.
    """
    first = await anext(events)

    async def all_of_them() -> AsyncIterator[bytes]:
        yield first
        try:
            async for event in events:
                yield event
        except ApiError as error:
            problem = {"message": str(error), "type": "server_error", "param": None, "code": error.problem.code}
            yield f"event: error\ndata: {json.dumps({'type': 'error', 'error': problem})}\n\n".encode()

    return all_of_them()
