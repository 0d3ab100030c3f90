"""Submit recordings of the source, and follow, read, cancel and delete jobs."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from nightscribe.server.auth import Principal, Reader, Writer, add_to_log
from nightscribe.server.context import Context, Serving, Working
from nightscribe.server.database.log import Action
from nightscribe.server.errors import ApiError, Problem, not_found
from nightscribe.server.jobs.model import Job, State
from nightscribe.server.jobs.wishes import Wishes, job_request
from nightscribe.shared.errors import FormatError
from nightscribe.shared.formats.registry import get_format, render, suffix_of

router = APIRouter(prefix="/jobs", tags=["jobs"])

MOST_WAIT_S = 60.0  # proxies end connections that are silent for longer

JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the job.")]
BUSY: dict[int | str, dict[str, Any]] = {
    429: {"model": Problem, "description": "Too many jobs wait; the header Retry-After says when to try again."}
}


class JobView(BaseModel):
    """A job and how far it is."""

    id: str
    state: State
    name: str = Field(description="Name of the file as it was given.")
    recording: str | None = Field(description="Path below the source; null if nothing is kept.")
    size: int = Field(description="Bytes.")
    interactive: bool = Field(description="Somebody waits for the result.")
    keep: bool = Field(description="Recording and transcript stay in the library.")
    model: str
    task: str
    language: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When the result is removed; null if it is kept.")
    duration_s: float | None = Field(description="Seconds of sound, once they are known.")
    done_s: float = Field(description="Seconds of sound that are transcribed.")
    progress: float | None = Field(description="From 0 to 1; null while the length is unknown.")
    place: int | None = Field(description="Number of jobs before it in its queue; null if it does not wait.")
    left_s: float | None = Field(description="Seconds that it will probably take from now on.")
    error: Problem | None = Field(description="Why it failed.")

    @classmethod
    def of(cls, job: Job) -> "JobView":
        """Return what a client sees of a job."""
        failed = job.state is State.FAILED
        return cls(
            id=job.id,
            state=job.state,
            name=job.name.encode(errors="replace").decode(),
            recording=None if job.ephemeral else job.recording,
            size=job.size,
            interactive=job.interactive,
            keep=not job.ephemeral,
            model=job.options.model,
            task=job.options.task,
            language=job.options.language,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            expires_at=job.expires_at,
            duration_s=job.duration_s,
            done_s=job.done_s,
            progress=job.progress,
            place=job.place,
            left_s=job.left_s,
            error=Problem(code=job.error_code, message=job.error, action="") if failed else None,
        )


class JobPage(BaseModel):
    """Some jobs, the newest first."""

    jobs: list[JobView]
    next: str | None = Field(description="Value of `after` for the next page; null on the last one.")


class PathJob(Wishes):  # type: ignore[misc]  # it is made from the options of a job
    """A recording of the source to transcribe, and how. What is left out follows the settings of the server."""

    path: str = Field(min_length=1, max_length=4096, description="Path of a recording below the source.")
    redo: bool = Field(default=False, description="Transcribe it again if it has a transcript, which is replaced.")


def owner_of(principal: Principal) -> str | None:
    """Return whose jobs a caller may see; None for everybody's."""
    return None if principal.may("admin") and not principal.folder else principal.owner


@router.post("", status_code=202, responses=BUSY)
def submit_path(wishes: PathJob, principal: Writer, context: Serving, jobs: Working) -> JobView:
    """Submit a recording that is in the source already. To submit a file, see the uploads."""
    path: str = wishes.path
    if not principal.may_see(path):
        raise not_found()
    request = job_request(
        wishes, context.settings, owner=principal.owner, folder="", redo=wishes.redo
    )  # fmt: skip
    return JobView.of(jobs.submit(path, request))


@router.get("")
def list_jobs(
    principal: Reader,
    jobs: Working,
    state: Annotated[list[State] | None, Query(description="Only jobs in one of these states.")] = None,
    after: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$", description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JobPage:
    """List your jobs, the newest first; those of everybody with the scope admin."""
    owner = owner_of(principal)
    before = jobs.get(after, owner) if after else None
    found = jobs.list(owner=owner, states=state or (), before=before, limit=limit + 1)
    return JobPage(
        jobs=[JobView.of(job) for job in found[:limit]], next=found[limit - 1].id if len(found) > limit else None
    )


@router.get("/{job_id}")
async def get_job(
    job_id: JobId,
    principal: Reader,
    jobs: Working,
    wait: Annotated[
        float, Query(ge=0, le=MOST_WAIT_S, description="Wait for its end, for so many seconds at most.")
    ] = 0,
) -> JobView:
    """Follow a job: its state, its place in the queue, and how far it is."""
    return JobView.of(await jobs.wait_async(job_id, wait, owner_of(principal)))


@router.get(
    "/{job_id}/transcript.{format_name}",
    responses={200: {"content": {"text/plain": {}, "application/json": {}}, "description": "The transcript."}},
    response_class=Response,
)
def get_result(
    job_id: JobId,
    format_name: Annotated[str, Path(pattern="^[a-z0-9][a-z0-9_-]{0,31}$", description="Name of a format.")],
    principal: Reader,
    context: Serving,
    jobs: Working,
) -> Response:
    """Return the result of a job in any format, also in those that were not requested."""
    if get_format(format_name) is None:
        raise ApiError(404, "format_unknown", f"There is no format {format_name!r}.", "See docs/server.md for all.")
    job = jobs.get(job_id, owner_of(principal))
    transcript = jobs.transcript(job_id)
    try:
        content = render(transcript, format_name)
    except FormatError as error:
        raise ApiError(422, error.code, str(error), "Choose another format.") from None
    _note(context, principal, Action.RESULT_READ, job, format=format_name)
    return Response(content, media_type=media_type(format_name), headers={"Content-Disposition": "attachment"})


@router.post("/{job_id}/cancel")
def cancel_job(job_id: JobId, principal: Writer, jobs: Working) -> JobView:
    """Stop a job, also while a worker does it. A job that is over stays as it is."""
    return JobView.of(jobs.cancel(job_id, owner_of(principal)))


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: JobId, principal: Writer, context: Serving, jobs: Working) -> None:
    """Cancel a job and forget it.

    If nothing of it is kept, its result is removed, and an upload that was not transcribed is removed as well.
    Recordings and transcripts of the library stay; delete them as recordings.
    """
    job = jobs.get(job_id, owner_of(principal))
    jobs.delete(job_id)
    _note(context, principal, Action.DELETED, job)


def _note(context: Context, principal: Principal, action: Action, job: Job, **details: str) -> None:
    recording = None if job.ephemeral else job.recording
    with context.database.write() as session:
        add_to_log(session, principal, action, recording=recording, job=job.id, **details)


def media_type(format_name: str) -> str:
    """Return the media type of a format's files."""
    known: dict[str, str] = {".json": "application/json", ".vtt": "text/vtt", ".srt": "application/x-subrip"}
    return known.get(suffix_of(format_name), "text/plain; charset=utf-8")
