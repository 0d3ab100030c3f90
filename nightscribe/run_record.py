"""What a run says of itself in the destination, for people elsewhere: `nightscribe status` shows it."""

import socket
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from director.director import Director
from nightscribe.commands import Command, asked
from nightscribe.words import printable
from shared.activity import Run
from shared.places import Place
from shared.pulse import beat
from shared.records import Records
from shared.settings import Settings
from shared.transcript import utc_now
from worker.lease import lease_clock

EVERY_S = 2.0
LIVE_S = 60.0  # a run that was not heard of for so long is no more; a slow share makes it silent for seconds


class Counting(Protocol):
    """Something that knows how far a run is."""

    def figures(self, now: float) -> Mapping[str, float | None]:
        """As `shared.activity.Run` has it; `now` is a clock in seconds."""
        ...


class RunRecord:
    """Writes down how far a run is, every few seconds from a thread of its own, and in the end that it is over.

    So a run that waits for its queue or for a slow share does not look dead.
    """

    def __init__(self, records: Records, run: Run, tally: Counting, *, every_s: float = EVERY_S) -> None:
        """`run`: as it begins."""
        self._every_s = min(every_s, LIVE_S / 4)
        self._records = records
        self._run = run
        self._tally = tally
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_saying, name="run-record", daemon=True)
        self.tell()

    def __enter__(self) -> Self:
        self._say()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.tell()
        self._say(ended_at=utc_now(), interrupted=kind is not None, left_s=None)

    def tell(self) -> None:
        """The tally has changed, or was looked at; only the thread that counts there may say so."""
        beat()
        self._run = self._run.model_copy(update=self._tally.figures(lease_clock()))

    def _say(self, **changes: object) -> None:
        self._records.put_run(self._run.model_copy(update={"updated_at": utc_now()} | changes))

    def _keep_saying(self) -> None:
        while not self._over.wait(self._every_s):
            self._say()


def beginning(
    command: Command,
    director: Director,
    *,
    source: Place,
    settings: Settings,
    n_total: int,
    n_workers: int | None = None,
    watch: bool = False,
) -> Run:
    """A run of which nothing is done yet."""
    now = utc_now()
    return Run(
        id=director.run_id,
        command=command,
        source=printable(str(source.absolute())),
        host=socket.gethostname(),
        queue_name=director.queue.address,
        endpoint=director.queue.endpoint,
        model=director.options.model,
        engine=director.options.engine,
        asked=asked(command, settings),
        redo=director.redo,
        watch=watch,
        n_workers=n_workers,
        began_at=now,
        updated_at=now,
        n_total=n_total,
    )


def is_live(run: Run, now: datetime | None = None) -> bool:
    """Whether a run is at work, as far as can be told from elsewhere."""
    silent_s = ((now or datetime.now(UTC)) - run.updated_at).total_seconds()
    return run.ended_at is None and silent_s < LIVE_S
