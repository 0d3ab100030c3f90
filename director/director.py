"""Keeps a window of jobs on the queue, and follows them until each has a transcript or a reason."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from uuid import uuid4

import structlog

from director.plan import jobs, longest_first
from director.scan import Missing
from shared.errors import JobError, RetryableError
from shared.jobs import Format, Job, Options, Slice
from shared.queue import BATCH, JobQueue, QueueMissing
from shared.records import Records
from shared.transcript import Failure, Provenance, utc_now

log = structlog.get_logger()

POLL_S = 1.0
POLL_SHARE = 0.1  # of the time at most is spent on asking a slow store
TROUBLE_S = 900.0
STALLED_S = 15.0  # an empty queue with jobs outstanding has lost them; counts may lag behind for some seconds


@dataclass(frozen=True)
class Settled:
    """A recording that is done with: it has a transcript or a failure record."""

    missing: Missing
    result: Provenance | Failure


@dataclass
class Director:
    """One run: everything missing is queued, longest first, a window at a time."""

    queue: JobQueue
    records: Records
    options: Options
    formats: tuple[Format, ...]
    window: int
    max_receives: int
    redo: bool = False
    retry_failed: bool = False
    run_id: str = field(default_factory=lambda: uuid4().hex)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._outstanding: dict[str, tuple[Missing, Job]] = {}
        self._empty_since: float | None = None
        self._round = 0
        self._unsaved: dict[str, Failure] = {}
        self._unsent: list[tuple[Missing, Job]] = []
        self._in_trouble_since: float | None = None

    def direct(self, missing: list[Missing], *, follow: bool) -> Iterator[Settled | None]:
        """Queue what is missing; with `follow`, go on until all of it is settled, else until all of it is queued.

        Yields what was settled, and None after each look, so that the caller can show it and look after its workers.
        Raises: QueueError: if the queue cannot be used. RetryableError: if the queue or the store stays unreachable.
        """
        redo = self.run_id if self.redo else None
        waiting = jobs(longest_first(missing), self.options, self.formats, redo=redo)
        exhausted = False
        while not exhausted or (follow and self._outstanding):
            began = self.clock()
            try:
                while not exhausted and len(self._outstanding) < self.window:
                    exhausted = not self._send_some(waiting)
                yield from self._look()
                if follow:
                    self._send_lost_again()
                self._in_trouble_since = None
            except QueueMissing:
                log.warning("queue.lost", queue=self.queue.name)
                self.queue.ensure()
                self._send_again()
            except RetryableError as error:
                self._bear(error)
            yield None
            if not exhausted or (follow and self._outstanding):
                self.sleep(max(POLL_S, (self.clock() - began) * (1 / POLL_SHARE - 1)))

    def _send_some(self, waiting: Iterator[tuple[Missing, Job]]) -> bool:
        room = min(BATCH, self.window - len(self._outstanding))
        if not self._unsent:
            self._unsent = list(islice(waiting, room))
        if not self._unsent:
            return False
        if self.retry_failed or self.redo:  # or the old reason would be taken for the new one
            for each, _ in self._unsent:
                self.records.forgive(each.recording.path)
        self._send([job for _, job in self._unsent])
        self._outstanding |= {job.id: (each, job) for each, job in self._unsent}
        log.info("jobs.queued", n=len(self._unsent), outstanding=len(self._outstanding))
        self._unsent = []
        return True

    def _bear(self, error: RetryableError) -> None:
        """A share that is away for some minutes must not end the night."""
        self._in_trouble_since = self._in_trouble_since or self.clock()
        log.warning("director.paused", why=str(error))
        if self.clock() - self._in_trouble_since > TROUBLE_S:
            raise error

    def _send(self, sent: list[Job]) -> None:
        # Another round of sending needs other deduplication ids, or nothing would be queued for five minutes.
        self.queue.send(sent, self.run_id, again=self._round)

    def _look(self) -> Iterator[Settled]:
        self.record_dead_letters()
        for job_id, (each, job) in list(self._outstanding.items()):
            result = self._result(each, job)
            if result is not None:
                del self._outstanding[job_id]
                yield Settled(each, result)

    def _result(self, each: Missing, job: Job) -> Provenance | Failure | None:
        path = each.recording.path
        done = self.records.provenance(path)
        if done and done.settles(job, job.slices[0]):
            return done
        failure = self.records.failure(path) or self._unsaved.get(path)
        return failure if failure and failure.fingerprint == each.fingerprint else None

    def record_dead_letters(self) -> None:
        """Turn what was set aside into failure records. To be called before a scan, which goes by them.

        A job that killed its workers left no reason behind, so it is given one; others have theirs already.
        """
        for letter in self.queue.dead_letters():
            try:
                job = Job.from_message(letter.body)
            except JobError as error:
                log.error("dead_letter.not_ours", why=str(error))
                continue
            saved = [self._record_dead(job, part_of, letter.reason) for part_of in job.slices]
            if all(saved):
                self.queue.bury(letter)

    def _record_dead(self, job: Job, part_of: Slice, reason: str | None) -> bool:
        path, fingerprint = part_of.recording, part_of.fingerprint
        done, failed = self.records.provenance(path), self.records.failure(path)
        if (done and done.settles(job, part_of)) or (failed and failed.fingerprint == fingerprint):
            return True
        failure = Failure(
            recording=path,
            fingerprint=fingerprint,
            size=part_of.size,
            mtime_ns=None,
            reason=reason
            or f"It was begun {self.max_receives} times and never finished: its worker died or was stopped each time, "
            "perhaps for lack of memory (a smaller model needs less).",
            attempts=self.max_receives,
            worker="",
            failed_at=utc_now(),
        )
        try:
            self.records.fail(failure)
        except RetryableError as error:  # a full disk: the reason is at least told, and the letter stays
            log.error("failure.not_recorded", recording=path, why=str(error))
            self._unsaved[path] = failure
            return False
        return True

    def _send_lost_again(self) -> None:
        """A server that was restarted has forgotten its messages; what is still outstanding then is sent again."""
        counts = self.queue.counts()
        if not self._outstanding or counts.queued + counts.in_flight:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = self.clock()
        elif self.clock() - self._empty_since > STALLED_S:
            self._send_again()

    def _send_again(self) -> None:
        self._empty_since = None
        self._round += 1
        log.warning("jobs.queued_again", n=len(self._outstanding))
        self._send([job for _, job in self._outstanding.values()])
