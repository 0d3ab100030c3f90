"""Record the progress of a run in the destination, so that `nightscribe status` can show it on any machine."""

import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from nightscribe.director.enqueue import Director
from nightscribe.services.request import Request
from nightscribe.services.requested_settings import Command, asked
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.activity import Run
from nightscribe.shared.model.paths import printable
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.process.identity import has_ended, process_name
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.process.periodic import PeriodicThread
from nightscribe.shared.storage.base import Location
from nightscribe.worker.lease import lease_clock

EVERY_S = 2.0
CHOSEN = "sources"
"""Name in `Run.asked` of the files that were chosen."""
CHOSEN_KEPT = 100
LIVE_S = 60.0  # a run that is silent for longer is over; a slow share can make it silent for seconds


class Counting(Protocol):
    """An object that knows the progress of a run."""

    def figures(self, now: float) -> Mapping[str, object]:
        """Return fields of `shared.model.activity.Run`; `now` is a clock in seconds."""
        ...


class RunRecord:
    """Records the progress of a run every few seconds, and at the end that it is over.

    It has its own thread, so that a run that waits for its queue or for a slow share does not look dead.
    """

    def __init__(
        self, records: Records, run: Run, run_progress: Counting | None = None, *, every_s: float = EVERY_S
    ) -> None:
        """Create the record of a run that begins; `run_progress` is None until the scan is over."""
        self._records = records
        self._run = run
        self._directed: Run | None = None
        """The record of an earlier director. A run that queues nothing restores it: its workers may still be busy."""
        if run.command == "run":
            with suppress(NightscribeError):
                before = records.last_run()
                self._directed = before if before and before.command == "director" else None
        self._progress = run_progress
        self._writing = threading.Lock()
        self._thread = PeriodicThread(self._write, min(every_s, LIVE_S / 4), name="run-record")
        self.update()

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.stop()
        self.update()
        n_total, n_settled = self._run.n_total, self._run.n_done + self._run.n_failed
        is_over = n_total is not None and n_settled >= n_total  # however it ended
        if self._directed and not self._run.id:
            self._records.put_run(self._directed)
        else:
            self._write(ended_at=utc_now(), interrupted=kind is not None and not is_over, left_s=None)

    def found(self, run_progress: Counting) -> None:
        """Record that the scan is over; from here on the figures come from `run_progress`."""
        self._progress = run_progress
        self.update()
        self._write()

    def queues(self, director: Director, n_workers: int) -> None:
        """Record the queue that the director fills, and the number of workers."""
        self._run = queueing(self._run, director).model_copy(update={"n_workers": n_workers})
        self._write()

    def update(self) -> None:
        """Take over the current figures. Only the thread that counts them may call this."""
        report_alive()
        if self._progress:
            self._run = self._run.model_copy(update=self._progress.figures(lease_clock()))

    def _write(self, **changes: object) -> None:
        with self._writing:
            self._records.put_run(self._run.model_copy(update={"updated_at": utc_now()} | changes))


def beginning(command: Command, request: Request, engine: str, *, watch: bool = False) -> Run:
    """Return the record of a run before its scan."""
    settings, now = request.settings, utc_now()
    return Run(
        command=command,
        source=printable(str(request.source.root.absolute())),
        host=socket.gethostname(),
        process=process_name(os.getpid()),
        queue_name=settings.queue_name,
        endpoint=None,
        model=settings.model,
        engine=engine,
        asked=asked(command, settings) | chosen(request.source),
        redo=request.redo,
        watch=watch,
        began_at=now,
        updated_at=now,
    )


def chosen(source: Location) -> dict[str, tuple[str, ...]]:
    """Return the words by which the user chose only some recordings of a folder, to repeat the command with them."""
    words = source.absolute().arguments()
    is_choice = source.root is not source and len(words) <= CHOSEN_KEPT
    return {CHOSEN: tuple(map(printable, words))} if is_choice else {}


def queueing(run: Run, director: Director) -> Run:
    """Return the record with the queue that the director fills."""
    queue = director.queue
    return run.model_copy(update={"id": director.run_id, "queue_name": queue.address, "endpoint": queue.endpoint})


def is_live(run: Run, now: datetime | None = None) -> bool:
    """Return whether a run seems to be in progress. If it was killed on another machine, only its silence shows it."""
    silent_s = ((now or datetime.now(UTC)) - run.updated_at).total_seconds()
    return run.ended_at is None and silent_s < LIVE_S and not has_ended(run.process)
