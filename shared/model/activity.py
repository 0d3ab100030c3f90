"""Records that show people what each worker is doing and how far a run is. No work depends on them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.versioned import Stored, Versioned

UNREADABLE_KEPT = 1_000


def _file_name(name: str) -> str:
    """Return the name unchanged. Raises: ValueError: if no file can have it."""
    if "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is not the name of a worker")
    return name


WorkerName = Annotated[str, AfterValidator(_file_name)]
"""Name of a worker process, after which the file with its activity is named."""


class Activity(Stored):
    """The job that a worker is doing now."""

    worker: WorkerName
    recording: str
    message: str = Field(default="", description="Id of the message it holds.")
    n_recordings: int = Field(default=1, description="Recordings of its job that were unfinished when it began.")
    done_s: float = Field(default=0, description="Seconds of the slice that are done.")
    receive_count: int = 0
    began_at: AwareDatetime | None = Field(default=None, description="When it received the job.")
    updated_at: AwareDatetime

    def resting(self, why: str) -> "Activity":
        """Return the report of a worker that has released this job and rests because its machine has a problem.

        The reason is a field that earlier releases do not know, and so leave alone.
        """
        return self.model_copy(update={"message": "", "done_s": 0.0, "trouble": why})

    def on_part(self, index: int, count: int) -> "Activity":
        """Return the report with the part of the recording that is done; earlier releases leave these fields alone."""
        return self.model_copy(update={"part": index + 1, "n_parts": count}) if count > 1 else self

    @property
    def part_of(self) -> str:
        """Return `part 2 of 3`, or "" if the recording is transcribed in one piece."""
        found = self.model_extra or {}
        part, n = found.get("part"), found.get("n_parts")
        return f"part {part} of {n}" if isinstance(part, int) and isinstance(n, int) else ""

    @property
    def trouble(self) -> str | None:
        """Return why the worker rests instead of working; None if it works."""
        found = (self.model_extra or {}).get("trouble")
        return found if isinstance(found, str) else None


class Run(Versioned):
    """The progress of a `run` from its first scan to its end, or of a `director` until everything is queued."""

    version: Literal[1] = 1
    id: str = Field(default="", description="Id of the run, once it queues jobs.")
    command: Literal["run", "director"]
    source: str = Field(description="Folder of the recordings, as seen by the machine that started the run.")
    host: str = Field(default="", description="Name of the machine that runs or ran it.")
    process: str = Field(default="", description="Name of its process, unique among all machines.")
    queue_name: str
    endpoint: str | None = Field(description="Address of the queue's server; None where only the environment names it.")
    model: str
    engine: str
    asked: dict[str, str | int | bool | tuple[str, ...]] = Field(
        default={}, description="Settings that repeat this run, by name."
    )
    redo: bool = Field(default=False, description="Finished recordings are transcribed again.")
    watch: bool = Field(default=False, description="It keeps running and queues new recordings.")
    n_workers: int | None = Field(default=None, description="None where workers come and go.")
    began_at: AwareDatetime
    updated_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    interrupted: bool = False
    n_total: int | None = Field(
        default=None,
        description="Recordings that were missing when it began, or queued since. None during the first scan.",
    )
    n_done: int = 0
    n_failed: int = 0
    n_unreadable: int = Field(default=0, description="Recordings that could not be read. They have no failure records.")
    unreadable: tuple[Unreadable, ...] = Field(default=(), description=f"At most {UNREADABLE_KEPT:,} of them.")
    total_s: float | None = Field(default=None, description="Their estimated length in seconds.")
    heard_s: float = Field(default=0, description="Seconds of sound transcribed, including unfinished recordings.")
    speed: float | None = Field(default=None, description="Seconds of sound per second, all workers together.")
    left_s: float | None = Field(default=None, description="Seconds left at the current speed.")
