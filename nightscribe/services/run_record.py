"""What a run says of itself in the destination, for people elsewhere: `nightscribe status` shows it."""

import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from nightscribe.director.enqueue import Director
from nightscribe.services.asked import Command, asked
from nightscribe.services.request import Request
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.activity import Run
from nightscribe.shared.model.paths import printable
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.process.identity import has_ended, process_name
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.process.periodic import PeriodicThread
from nightscribe.worker.lease import lease_clock

EVERY_S = 2.0
LIVE_S = 60.0  # a run that was not heard of for so long is no more; a slow share makes it silent for seconds


class Counting(Protocol):
    """Something that knows how far a run is."""

    def figures(self, now: float) -> Mapping[str, object]:
        """As `shared.activity.Run` has it; `now` is a clock in seconds."""
        ...


class RunRecord:
    """Writes down how far a run is, every few seconds from a thread of its own, and in the end that it is over.

    So a run that waits for its queue or for a slow share does not look dead.
    """

    def __init__(
        self, records: Records, run: Run, run_progress: Counting | None = None, *, every_s: float = EVERY_S
    ) -> None:
        """`run`: as it begins. `tally`: None while it looks for what is missing."""
        self._records = records
        self._run = run
        self._directed: Run | None = None
        """What a director said before, which a run that queues nothing leaves: a fleet may still be at work."""
        if run.command == "run":
            with suppress(NightscribeError):
                before = records.last_run()
                self._directed = before if before and before.command == "director" else None
        self._tally = run_progress
        self._saying = threading.Lock()
        self._thread = PeriodicThread(self._say, min(every_s, LIVE_S / 4), name="run-record")
        self.tell()

    def __enter__(self) -> Self:
        self._say()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.stop()
        self.tell()
        n_total, n_settled = self._run.n_total, self._run.n_done + self._run.n_failed
        is_over = n_total is not None and n_settled >= n_total  # however it ended
        if self._directed and not self._run.id:
            self._records.put_run(self._directed)
        else:
            self._say(ended_at=utc_now(), interrupted=kind is not None and not is_over, left_s=None)

    def found(self, run_progress: Counting) -> None:
        """What is missing is known, and from here on it is counted."""
        self._tally = run_progress
        self.tell()
        self._say()

    def queues(self, director: Director, n_workers: int) -> None:
        """Where what is missing is queued, and for how many workers."""
        self._run = queueing(self._run, director).model_copy(update={"n_workers": n_workers})
        self._say()

    def tell(self) -> None:
        """The tally has changed, or was looked at; only the thread that counts there may say so."""
        report_alive()
        if self._tally:
            self._run = self._run.model_copy(update=self._tally.figures(lease_clock()))

    def _say(self, **changes: object) -> None:
        with self._saying:
            self._records.put_run(self._run.model_copy(update={"updated_at": utc_now()} | changes))


def beginning(command: Command, request: Request, engine: str, *, watch: bool = False) -> Run:
    """A run that has yet to find out what is missing."""
    settings, now = request.settings, utc_now()
    return Run(
        command=command,
        source=printable(str(request.source.absolute())),
        host=socket.gethostname(),
        process=process_name(os.getpid()),
        queue_name=settings.queue_name,
        endpoint=None,
        model=settings.model,
        engine=engine,
        asked=asked(command, settings),
        redo=request.redo,
        watch=watch,
        began_at=now,
        updated_at=now,
    )


def queueing(run: Run, director: Director) -> Run:
    """The same with the queue that it fills."""
    queue = director.queue
    return run.model_copy(update={"id": director.run_id, "queue_name": queue.address, "endpoint": queue.endpoint})


def is_live(run: Run, now: datetime | None = None) -> bool:
    """Whether a run is at work, as far as can be told: from elsewhere, one that was killed is known by its silence."""
    silent_s = ((now or datetime.now(UTC)) - run.updated_at).total_seconds()
    return run.ended_at is None and silent_s < LIVE_S and not has_ended(run.process)
