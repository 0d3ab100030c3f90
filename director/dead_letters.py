"""What was set aside: read from the dead-letter queue, and recorded as the reasons of failures."""

from dataclasses import dataclass, field

import structlog

from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import JobError, NameTooLong, RetryableError
from nightscribe.shared.model.jobs import Job, Slice
from nightscribe.shared.model.transcript import Failure, utc_now
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.messages import Delivery
from nightscribe.shared.telemetry import metrics

log = structlog.get_logger()


@dataclass
class DeadLetters:
    """The letters that one run of a director finds."""

    queue: JobQueue
    records: Records
    run_id: str
    max_receives: int
    forgiven: set[str] = field(default_factory=set)
    """Recordings that this run tries again and that are not settled yet."""
    unsaved: dict[str, Failure] = field(default_factory=dict)
    """Reasons that could not be written, by recording."""
    _buried: set[tuple[str, str]] = field(default_factory=set)
    _not_ours: set[str] = field(default_factory=set)

    def record(self) -> None:
        """Turn what was set aside into failure records.

        A job that killed its workers left no reason behind, so it is given one; others have theirs already. What was
        recorded before is not recorded again: where there is no such record any more, somebody has forgiven it. What
        is no job of this version stays there for a person, who is told of it once.
        """
        for letter in self.queue.dead_letters():
            report_alive()
            try:
                job = Job.from_message(letter.body)
            except JobError as error:
                if letter.message_id not in self._not_ours:  # it is there again at every look
                    self._not_ours.add(letter.message_id)
                    log.error("dead_letter.not_ours", message=letter.message_id, why=letter.reason or str(error))
                continue
            saved = [
                self._is_of_old(slice_, letter) or self._record_dead(job, slice_, letter)
                for slice_ in (() if letter.recorded else job.slices)
            ]
            if all(saved):
                self.queue.delete_dead_letter(letter)

    def _is_of_old(self, slice_: Slice, letter: Delivery) -> bool:
        """Whether a letter tells why a recording failed in another run, which was forgiven in this one.

        Once for each run: a director at work beside this one may have given it up anew, and has to learn it.
        """
        if letter.run in (None, self.run_id) or slice_.recording not in self.forgiven:
            return False
        told = (slice_.recording, str(letter.run))
        if told in self._buried:
            return False
        self._buried.add(told)
        return True

    def _record_dead(self, job: Job, slice_: Slice, letter: Delivery) -> bool:
        path, fingerprint = slice_.recording, slice_.fingerprint
        try:
            done, failed = self.records.provenance(path), self.records.failure(path)
        except NewerRecord:  # then what came of it is known already
            return True
        if (done and done.settles(job, slice_)) or (failed and failed.fingerprint == fingerprint):
            return True
        failure = Failure(
            recording=path,
            fingerprint=fingerprint,
            size=slice_.size,
            mtime_ns=None,
            reason=letter.reason
            or f"It was begun {self.max_receives} times and never finished: its worker died or was stopped each time, "
            "perhaps for lack of memory (a smaller model needs less).",
            attempts=self.max_receives,
            worker=letter.worker or "",
            failed_at=utc_now(),
        )
        try:
            self.records.fail(failure)
        except (RetryableError, NameTooLong) as error:  # a full disk: the reason is at least told, and the letter stays
            log.error("failure.not_recorded", recording=path, why=str(error))
            self.unsaved[path] = failure
            return isinstance(error, NameTooLong)  # which no later try can record
        self.unsaved.pop(path, None)
        metrics.RECORDINGS.labels("failed").inc()
        return True
