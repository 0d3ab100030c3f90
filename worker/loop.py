"""The worker's loop: one job after the other."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.queue.client import Delivery, JobQueue, QueueMissing
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.telemetry import metrics, tracing
from nightscribe.worker.attempt.attempt import Attempt, retry_delay_s
from nightscribe.worker.fenced_store import FencedStore
from nightscribe.worker.lease import Lease, lease_clock
from nightscribe.worker.pipeline.transcriber import Transcriber
from nightscribe.worker.status_reporter import StatusReporter

log = structlog.get_logger()

POLL_S = 2  # a worker that is told to stop while it waits for work must not wait for long
MAX_REST_S = 300


@dataclass
class Worker:
    """One process that does one job at a time."""

    name: str
    queue: JobQueue
    source: RecordingSource
    records: Records
    transcriber_for: Callable[[Options], Transcriber]
    settings: Settings
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = lease_clock

    def __post_init__(self) -> None:
        self._attempt: Attempt | None = None
        self._in_trouble: set[str] = set()

    def run(self, *, until_empty: bool) -> None:
        """Work until told to stop, or with `until_empty` until there is nothing left."""
        metrics.LAST_PROGRESS.set_to_current_time()
        times_empty = 0
        while not self.stop.is_set():
            report_alive()
            received_at = self.clock()
            try:
                delivery = self.queue.receive(wait_s=1 if until_empty else POLL_S)
                if delivery is not None:
                    times_empty = 0
                    self._handle(delivery, received_at)
                    self._rest()
                elif until_empty:
                    counts = self.queue.counts()
                    # Counts lag behind; twice nothing, a poll apart, is nothing.
                    times_empty = times_empty + 1 if counts.queued + counts.in_flight == 0 else 0
                    if times_empty == 2:
                        log.info("queue.emptied")
                        return
            except RetryableError as error:
                # The calls have been tried again for a minute; a night is longer than an outage.
                log.warning("worker.paused", why=str(error))
                self._mend(error)

    def _mend(self, error: RetryableError) -> None:
        if isinstance(error, QueueMissing):
            with contextlib.suppress(RetryableError):  # it may be away again by now: then the next call says so
                self.queue.ensure()
                return
        self.stop.wait(POLL_S)

    def abandon(self) -> None:
        """Give back the job in hand from another thread, because the process must end now."""
        if attempt := self._attempt:
            attempt.abandon()

    def _rest(self) -> None:
        """Where one job after the other meets trouble it is the disk or the share, and each job has few tries."""
        if len(self._in_trouble) > 1:
            pause_s = min(MAX_REST_S, retry_delay_s(self.settings.retry_delay_s, len(self._in_trouble) - 1))
            log.warning("worker.rested", for_s=pause_s, jobs_in_trouble=len(self._in_trouble))
            self.stop.wait(pause_s)

    def _handle(self, delivery: Delivery, received_at: float) -> None:
        if delivery.receive_count > 1:
            metrics.REDELIVERIES.inc()
        about: tracing.Attributes = {
            "messaging.message.id": delivery.message_id,
            "nightscribe.job": delivery.group,
            "nightscribe.receive_count": delivery.receive_count,
        }
        with (
            metrics.JOBS_IN_HAND.track_inprogress(),
            tracing.job_processed(self.queue.name, delivery.trace, about),
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
            self._attempt = Attempt(
                worker=self.name,
                queue=self.queue,
                source=self.source,
                records=Records(FencedStore(self.records.store, lease)),
                transcriber_for=self.transcriber_for,
                settings=self.settings,
                delivery=delivery,
                lease=lease,
                reporter=reporter,
            )
            try:
                if self._attempt.make():
                    self._in_trouble.add(delivery.group)
                else:
                    self._in_trouble.clear()
            finally:
                self._attempt = None
