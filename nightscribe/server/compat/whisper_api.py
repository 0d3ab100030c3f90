"""Serve the API of whisper_api: submit a file, ask for the state of its task, fetch the text or the subtitles.

Source: its code. A task is an ephemeral job: its result is removed some time after it was last read. Errors are
`{"detail": sentence}`, and an unknown task is 400, as its clients expect.
"""

import re
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from nightscribe._version import __version__
from nightscribe.server.auth import Principal, Reader, Writer
from nightscribe.server.compat import transcripts
from nightscribe.server.compat.asr_webservice import ERRORS
from nightscribe.server.compat.waiting import choose_model, job_request, receive, result
from nightscribe.server.context import Context, Serving, jobs_of
from nightscribe.server.errors import ApiError
from nightscribe.server.jobs.model import UNFINISHED, Job, NoSuchJob, State
from nightscribe.server.jobs.service import Jobs
from nightscribe.shared.formats.document import text_language
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.languages import language_code
from nightscribe.shared.model.transcript import Transcript

PREFIX = "/api/v1"
PATHS = tuple(
    f"{PREFIX}/{name}" for name in ("transcribe", "translate", "status", "srt", "version", "decoder_status", "userinfo")
)
"""Paths with its kind of errors; the others below `/api/v1` are ours."""
router = APIRouter(prefix=PREFIX, tags=["whisper_api"], responses=ERRORS)

TaskStatus = Literal["pending", "processing", "finished", "failed"]
_STATUS: dict[State, TaskStatus] = {
    State.QUEUED: "pending",
    State.RUNNING: "processing",
    State.FINISHED: "finished",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
}
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
JOB_ID = re.compile("[0-9a-f]{32}")
TaskId = Annotated[str, Query(max_length=200)]


class Task(BaseModel):
    """The state of a task."""

    task_id: str
    transcript: str | None = None
    source_language: str | None = None
    task_type: Literal["transcribe", "translate"]
    status: TaskStatus
    position_in_queue: int | None = None
    time_uploaded: datetime
    processing_duration: float | None = None
    time_processing_finished: datetime | None = None
    target_model_size: str | None = None
    used_model_size: str | None = None
    used_device: str | None = None


class DecoderState(BaseModel):
    """What the workers do, as far as the server knows."""

    gpu_mode: bool | None
    max_model_to_use: str | None
    last_loaded_model_size: str | None
    is_model_loaded: bool | None
    tasks_in_queue: int
    currently_busy: bool


@router.post("/transcribe", openapi_extra=_FORM)
async def transcribe(request: Request, principal: Writer, context: Serving, language: str = "") -> Task:
    """Submit a file to be transcribed, and return its task at once."""
    return await _start(request, principal, context, "transcribe", language)


@router.post("/translate", openapi_extra=_FORM)
async def translate(request: Request, principal: Writer, context: Serving, language: str = "") -> Task:
    """Submit a file to be translated into English, and return its task at once."""
    return await _start(request, principal, context, "translate", language)


@router.get("/status")
def status(request: Request, principal: Reader, task_id: TaskId) -> Task:
    """Return the state of a task, with its text once it is finished."""
    jobs = jobs_of(request)
    job = _job(jobs, task_id, principal)
    return _task(job, result(jobs, job) if job.state is State.FINISHED else None)


@router.get("/srt", response_class=Response)
def srt(request: Request, principal: Reader, task_id: TaskId) -> Response:
    """Return the subtitles of a finished task."""
    jobs = jobs_of(request)
    job = _job(jobs, task_id, principal)
    if job.state is not State.FINISHED:
        why = job.error or "It is not finished."
        raise ApiError(400, "no_result", f"The task has no subtitles: {why}", "See its status.")
    transcript = result(jobs, job)
    name = f"{job.name}_{text_language(transcript) or transcripts.UNKNOWN_LANGUAGE}.srt"
    return Response(
        render(transcript, "srt"),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"},
    )


@router.get("/version")
def version(_: Reader) -> dict[str, str]:
    """Return the version of nightscribe."""
    return {"version": __version__}


@router.get("/decoder_status")
def decoder_status(request: Request, _: Reader, context: Serving) -> DecoderState:
    """Return what the workers do. Their machines may be others than this one, so what is not known is null."""
    waiting = jobs_of(request).list(states=UNFINISHED, limit=1000)
    return DecoderState(
        gpu_mode=None,
        max_model_to_use=context.server.largest_model or context.settings.model,
        last_loaded_model_size=None,
        is_model_loaded=None,
        tasks_in_queue=sum(job.state is State.QUEUED for job in waiting),
        currently_busy=any(job.state is State.RUNNING for job in waiting),
    )


@router.get("/userinfo")
def userinfo(request: Request, principal: Reader) -> dict[str, str | None]:
    """Return who makes the request. Headers that name somebody are not believed; the token counts."""
    return {"user": principal.name, "email": None, "user_agent": request.headers.get("user-agent")}


async def _start(
    request: Request, principal: Principal, context: Context, task: Literal["transcribe", "translate"], language: str
) -> Task:
    jobs = jobs_of(request)
    chosen: dict[str, Any] = {"task": task, "model": choose_model(context, "")}
    if language and language != "auto":
        chosen |= {"language": language_code(language), "languages": ()}
    form = await receive(request, "file")
    wanted = job_request(context, principal, words=False, interactive=None, **chosen)
    return _task(await run_in_threadpool(jobs.submit, form.files["file"], wanted), None)


def _job(jobs: Jobs, task_id: str, principal: Principal) -> Job:
    """Return a job of the caller. Raises: ApiError: if there is none."""
    if JOB_ID.fullmatch(task_id):
        with suppress(NoSuchJob):
            return jobs.get(task_id, principal.owner)
    raise ApiError(400, "task_not_valid", "task_id not valid")


def _task(job: Job, transcript: Transcript | None) -> Task:
    return Task(
        task_id=job.id,
        transcript=transcripts.text_of(transcripts.spoken(transcript)) if transcript else None,
        source_language=transcript.language if transcript else _given(job.options.language),
        task_type=job.options.task,
        status=_STATUS[job.state],
        position_in_queue=job.place,
        time_uploaded=job.created_at,
        processing_duration=transcript.processing_s if transcript else None,
        time_processing_finished=job.finished_at,
        target_model_size=job.options.model,
        used_model_size=job.options.model if transcript else None,
        used_device=None,
    )


def _given(language: str) -> str | None:
    return None if language == "auto" else language
