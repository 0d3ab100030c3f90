"""Transcribe an upload for a client that waits for the result."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from fastapi import Request
from starlette.concurrency import run_in_threadpool

from nightscribe.server.auth import Principal
from nightscribe.server.compat.model_names import known_model, known_models, public_name
from nightscribe.server.context import Context, jobs_of
from nightscribe.server.errors import ApiError
from nightscribe.server.jobs.model import Job, JobRequest, NoSuchJob, State
from nightscribe.server.jobs.planning import length_s
from nightscribe.server.jobs.receive import Form, drain, receive_form
from nightscribe.server.jobs.service import Jobs
from nightscribe.server.jobs.spool import Spool, Upload
from nightscribe.services.request import options as options_of
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.engines import AUTO, engine_spec
from nightscribe.shared.model.hotwords import LONGEST_PROMPT, check_hotwords
from nightscribe.shared.model.jobs import REQUESTS, Layout, Options
from nightscribe.shared.model.transcript import Transcript

log = structlog.get_logger()

GRACE_S = 30.0
"""A client whose connection breaks sends its request again. After this time, nobody wants the result any more."""
LOOK_EVERY_S = 60.0
LOWEST_BYTES_PER_S = 500
"""No usual recording has fewer, so a short file need not be probed to see that it is short."""

FAULTS_OF_THE_FILE = frozenset(
    {
        *("changed", "cut_off", "empty", "encrypted", "name_too_long", "no_audio_track", "no_sound", "not_audio"),
        *("text_not_sound", "too_large"),
    }
)
"""Codes of failures that another server would report as well."""


@dataclass
class Waiters:
    """The clients that wait for jobs."""

    n: Counter[str] = field(default_factory=Counter)
    """How many wait for each job."""
    leaving: set[asyncio.Task[None]] = field(default_factory=set)
    """Cancel what nobody waits for any more."""


class Unacceptable(ApiError):
    """A request that would be refused again, so a client should not repeat it."""


async def receive(request: Request, file_field: str, spool: Spool | None = None) -> Form:
    """Receive a form with a recording, unless the queue is full. Discard it when it is done with.

    `spool`: where the recording goes; by default that of the server.

    Raises: Busy: if too many wait. ApiError: if it is not such a form, or has no recording. What `receive_form` raises.
    """
    jobs = jobs_of(request)
    try:
        jobs.require_room()
        form = await receive_form(request, spool or jobs.spool, (file_field,))
    except (ApiError, NightscribeError):
        await drain(request)
        raise
    if file_field not in form.files:
        raise Unacceptable(
            400, "no_file", "There is no recording in the request.", f"Send it as a file in the field {file_field!r}."
        )
    return form


def choose_model(context: Context, requested: str) -> str:
    """Return our name of a model that a client requests. Raises: ApiError: if it is not known, or too large."""
    known = known_models(context.settings, context.server.largest_model)
    if model := known_model(requested, context.settings.model, known):
        return model
    raise Unacceptable(
        404, "model_not_found", f"There is no model named {requested!r} here.",
        f"Request one of these: {', '.join(offered_models(context))}.",
    )  # fmt: skip


def offered_models(context: Context) -> tuple[str, ...]:
    """Return the names that requests may name, beginning with that of the server's model."""
    known = known_models(context.settings, context.server.largest_model)
    return tuple(dict.fromkeys((public_name(context.settings.model), *known)))


def job_request(
    context: Context,
    principal: Principal,
    *,
    words: bool,
    interactive: bool | None = True,
    **chosen: Any,
) -> JobRequest:
    """Return the request for an ephemeral job. `chosen`: options that differ from those of this server.

    Raises: ValueError: if an option is not valid.
    """
    settings = context.settings
    usual = options_of(settings, settings.engine).model_dump()
    return JobRequest(
        options=Options.model_validate(usual | chosen),
        layout=Layout(line_chars=settings.line_chars, lines=settings.lines, words=words),
        owner=principal.owner,
        interactive=interactive,
        ephemeral=True,
    )


def vocabulary(context: Context, prompt: str, words: Iterable[str] = ()) -> dict[str, Any]:
    """Return the options for a prompt and for words to listen for, without what the engine cannot follow.

    Of a prompt that is too long, its end counts, as in Whisper. Raises: ValueRefused: if there are too many words.
    """
    given = {"prompt": " ".join(prompt.split())[-LONGEST_PROMPT:], "hotwords": check_hotwords(words)}
    return {name: value for name, value in given.items() if value and name in followed(context)}


def followed(context: Context) -> frozenset[str]:
    """Return which options that only some engines can follow this server's engine follows."""
    engine = context.settings.engine
    return frozenset(REQUESTS) if engine == AUTO else engine_spec(engine).follows


def require_shortness(upload: Upload, minutes: float) -> None:
    """Refuse a recording that is too long to wait for. Raises: ApiError."""
    if not minutes or upload.size < minutes * 60 * LOWEST_BYTES_PER_S:
        return
    duration_s = length_s(upload.path)
    if duration_s is not None and duration_s > minutes * 60:
        raise Unacceptable(
            413, "too_long", f"The recording has {duration_s / 60:.0f} minutes; at most {minutes:g} are accepted here.",
            "Send it to POST /api/v1/uploads, which responds at once, and follow its job at /api/v1/jobs.",
        )  # fmt: skip


async def submit(request: Request, context: Context, upload: Upload, wanted: JobRequest) -> Job:
    """Submit an upload. Raises: Busy: if too many wait. ApiError: if it is too long."""

    def accepted() -> Job:
        try:
            require_shortness(upload, context.server.sync_minutes)
        except BaseException:
            upload.discard()
            raise
        return jobs_of(request).submit(upload, wanted)

    return await run_in_threadpool(accepted)


@contextmanager
def attended(request: Request, job: Job) -> Iterator[None]:
    """Cancel a job if the context ends before it does, unless the same upload comes again within `GRACE_S`."""
    state = request.app.state
    if not hasattr(state, "waiters"):
        state.waiters = Waiters()
    waiters: Waiters = state.waiters
    waiters.n[job.id] += 1
    try:
        yield
    except (ClientGone, GeneratorExit, asyncio.CancelledError):
        task = asyncio.create_task(_cancel_unless_wanted(jobs_of(request), waiters, job.id))
        waiters.leaving.add(task)  # the event loop itself would let it be collected
        task.add_done_callback(waiters.leaving.discard)
        raise
    finally:
        waiters.n[job.id] -= 1
        if not waiters.n[job.id]:
            del waiters.n[job.id]


async def _cancel_unless_wanted(jobs: Jobs, waiters: Waiters, job_id: str) -> None:
    await asyncio.sleep(GRACE_S)
    if not waiters.n[job_id]:
        with suppress(NightscribeError):
            job = await run_in_threadpool(jobs.cancel, job_id)
            log.info("job.abandoned", job=job_id, state=job.state.value)


async def finished(request: Request, job: Job) -> Transcript:
    """Wait for a job and return its transcript. Raises: ApiError: if it fails. ClientGone: if the client has gone."""
    jobs = jobs_of(request)
    with attended(request, job):
        while not job.is_over:
            job = await _wait(request, jobs, job)
    return await run_in_threadpool(result, jobs, job)


def result(jobs: Jobs, job: Job) -> Transcript:
    """Return the transcript of a job that is over. Raises: ApiError: if it has none."""
    if job.state is State.FINISHED:
        with suppress(NoSuchJob):
            return jobs.transcript(job.id)
    raise failure(job)


def failure(job: Job) -> ApiError:
    """Return the refusal for a job that has no result. It was tried three times, so a client should not repeat it."""
    code = job.error_code or job.state.value
    message = job.error or "The job was cancelled."
    if code in FAULTS_OF_THE_FILE:
        return Unacceptable(400, code, message, "Send another file.")
    return Unacceptable(500, code, message, "Whoever runs this server finds the cause in its log.")


class ClientGone(ApiError):
    """The client has closed its connection, so nobody reads this."""

    def __init__(self) -> None:
        super().__init__(499, "client_gone", "The client has closed its connection.")


async def _wait(request: Request, jobs: Jobs, job: Job) -> Job:
    """Wait until a job is over or some time has passed. Raises: ClientGone."""

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    over = asyncio.create_task(jobs.wait_async(job.id, LOOK_EVERY_S))
    left = asyncio.create_task(leave())
    try:
        await asyncio.wait((over, left), return_when=asyncio.FIRST_COMPLETED)
        if not over.done():
            raise ClientGone
        return over.result()
    finally:
        over.cancel()
        left.cancel()
