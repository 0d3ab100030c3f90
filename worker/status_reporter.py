"""What a worker says about the job it holds: for people, and for workers whose jobs overlap with it."""

import threading
import time
from types import TracebackType
from typing import Self

from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.jobs import Slice
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.queue.messages import Delivery
from nightscribe.shared.telemetry import metrics

REPORT_EVERY_S = 1.0
REPORT_AFAR_EVERY_S = 10.0  # where a report is a call that is paid for: one each second would cost more than a vCPU
END_WITHIN_S = 5.0  # a store that does not answer must not keep a worker from its next job


class StatusReporter:
    """Keeps the activity of one job up to date from a thread of its own.

    So a slow store does not slow the work, and a worker whose engine takes minutes for a batch does not look dead.
    """

    def __init__(self, records: Records, worker: str, delivery: Delivery, *, refresh_s: float) -> None:
        """`refresh_s`: how often it is said anew that nothing has changed."""
        self._records = records
        self._worker = worker
        self._delivery = delivery
        self._refresh_s = refresh_s
        self._every_s = min(REPORT_AFAR_EVERY_S, refresh_s) if records.store.max_concurrency > 1 else REPORT_EVERY_S
        self._activity: Activity | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_saying, name="reporter", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def begin(self, slice_: Slice, n_recordings: int) -> None:
        """Say what the job begins with; this is known to others once it returns."""
        now = utc_now()
        self._activity = Activity(
            worker=self._worker,
            recording=slice_.recording,
            message=self._delivery.message_id,
            n_recordings=n_recordings,
            receive_count=self._delivery.receive_count,
            began_at=now,
            updated_at=now,
        )
        self._records.report(self._activity)
        self._thread.start()

    def progress(self, slice_: Slice, done_s: float) -> None:
        """So much of a slice is done."""
        metrics.LAST_PROGRESS.set_to_current_time()
        if self._activity:
            self._activity = self._activity.model_copy(
                update={"recording": slice_.recording, "done_s": round(done_s, 1), "updated_at": utc_now()}
            )

    def end(self) -> None:
        """The job is no longer in hand."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=END_WITHIN_S)

    def _keep_saying(self) -> None:
        said, said_at = self._activity, time.monotonic()
        while not self._over.wait(self._every_s):
            current = self._activity
            if current and (current is not said or time.monotonic() - said_at >= self._refresh_s):
                self._records.report(current.model_copy(update={"updated_at": utc_now()}))
                said, said_at = current, time.monotonic()
        self._records.leave(self._worker)
