"""Make one attempt at one job."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import structlog

from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import (
    Interrupted,
    JobCancelled,
    JobError,
    LeaseLost,
    MachineError,
    ModelUnavailable,
    NightscribeError,
    NotSigned,
    PermanentError,
    RetryableError,
    SetupError,
)
from nightscribe.shared.model.jobs import Job, Options
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.telemetry import metrics
from nightscribe.worker.attempt.claim import Claimer, Revoke
from nightscribe.worker.attempt.finished_languages import finished_languages
from nightscribe.worker.attempt.job_progress import JobProgress
from nightscribe.worker.attempt.lease_guard import LeaseGuard
from nightscribe.worker.attempt.settle import MAX_FAILURES_IN_A_ROW, Settler, count_outcome, unexpected
from nightscribe.worker.attempt.store_results import Assembler
from nightscribe.worker.attempt.transcribe import SliceTranscriber, known_audio_s
from nightscribe.worker.lease import Lease
from nightscribe.worker.machine import machine_error
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer
from nightscribe.worker.pipeline.transcriber import Transcriber
from nightscribe.worker.status_reporter import StatusReporter

log = structlog.get_logger()


class Outcome(Enum):
    """The conclusion that an attempt allows about its machine."""

    DONE = "done"
    """The attempt made progress, so the machine works."""
    TROUBLE = "trouble"
    """The attempt made no progress, perhaps because of the machine, its disk or its network."""
    MACHINE = "machine"
    """The machine has a problem, so the worker must pause."""
    UNKNOWN = "unknown"
    """The attempt says nothing about the machine: the cause was the message or another worker."""


@dataclass
class Attempt:
    """One worker's attempt at a received job, which stores and deletes only while the lease is held.

    `records` refuses every write after that (see `FencedStore`).
    """

    worker: str
    queue: JobQueue
    source: RecordingSource
    records: Records
    revoke: Revoke
    transcriber_for: Callable[[Options], Transcriber]
    diarizer: Callable[[], Diarizer]
    check_setup: Callable[[], None]
    """Raises SetupError if no job can succeed on this worker."""
    settings: Settings
    delivery: Delivery
    lease: Lease
    reporter: StatusReporter

    def __post_init__(self) -> None:
        self.trouble = ""
        """Why the machine could not do the job, if that was the outcome."""
        self._guard = LeaseGuard(self.lease, lambda: self.reporter.is_cancelled)
        self._settler = Settler(
            worker=self.worker,
            delivery=self.delivery,
            queue=self.queue,
            source=self.source,
            records=self.records,
            lease=self.lease,
            guard=self._guard,
            first_retry_delay_s=self.settings.retry_delay_s,
            max_receives=self.settings.max_receives,
        )
        self._assembler = Assembler(self.source, self.records, self._guard)
        self._claimer = Claimer(
            worker=self.worker,
            message_id=self.delivery.message_id,
            claim_timeout_s=self.settings.visibility_timeout_s,
            records=self.records,
            revoke=self.revoke,
            guard=self._guard,
            reporter=self.reporter,
            assembler=self._assembler,
            settler=self._settler,
        )
        self._transcriber = SliceTranscriber(
            source=self.source,
            transcriber_for=self.transcriber_for,
            diarizer=self.diarizer,
            check=self._guard.check,
            report_progress=self.reporter.progress,
            receive_count=self.delivery.receive_count,
            max_receives=self.settings.max_receives,
            finished_languages=lambda folder, besides: finished_languages(self.records, folder, besides=besides),
        )

    def make(self) -> Outcome:
        """Do the unfinished part of the job. The message is settled, or returns to the queue with one receive used up.

        Raises: SetupError: if no job can succeed on this worker; the job is released first, for another worker.
        """
        try:
            return self._make()
        except LeaseLost as error:
            log.warning("job.abandoned", why=str(error))
            count_outcome("abandoned", str(error))
        except Interrupted:
            self.reporter.end()  # otherwise the next worker would leave the slices to this one
            self._settler.release()
            log.info("job.returned")
        except SetupError:
            self._settler.release()
            raise
        except RetryableError:
            raise
        except Exception as error:  # settling failed, but no message may end a worker
            log.exception("job.crashed")
            self._settler.release_after_delay(unexpected(error))
        return Outcome.UNKNOWN

    def abandon(self) -> None:
        """Release the job from another thread after the current write, because the process must end now."""
        with self._guard.writing:
            self._settler.release()
            self.reporter.end()

    def _make(self) -> Outcome:
        try:
            if not self.queue.is_trusted(self.delivery):
                raise NotSigned("The message is not signed with a secret of the queue that this worker knows.")
            job = Job.from_message(self.delivery.body)
        except JobError as error:
            self._settler.refuse(error)
            return Outcome.UNKNOWN
        progress = JobProgress.start(job)
        try:
            error_to_retry = self._work_on(progress)
        except (LeaseLost, Interrupted):
            raise
        except JobCancelled:
            self._settler.cancel(job)
            return Outcome.UNKNOWN
        except Exception as error:
            error_to_retry = machine_error(error) or error
            if not isinstance(error_to_retry, NightscribeError):
                log.exception("job.crashed")
            self._check_setup_after(error)
        if isinstance(error_to_retry, MachineError):
            self.trouble = str(error_to_retry)
            self.reporter.end()  # otherwise the next worker would leave the slices to this one
            self._settler.release_from_machine(progress, error_to_retry)
            return Outcome.DONE if progress.n_finished else Outcome.MACHINE
        if error_to_retry:
            self._settler.retry_later(progress, error_to_retry)
            if progress.n_finished:
                return Outcome.DONE
            return Outcome.UNKNOWN if isinstance(error_to_retry, ModelUnavailable) else Outcome.TROUBLE
        if progress.failed:
            self._settler.dead_letter_failed(progress)
        else:
            self._settler.complete()
        return Outcome.DONE

    def _check_setup_after(self, error: Exception) -> None:
        if isinstance(error, SetupError):
            self.check_setup()

    def _require_wanted(self, job: Job) -> None:
        """Raise JobCancelled if somebody cancelled the job before it began."""
        if job.redo and self.records.notes.is_cancelled(job.redo):
            raise JobCancelled("The job was cancelled.")

    def _work_on(self, progress: JobProgress) -> Exception | None:
        """Claim, transcribe and store the slices; return the first error for which a slice must be retried, or None."""
        self._require_wanted(progress.job)
        self._claimer.skip_finished_and_claimed(progress)
        claimed, first_error = self._claimer.claim(progress)
        in_a_row = 0
        for end, part in self._transcriber.transcribe(progress.job, claimed):
            try:
                self._assembler.store(progress, end, part)
                progress.finish(end.slice_)
                in_a_row = 0
            except PermanentError as error:
                metrics.count_slice("failed", known_audio_s(end))
                self._settler.fail(progress, end.slice_, error)
            except RetryableError as error:
                metrics.count_slice("retried", known_audio_s(end))
                log.warning("slice.retried_later", recording=end.slice_.recording, why=str(error))
                first_error = first_error or error
                in_a_row += 1
                if in_a_row == MAX_FAILURES_IN_A_ROW:
                    break
        return first_error
