"""Read the dead-letter queue, and record its reasons as failures."""

from dataclasses import dataclass, field

import structlog

from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import UNKNOWN, JobError, NameTooLong, NotSigned, RetryableError
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job, Slice
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.telemetry import metrics

log = structlog.get_logger()


@dataclass
class DeadLetters:
    """Records the dead letters that one run of a director finds."""

    queue: JobQueue
    records: Records
    run_id: str
    max_receives: int
    forgiven: set[str] = field(default_factory=set)
    """Recordings that this run retries and that are not settled yet."""
    unsaved: dict[str, Failure] = field(default_factory=dict)
    """Failures that could not be written, by recording."""
    _discarded: set[tuple[str, str]] = field(default_factory=set)
    """Recordings, each with the run whose failure record for it was forgiven."""
    _not_ours: set[str] = field(default_factory=set)
    """Ids of messages that are not a job of this version, or not signed."""

    def record(self) -> None:
        """Turn dead letters into failure records, and delete them.

        A job that killed its workers left no reason behind, so one is added; other jobs already have theirs. A failure
        that was recorded before is not recorded again: if its record is gone, it has been forgiven. A message
        that is not a job of this version, or is not signed with a secret of the queue, stays there for a person to
        examine, and is logged once.
        """
        for dead_letter in self.queue.dead_letters():
            report_alive()
            try:
                if not self.queue.is_trusted(dead_letter):
                    raise NotSigned("The dead letter is not signed with a secret of the queue.")
                job = Job.from_message(dead_letter.body)
            except JobError as error:
                if dead_letter.message_id not in self._not_ours:  # every scan finds it again
                    self._not_ours.add(dead_letter.message_id)
                    log.error(
                        "dead_letter.not_ours", message=dead_letter.message_id, why=dead_letter.reason or str(error)
                    )
                continue
            saved = [
                self._is_forgiven(slice_, dead_letter) or self._record_failure(job, slice_, dead_letter)
                for slice_ in (() if dead_letter.recorded else job.slices)
            ]
            if all(saved):
                self.queue.delete_dead_letter(dead_letter)

    def _is_forgiven(self, slice_: Slice, dead_letter: Delivery) -> bool:
        """Return whether a dead letter is about another run's failure, which this run has forgiven.

        True only once for each run: another active director may have given the recording up again since then, and
        that must be recorded.
        """
        if dead_letter.run in (None, self.run_id) or slice_.recording not in self.forgiven:
            return False
        of_run = (slice_.recording, str(dead_letter.run))
        if of_run in self._discarded:
            return False
        self._discarded.add(of_run)
        return True

    def _record_failure(self, job: Job, slice_: Slice, dead_letter: Delivery) -> bool:
        """Record why a slice failed, unless the reason is known; return False if it must be recorded again."""
        path, fingerprint = slice_.recording, slice_.fingerprint
        try:
            done, failed = self.records.provenance(path), self.records.failure(path)
        except NewerRecord:  # its outcome is already known
            return True
        if (done and done.settles(job, slice_)) or (failed and failed.fingerprint == fingerprint):
            return True
        failure = Failure(
            recording=path,
            fingerprint=fingerprint,
            size=slice_.size,
            mtime_ns=None,
            code=dead_letter.code or (UNKNOWN if dead_letter.reason else "worker_died"),
            reason=dead_letter.reason
            or f"It was begun {self.max_receives} times and never finished: its worker died or was stopped each time, "
            "perhaps for lack of memory (a smaller model needs less).",
            attempts=self.max_receives,
            worker=dead_letter.worker or "",
            failed_at=utc_now(),
        )
        try:
            self.records.fail(failure)
        except (RetryableError, NameTooLong) as error:  # a full disk: the log has the reason, and the dead letter stays
            log.error("failure.not_recorded", recording=path, why=str(error))
            self.unsaved[path] = failure
            return isinstance(error, NameTooLong)  # which no later attempt can record
        self.unsaved.pop(path, None)
        metrics.RECORDINGS.labels("failed").inc()
        metrics.FAILURES.labels(failure.code).inc()
        return True
