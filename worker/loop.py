"""Run the worker's loop: receive one job, make an attempt at it, receive the next.

To stop a worker, set `Worker.stop`, usually from a signal handler. The loop then receives nothing more, and the current
attempt ends between two steps of the engine with `Interrupted` (see `Lease.check`), which releases its job. A process
that must end before the engine returns calls `Worker.abandon` from another thread.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.connection import QueueMissing
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import RecordingSource, trial_key
from nightscribe.shared.telemetry import metrics, tracing
from nightscribe.worker.attempt.attempt import Attempt, Outcome
from nightscribe.worker.fenced_store import FencedStore
from nightscribe.worker.lease import Lease, lease_clock
from nightscribe.worker.machine import rest_s
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer
from nightscribe.worker.pipeline.transcriber import Transcriber
from nightscribe.worker.retry_delay import retry_delay_s
from nightscribe.worker.status_reporter import StatusReporter

log = structlog.get_logger()

POLL_S = 2  # a worker that must stop while it waits for a job ends this soon
MAX_PAUSE_S = 300


@dataclass
class Worker:
    """Processes one job at a time until it is stopped."""

    name: str
    queue: JobQueue
    source: RecordingSource
    records: Records
    transcriber_for: Callable[[Options], Transcriber]
    diarizer: Callable[[], Diarizer]
    settings: Settings
    stop: threading.Event = field(default_factory=threading.Event)
    """Set from outside to make the worker release its job and end."""
    clock: Callable[[], float] = lease_clock
    on_idle: Callable[[float], None] = lambda _idle_s: None
    """Called after each look at the queue that found no job, with the seconds since the last job."""

    def __post_init__(self) -> None:
        self._attempt: Attempt | None = None
        self._failing_jobs: set[str] = set()
        """Message groups of consecutive jobs that made no progress because of a temporary error."""
        self._n_in_trouble = 0
        """Number of consecutive attempts that failed because of this machine."""
        self._resting: Activity | None = None
        """What to report while the worker rests after such an attempt."""

    def run(self, *, until_empty: bool) -> None:
        """Work until `stop` is set, or with `until_empty` until the queue is empty."""
        metrics.LAST_PROGRESS.set_to_current_time()
        times_empty, idle_since = 0, self.clock()
        while not self.stop.is_set():
            report_alive()
            received_at = self.clock()
            try:
                delivery = self.queue.receive(wait_s=1 if until_empty else POLL_S)
                if delivery is not None:
                    times_empty = 0
                    self._handle(delivery, received_at)
                    self._pause_after_failures()
                    idle_since = self.clock()
                    continue
                self.on_idle(self.clock() - idle_since)
                if until_empty:
                    counts = self.queue.counts()
                    # Counts lag, so the queue is empty only if they say so twice, one poll apart.
                    times_empty = times_empty + 1 if counts.queued + counts.in_flight == 0 else 0
                    if times_empty == 2:
                        log.info("queue.emptied")
                        return
            except RetryableError as error:
                # Each call has already been retried for a minute, but an outage may last longer, so continue.
                log.warning("worker.paused", why=str(error))
                self._recover(error)

    def _recover(self, error: RetryableError) -> None:
        if isinstance(error, QueueMissing):
            with contextlib.suppress(RetryableError):  # if it is unreachable again, the next call raises
                self.queue.ensure()
                return
        self.stop.wait(POLL_S)

    def abandon(self) -> None:
        """Release the current job from another thread, because the process must end now."""
        if attempt := self._attempt:
            attempt.abandon()

    def _pause_after_failures(self) -> None:
        """Pause after attempts that failed because of this machine, and while consecutive jobs fail."""
        if self._n_in_trouble:
            pause_s = rest_s(self._n_in_trouble)
            log.warning("worker.rested", for_s=pause_s, attempts_in_trouble=self._n_in_trouble)
            if self._resting:
                self.records.report(self._resting.model_copy(update={"updated_at": utc_now()}))
            self.stop.wait(pause_s)
            self.records.leave(self.name)
        else:
            self._pause_after_jobs_that_failed()

    def _pause_after_jobs_that_failed(self) -> None:
        """Wait longer with each consecutive failing job: the cause is the disk or the share, and attempts are few."""
        if len(self._failing_jobs) > 1:
            pause_s = min(MAX_PAUSE_S, retry_delay_s(self.settings.retry_delay_s, len(self._failing_jobs) - 1))
            log.warning("worker.rested", for_s=pause_s, jobs_failing_jobs=len(self._failing_jobs))
            self.stop.wait(pause_s)

    def _check_setup(self) -> None:
        """Raise SetupError if no job can succeed here, because the source or the destination is unusable."""
        with contextlib.suppress(RetryableError):
            next(iter(self.source.folders()), None)
            key = trial_key()
            self.records.store.put(key, b"")
            self.records.store.delete(key)

    def _handle(self, delivery: Delivery, received_at: float) -> None:
        if delivery.receive_count > 1:
            metrics.REDELIVERIES.inc()
        attributes: tracing.Attributes = {
            "messaging.message.id": delivery.message_id,
            "nightscribe.job": delivery.group,
            "nightscribe.receive_count": delivery.receive_count,
        }
        with (
            metrics.JOBS_IN_HAND.track_inprogress(),
            tracing.job_processed(self.queue.name, delivery.trace, attributes),
            structlog.contextvars.bound_contextvars(
                worker=self.name, message=delivery.message_id[:8], receive_count=delivery.receive_count
            ),
            Lease(
                self.queue,
                delivery,
                received_at=received_at,
                visibility_timeout_s=self.settings.visibility_timeout_s,
                heartbeat_s=self.settings.heartbeat_s,
                stop=self.stop,
                clock=self.clock,
            ) as lease,
            StatusReporter(self.records, self.name, delivery, refresh_s=self.settings.heartbeat_s) as reporter,
        ):
            store = FencedStore(self.records.store, lease, worker=self.name, message_id=delivery.message_id)
            self._attempt = Attempt(
                worker=self.name,
                queue=self.queue,
                source=self.source,
                records=Records(store),
                revoke=store.revoke,
                transcriber_for=self.transcriber_for,
                diarizer=self.diarizer,
                check_setup=self._check_setup,
                settings=self.settings,
                delivery=delivery,
                lease=lease,
                reporter=reporter,
            )
            try:
                outcome = self._attempt.make()
                if outcome is Outcome.TROUBLE:
                    self._failing_jobs.add(delivery.group)
                elif outcome is Outcome.DONE:
                    self._failing_jobs.clear()
                    self._n_in_trouble = 0
                elif outcome is Outcome.MACHINE:
                    self._n_in_trouble += 1
                    self._resting = reporter.resting(self._attempt.trouble)
            finally:
                self._attempt = None
