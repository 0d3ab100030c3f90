"""Define the progress events of the services: a caller passes a function that receives them, and views render them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nightscribe.director.watch.watch_loop import WatchLoop
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.model.activity import Activity


@dataclass(frozen=True)
class Began:
    """A run holds the lock on its destination, and its checks have passed."""

    engine: str
    logs: Path
    """Folder for the logs of this machine."""


@dataclass(frozen=True)
class Scanning:
    """The source is being compared with the destination."""

    n_files: int = 0


@dataclass(frozen=True)
class Downloading:
    """A recording is being downloaded. `total` is None while its size is unknown."""

    name: str
    n_bytes: int
    total: int | None


@dataclass(frozen=True)
class Surveying:
    """Some of the missing recordings are being probed, to estimate how long all of them are."""

    number: int
    n: int


@dataclass(frozen=True)
class Planned:
    """The missing recordings are known and their lengths are estimated."""

    progress: RunProgress


@dataclass(frozen=True)
class ModelChosen:
    """`--model auto` has chosen a model."""

    model: str
    reason: str
    """One sentence."""


@dataclass(frozen=True)
class FetchingWeights:
    """The weights of the model are being loaded from the network, unless this machine has them."""

    model: str


@dataclass(frozen=True)
class Started:
    """Jobs are being queued and the worker processes start."""

    run_id: str
    n_workers: int


@dataclass(frozen=True)
class Working:
    """The state of a run after each check of the queue and the store, about once a second."""

    progress: RunProgress
    workers: tuple[str, ...]
    activities: tuple[Activity, ...]
    trouble: str = ""
    """A sentence on what currently holds up the run, or empty."""


@dataclass(frozen=True)
class Stopping:
    """The workers are about to be stopped; no `Working` follows."""


@dataclass(frozen=True)
class Watching:
    """The state of a watching director after each step."""

    loop: WatchLoop


@dataclass(frozen=True)
class Verifying:
    """The records of a destination are being checked."""

    number: int
    n: int


@dataclass(frozen=True)
class Indexing:
    """Records are being put into the search index."""

    n_read: int | None
    """Number of records read so far; None while another process updates the index."""


@dataclass(frozen=True)
class Comparing:
    """The voices of all recordings are being read and compared."""

    n_read: int


@dataclass(frozen=True)
class Rewriting:
    """Transcripts and texts are being written again."""

    number: int
    n: int


@dataclass(frozen=True)
class Forgetting:
    """Recordings are being deleted for good."""

    number: int
    n: int


@dataclass(frozen=True)
class TableWritten:
    """The table of a run whose source is a table was written into the destination, for the last time."""

    place: str
    n_rows: int
    n_texts: int
    """Number of rows that have a text or are known to be without speech."""
    remarks: tuple[str, ...]
    """What is doubtful about the table or its rows, as sentences."""


Event = (
    Began
    | Downloading
    | TableWritten
    | Scanning
    | Surveying
    | Planned
    | ModelChosen
    | FetchingWeights
    | Started
    | Working
    | Stopping
    | Watching
    | Verifying
    | Indexing
    | Forgetting
    | Comparing
    | Rewriting
)
OnEvent = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Do nothing with an event."""
