"""Report on the job that a worker holds, for people and for workers whose jobs overlap with it."""

import threading
import time
from types import TracebackType
from typing import Self

from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.jobs import Slice
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.process.periodic import PeriodicThread
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.telemetry import metrics

REPORT_EVERY_S = 1.0
REMOTE_REPORT_EVERY_S = 10.0  # each report is a paid call, and one a second would cost more than a vCPU
END_WITHIN_S = 5.0  # a store that does not respond must not keep a worker from its next job


class StatusReporter:
    """Keeps the activity of one job up to date from its own thread.

    A slow store therefore does not slow the work, and a worker whose engine takes minutes for a batch looks alive.
    """

    def __init__(self, records: Records, worker: str, delivery: Delivery, *, refresh_s: float) -> None:
        """`refresh_s`: seconds after which an unchanged activity is reported again."""
        self._records = records
        self._worker = worker
        self._delivery = delivery
        self._refresh_s = refresh_s
        self._activity: Activity | None = None
        self._reported: Activity | None = None
        self._reported_at = 0.0
        self._cancelled = threading.Event()
        self._cancellable = ""
        is_remote = records.store.max_concurrency > 1
        self._thread = PeriodicThread(
            self._report_news,
            min(REMOTE_REPORT_EVERY_S, refresh_s) if is_remote else REPORT_EVERY_S,
            name="reporter",
            at_end=lambda: records.leave(worker),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def is_cancelled(self) -> bool:
        """Return whether somebody has cancelled the job since it began."""
        return self._cancelled.is_set()

    def begin(self, slice_: Slice, n_recordings: int, cancellable: str | None = None) -> None:
        """Report the first slice of the job; others can read this once the method returns.

        `cancellable`: the id by which somebody may cancel the job, for the thread to look for from now on.
        """
        self._cancellable = cancellable or ""
        now = utc_now()
        self._activity = Activity(
            worker=self._worker,
            recording=slice_.recording,
            message=self._delivery.message_id,
            n_recordings=n_recordings,
            receive_count=self._delivery.receive_count,
            began_at=now,
            updated_at=now,
        ).on_part(slice_.index, slice_.count)
        self._report(self._activity)
        self._thread.start()

    def progress(self, slice_: Slice, done_s: float) -> None:
        """Note that `done_s` seconds of a slice are done, for the thread to report."""
        metrics.LAST_PROGRESS.set_to_current_time()
        if self._activity:
            self._activity = self._activity.model_copy(
                update={"recording": slice_.recording, "done_s": round(done_s, 1), "updated_at": utc_now()}
            ).on_part(slice_.index, slice_.count)

    def resting(self, why: str) -> Activity | None:
        """Return a report that the worker rests, and why; None if it had not begun the job."""
        return self._activity.resting(why) if self._activity else None

    def end(self) -> None:
        """Stop reporting, and let the thread remove the report because the job is no longer held."""
        self._thread.stop(END_WITHIN_S)

    def _report_news(self) -> None:
        current = self._activity
        if self._cancellable and self._records.notes.is_cancelled(self._cancellable):
            self._cancelled.set()
        is_stale = time.monotonic() - self._reported_at >= self._refresh_s
        if current and (current is not self._reported or is_stale):
            self._report(current)

    def _report(self, activity: Activity) -> None:
        self._records.report(activity.model_copy(update={"updated_at": utc_now()}))
        self._reported, self._reported_at = activity, time.monotonic()
