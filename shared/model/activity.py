"""Records of what is going on, for people: what each worker is doing, and how far a run is. No work depends on them."""

from typing import Literal

from pydantic import AwareDatetime, Field

from nightscribe.shared.model.record import Stored, Versioned
from nightscribe.shared.model.recording import Unreadable

UNREADABLE_KEPT = 1_000


class Activity(Stored):
    """What a worker is doing."""

    worker: str
    recording: str
    message: str = Field(default="", description="Id of the message it holds.")
    n_recordings: int = Field(default=1, description="Recordings of its job that were still to do when it began.")
    done_s: float = Field(default=0, description="Sound of the slice that is done.")
    receive_count: int = 0
    began_at: AwareDatetime | None = Field(default=None, description="When it received the job.")
    updated_at: AwareDatetime


class Run(Versioned):
    """How far a run is, from its first look at the source to its end, or a `director`, until all is queued."""

    version: Literal[1] = 1
    id: str = Field(default="", description="Known once it queues.")
    command: Literal["run", "director"]
    source: str = Field(description="Folder of the recordings, as the machine sees it that began the run.")
    host: str = Field(default="", description="Name of the machine on which it works or worked.")
    process: str = Field(default="", description="Name of its process among those of all machines.")
    queue_name: str
    endpoint: str | None = Field(description="Address of the queue's server; None where only the environment gives it.")
    model: str
    engine: str
    asked: dict[str, str | int | bool | tuple[str, ...]] = Field(
        default={}, description="Settings by which the same can be asked for again, by their names."
    )
    redo: bool = Field(default=False, description="Finished recordings were asked for too.")
    watch: bool = Field(default=False, description="It stays and queues what arrives.")
    n_workers: int | None = Field(default=None, description="None where workers come and go.")
    began_at: AwareDatetime
    updated_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    interrupted: bool = False
    n_total: int | None = Field(
        default=None,
        description="Recordings that were missing when it began, or that it has queued since. None while it looks.",
    )
    n_done: int = 0
    n_failed: int = 0
    n_unreadable: int = Field(default=0, description="Recordings that could not be read. They have no failure records.")
    unreadable: tuple[Unreadable, ...] = Field(default=(), description=f"At most {UNREADABLE_KEPT:,} of them.")
    total_s: float | None = Field(default=None, description="Sound in them, as far as can be told.")
    heard_s: float = Field(default=0, description="Sound transcribed, that of unfinished recordings included.")
    speed: float | None = Field(default=None, description="Seconds of sound a second, all workers together.")
    left_s: float | None = Field(default=None, description="Seconds until all is done, if it goes on like this.")
