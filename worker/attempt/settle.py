"""Settle a job's message: delete it, retry it later, release it, or dead-letter it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import (
    UNKNOWN,
    JobError,
    MachineError,
    NameTooLong,
    NewerJob,
    NightscribeError,
    PermanentError,
    QueueError,
    RetryableError,
    SetupError,
)
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job, Slice
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.wire import Delivery, Releases
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.telemetry import metrics, tracing
from nightscribe.worker.attempt.job_progress import JobProgress
from nightscribe.worker.attempt.lease_guard import LeaseGuard
from nightscribe.worker.lease import Lease
from nightscribe.worker.machine import is_hopeless
from nightscribe.worker.retry_delay import retry_delay_s

log = structlog.get_logger()

RELEASE_TIMEOUT_S = 5
MAX_FAILURES_IN_A_ROW = 3  # after this many, the cause is the disk or the share, not the recordings


@dataclass(frozen=True)
class Settler:
    """Ends one attempt: writes failure records, and settles the message."""

    worker: str
    delivery: Delivery
    queue: JobQueue
    source: RecordingSource
    records: Records
    lease: Lease
    guard: LeaseGuard
    first_retry_delay_s: float
    max_receives: int

    # The message

    def complete(self) -> None:
        """Delete the message, because nothing is left to do."""
        self._remove(lambda retry_timeout_s: self.queue.delete(self.delivery, retry_timeout_s=retry_timeout_s))
        count_outcome("completed")

    def cancel(self, job: Job) -> None:
        """Remove what was stored for a job that nobody wants any more, and delete the message."""
        for slice_ in job.slices:
            self.guard.while_held(lambda slice_=slice_: self.records.partial_results.forget(job, slice_))  # type: ignore[misc]
        self._remove(lambda retry_timeout_s: self.queue.delete(self.delivery, retry_timeout_s=retry_timeout_s))
        log.info("job.cancelled", recording=job.slices[0].recording)
        count_outcome("cancelled")

    def dead_letter_failed(self, progress: JobProgress) -> None:
        """Dead-letter the failed slices of a job whose other slices are all done."""
        body = self._message_of(progress.job, progress.failed)
        self.dead_letter(
            body, progress.last_failure_reason, progress.last_failure_code, recorded=progress.failures_recorded
        )

    def dead_letter(self, body: str, reason: str, code: str, *, recorded: bool = False) -> None:
        """Dead-letter the message with this body. `recorded`: its failures have been recorded.

        If the queue refuses, for example because body and reason together are too large, it dead-letters the message
        by itself after the last receive.
        """
        try:
            self._remove(
                lambda retry_timeout_s: self.queue.dead_letter(
                    self.delivery,
                    body,
                    reason,
                    code=code,
                    worker=self.worker,
                    recorded=recorded,
                    retry_timeout_s=retry_timeout_s,
                )
            )
        except (QueueError, RetryableError) as error:
            log.warning("message.not_dead_lettered", why=str(error))
            self.release_after_delay(reason)
            return
        count_outcome("set_aside", reason)

    def refuse(self, error: JobError) -> None:
        """Dead-letter a message that is not a job. Until the last attempt, release a job of a newer release instead."""
        if isinstance(error, NewerJob) and self.delivery.receive_count < self.max_receives:
            log.warning("message.left", why=str(error))
            self.release_after_delay(str(error))
            return
        log.error("message.refused", why=str(error))
        self.dead_letter(self.delivery.body, str(error), error.code)

    def retry_later(self, progress: JobProgress, error: Exception) -> None:
        """Release the message after a delay; after the last attempt, record its unfinished slices as failed."""
        unfinished = list(progress.unfinished.values())
        reason = str(error) if isinstance(error, NightscribeError) else unexpected(error)
        code = _code_of(error)
        receive_count = self.delivery.receive_count
        if receive_count >= self.max_receives:
            self._give_up(progress, f"{reason} Tried {receive_count} times.", code)
            return
        delay_s = self.release_after_delay(reason)
        log.warning("job.retried_later", recordings=len(unfinished), why=reason, delay_s=delay_s)

    def release_from_machine(self, progress: JobProgress, error: MachineError) -> None:
        """Release the job with all its receives left, or fail it after too many releases because of machines."""
        now_s = time.time()
        releases = self.delivery.releases.one_more(now_s)
        if is_hopeless(releases.n, now_s - releases.since_s):
            self._give_up(progress, f"{error} This happened {releases.n} times.", error.code)
            return
        self.release(why=str(error), releases=releases)
        log.warning("job.released", why=str(error), n_releases=releases.n)

    def _give_up(self, progress: JobProgress, reason: str, code: str) -> None:
        """Record the unfinished slices as failed, and dead-letter the message."""
        unfinished = list(progress.unfinished.values())
        recorded = False
        try:
            n_recorded = sum(self._record_failure(progress.job, slice_, reason, code) for slice_ in unfinished)
            recorded = n_recorded == len(unfinished)
        except (RetryableError, SetupError) as failing:
            # The dead letter then holds the reason, for the director to record.
            log.warning("failure.not_recorded", why=str(failing))
        self.dead_letter(self._message_of(progress.job, unfinished), reason, code, recorded=recorded)

    def release_after_delay(self, why: str) -> float:
        """Release the job after a delay in seconds that grows with its receives; return the delay."""
        delay_s = retry_delay_s(self.first_retry_delay_s, self.delivery.receive_count)
        self.release(delay_s, why)
        return delay_s

    def release(
        self, delay_s: float | None = None, why: str | None = None, *, releases: Releases | None = None
    ) -> None:
        """Release the job to other workers after `delay_s`; without a delay, this attempt never counts as its last.

        With `releases`, which the message counts, this attempt does not use up a receive.
        """
        self.lease.end()
        if not self.lease.held:
            return
        try:
            is_last = self.delivery.receive_count >= self.max_receives
            if releases is not None or (delay_s is None and is_last):
                # Requeue it as a new message, because the next receive of this one would dead-letter it.
                self.queue.requeue(self.delivery, releases=releases, retry_timeout_s=RELEASE_TIMEOUT_S)
            else:
                self.queue.change_visibility(self.delivery, delay_s or 0, retry_timeout_s=RELEASE_TIMEOUT_S)
        except NightscribeError as error:
            log.warning("job.not_returned", why=str(error))  # the message returns by itself when its lease expires
        finally:
            self.lease.give_up()
            count_outcome("returned" if delay_s is None else "retried", why)

    def _message_of(self, job: Job, slices: list[Slice]) -> str:
        """Return a message for some of the job's slices, or the received message if that would be too large."""
        try:
            return job.model_copy(update={"slices": tuple(slices)}).to_message()
        except (JobError, ValueError):  # another program wrote it in fewer bytes than we need
            return self.delivery.body

    def _remove(self, remove: Callable[[float], None]) -> None:
        """Stop extending the lease, and remove the message before the lease expires."""
        self.lease.end()
        self.guard.while_held(lambda: remove(self.lease.remaining_s))

    # Failures

    def fail(self, progress: JobProgress, slice_: Slice, error: PermanentError) -> None:
        """Record that a slice cannot be transcribed, no matter how often it is tried."""
        reason = str(error)
        progress.fail(
            slice_, reason, error.code, recorded=self._record_failure(progress.job, slice_, reason, error.code)
        )

    def _record_failure(self, job: Job, slice_: Slice, reason: str, code: str) -> bool:
        """Write a failure record; return False if the recording's name is too long for one."""
        try:
            # Record the time only of the file that failed: one changed since must look changed to the next scan.
            now = self.source.stat(slice_.recording)
            mtime_ns = now.mtime_ns if self.source.fingerprint(now) == slice_.fingerprint else None
        except NightscribeError:
            mtime_ns = None
        failure = Failure(
            recording=slice_.recording,
            fingerprint=slice_.fingerprint,
            size=slice_.size,
            mtime_ns=mtime_ns,
            code=code,
            reason=reason,
            attempts=self.delivery.receive_count,
            worker=self.worker,
            failed_at=utc_now(),
        )
        try:
            self.guard.while_held(lambda: self.records.fail(failure))
        except NameTooLong as error:  # the dead letter holds the reason
            log.warning("failure.not_recorded", recording=slice_.recording, why=str(error))
            return False
        self.records.partial_results.release(job, slice_)
        metrics.RECORDINGS.labels("failed").inc()
        metrics.FAILURES.labels(code).inc()
        log.error("recording.failed", recording=slice_.recording, code=code, why=reason)
        return True


def count_outcome(outcome: metrics.Outcome, why: str | None = None) -> None:
    """Count the outcome of a job, and record it in the job's trace."""
    metrics.JOBS.labels(outcome).inc()
    tracing.job_ended(outcome, why)


def unexpected(error: Exception) -> str:
    """Return a sentence for an unexpected error."""
    return f"Unexpected {type(error).__name__}: {error}"


def _code_of(error: Exception) -> str:
    if isinstance(error, NightscribeError):
        return error.code
    return "out_of_memory" if isinstance(error, MemoryError) else UNKNOWN
