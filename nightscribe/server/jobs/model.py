"""What the server knows about a job, and what a caller requests."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from nightscribe.shared.errors import PermanentError, RetryableError
from nightscribe.shared.model.jobs import FormatName, Layout, Options


class State(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Return whether nothing more happens to the job."""
        return self not in UNFINISHED


UNFINISHED = (State.QUEUED, State.RUNNING)


class Busy(RetryableError):
    """The queue for requests that wait is full."""

    code = "busy"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotFinished(RetryableError):
    """The job has no result yet."""

    code = "not_finished"


class NoSuchJob(PermanentError):
    """There is no job with this id that the caller may see."""

    code = "not_found"


class Refused(PermanentError):
    """A recording cannot be accepted. Its code says why."""


@dataclass(frozen=True)
class JobRequest:
    """How a recording is to be transcribed, and what becomes of the result."""

    options: Options
    formats: tuple[FormatName, ...] = ()
    """Text files to write into the destination; an ephemeral job writes none."""
    layout: Layout = field(default_factory=Layout)
    owner: str = ""
    """Who submits it: the id of a credential, or empty for programs of this machine."""
    interactive: bool | None = False
    """True if somebody waits for the result; None to decide by the length of the recording."""
    ephemeral: bool = False
    """The recording is removed when the job is over, its result some time later, and the library knows neither."""
    folder: str = "uploads"
    """Folder below the source in which an upload that is kept becomes a recording."""
    id: str = ""
    """Id of the job, 32 hex digits that nobody can guess; empty for a new one."""
    redo: bool = False
    """Transcribe a recording of the source again that has a transcript."""


@dataclass(frozen=True)
class Job:
    """A job as it was when it was read."""

    id: str
    state: State
    owner: str
    name: str
    """Name of the file as it was given."""
    recording: str
    """Path below the source; that of an ephemeral job is hidden."""
    size: int
    interactive: bool
    ephemeral: bool
    uploaded: bool
    """True if the recording came with the job; False if it was in the source before."""
    options: Options
    formats: tuple[FormatName, ...]
    layout: Layout
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    """When the result of an ephemeral job is removed."""
    duration_s: float | None = None
    """Seconds of sound, once they are known."""
    error_code: str = ""
    error: str = ""
    """Why it failed, in one plain sentence."""
    done_s: float = 0.0
    """Seconds of sound that are transcribed."""
    place: int | None = None
    """Jobs before it in its queue; None if it does not wait."""
    left_s: float | None = None
    """Seconds until it is done, as far as that can be foreseen."""

    @property
    def is_over(self) -> bool:
        """Return whether nothing more happens to the job."""
        return self.state.is_over

    @property
    def progress(self) -> float | None:
        """Return the share of the recording that is done, from 0 to 1; None if it is unknown."""
        if self.state is State.FINISHED:
            return 1.0
        return min(1.0, self.done_s / self.duration_s) if self.duration_s else None

    def with_state(self, state: State, at: datetime, *, code: str = "", error: str = "") -> "Job":
        """Return the job after it has ended."""
        return replace(self, state=state, finished_at=at, error_code=code, error=error, place=None, left_s=None)


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job."""

    number: int
    """Counts up; events of another start of the server have a different beginning (see `Signals`)."""
    kind: str
    """`queued`, `running`, `progress`, `finished`, `failed`, `cancelled` or `deleted`."""
    job: Job
