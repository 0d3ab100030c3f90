"""Keeps a window of jobs on the queue, and follows them until each has a transcript or a reason."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar
from uuid import uuid4

import structlog

from nightscribe.director.backlog import Backlog, Growing, PartStored, Settled
from nightscribe.director.dead_letters import DeadLetters
from nightscribe.director.outage import OutageTracker
from nightscribe.director.plan.bundles import JOB_S
from nightscribe.director.plan.estimate import Rates
from nightscribe.director.plan.planner import Planned, Planner
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import FAILURES
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError, RetryableError
from nightscribe.shared.model.jobs import FormatName, Job, Layout, Options, Slice
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.transcript import Failure, Provenance
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.connection import QueueMissing
from nightscribe.shared.queue.messages import BATCH
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.telemetry import metrics

log = structlog.get_logger()

POLL_S = 1.0
POLL_SHARE = 0.1  # of the time at most is spent on asking a slow store
FILL_S = 2.0  # then there is a look at what is done, however much there is to be queued yet
TROUBLE_S = 900.0
LAST_LOOK_S = 5.0
STALLED_S = 15.0  # an empty queue with jobs outstanding has lost them; counts may lag behind for some seconds


T = TypeVar("T")
R = TypeVar("R")
_Result = Provenance | Failure | Unreadable | None


@dataclass
class _Outstanding:
    planned: Planned
    n_settled: int = 0
    """So many of its recordings, from the first on, are settled."""


@dataclass
class Director:
    """One run: everything missing is queued, longest first, a window at a time."""

    queue: JobQueue
    source: RecordingSource
    records: Records
    options: Options
    formats: tuple[FormatName, ...]
    window: int
    max_receives: int
    layout: Layout = field(default_factory=Layout)
    redo: bool = False
    retry_failed: bool = False
    outage_limit_s: float = TROUBLE_S
    """How long a queue or a store may be away before that ends the run."""
    run_id: str = field(default_factory=lambda: uuid4().hex)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._outstanding: dict[str, _Outstanding] = {}
        self._unsent: list[Planned] = []
        self._planner: Planner | None = None
        self.pause_s = 0.0
        self._cut_and_settled: set[str] = set()
        self._letters = DeadLetters(self.queue, self.records, self.run_id, self.max_receives)
        self._empty_since: float | None = None
        self._made_at = ""
        self._round = 0
        self._trouble = OutageTracker(self.clock)
        self._any_failed = True
        self._look_until = math.inf

    def direct(
        self, missing: Backlog, *, follow: bool, rates: Rates | None = None, job_s: float = JOB_S
    ) -> Iterator[Settled | PartStored | Growing | None]:
        """Queue what is missing; with `follow`, go on until all of it is settled, else until all of it is queued.

        Yields what was settled, and None after each look, so that the caller can show it and look after its workers.
        Raises: QueueError: if the queue cannot be used. RetryableError: if the queue or the store stays unreachable.
        """
        self.take(missing, rates, job_s)
        while not self._is_over(follow=follow):
            yield from self.step(follow=follow)
            yield None
            if self.pause_s and not self._is_over(follow=follow):
                report_alive(self.pause_s)
                self.sleep(self.pause_s)

    def take(
        self, missing: Backlog, rates: Rates | None = None, job_s: float = JOB_S, *, only_unchanged: bool = False
    ) -> None:
        """Have these queued by the next steps. What was taken before must all be queued, and none of it be in these."""
        self._planner = Planner(
            self.source, self.records, missing, rates or Rates(), job_s, only_unchanged=only_unchanged
        )
        self._round += 1  # what failed and is tried again is the same job, and to be queued again all the same
        self._cut_and_settled &= self.outstanding

    def step(self, *, follow: bool) -> Iterator[Settled | PartStored | Growing]:
        """Queue what there is room for, and look at what has become of the rest; `pause_s` later comes the next step.

        Yields and raises what `direct` does. Without `follow`, what the queue has lost is not sent again.
        """
        self.pause_s = POLL_S
        try:
            yield from self._fill()
            began = self.clock()
            yield from self._look()
            metrics.JOBS_OUTSTANDING.set(len(self._outstanding))
            if follow:
                self._send_lost_again()
            self._trouble.end()
            more_to_send = self._has_room and self._planner is not None
            self.pause_s = 0.0 if more_to_send else max(POLL_S, (self.clock() - began) * (1 / POLL_SHARE - 1))
        except RetryableError as error:
            self._tolerate(error)

    def last_look(self) -> Iterator[Settled | PartStored]:
        """What became of what is outstanding until nobody worked on it any more, as far as some seconds tell.

        The queue is left alone, and whoever waits for the end is not kept waiting by a store that does not answer.
        """
        self._look_until = self.clock() + LAST_LOOK_S
        with suppress(NightscribeError):
            yield from self._look_at_outstanding()

    @property
    def has_queued_all(self) -> bool:
        """Whether everything that was taken is queued."""
        return self._planner is None and not self._unsent

    @property
    def outstanding(self) -> set[str]:
        """Recordings that are queued, or were, and of which nothing is known since."""
        jobs = self._outstanding.values()
        return {each.recording.path for job in jobs for each in job.planned.recordings[job.n_settled :]}

    def _is_over(self, *, follow: bool) -> bool:
        return self.has_queued_all and not (follow and self._outstanding)

    # Queueing

    @property
    def _has_room(self) -> bool:
        return len(self._outstanding) + len(self._unsent) < self.window

    def _fill(self) -> Iterator[Settled | Growing]:
        """Queue jobs while there is room, for some seconds at most."""
        until = self.clock() + FILL_S
        while self._planner and self._has_room and self.clock() < until:
            try:
                planned = next(self._planner)
            except StopIteration:
                self._planner = None
                break
            if isinstance(planned, Settled | Growing):
                yield planned
            else:
                self._unsent.append(planned)
            if len(self._unsent) == BATCH:
                self._send_unsent()
        self._send_unsent()

    def _send_unsent(self) -> None:
        # One slice may have failed for all of its recording before the others were sent.
        settled = self._cut_and_settled
        self._unsent = [each for each in self._unsent if each.recordings[0].recording.path not in settled]
        if not self._unsent:
            return
        if self.retry_failed or self.redo:  # or the old reason would be taken for the new one
            for planned in self._unsent:
                self._forgive(planned)
        sent = {job.id: (job, planned) for planned in self._unsent for job in [self._job(planned)]}
        self._send(job for job, _ in sent.values())
        self._outstanding |= {job_id: _Outstanding(planned) for job_id, (_, planned) in sent.items()}
        metrics.JOBS_QUEUED.inc(len(sent))
        log.info("jobs.queued", n=len(sent), outstanding=len(self._outstanding))
        self._unsent = []

    def _forgive(self, planned: Planned) -> None:
        for each in planned.recordings:
            path = each.recording.path
            if path not in self._letters.forgiven:  # a slice of it may have failed in this run
                self.records.forgive(path)
                self._letters.forgiven.add(path)

    def _job(self, planned: Planned) -> Job:
        return self._job_of(planned.slices())

    def _job_of(self, slices: tuple[Slice, ...]) -> Job:
        redo = self.run_id if self.redo else None
        return Job(slices=slices, options=self.options, formats=self.formats, layout=self.layout, redo=redo)

    def _send(self, jobs: Iterable[Job]) -> None:
        # Another round of sending needs other deduplication ids, or nothing would be queued for five minutes.
        self.queue.send(jobs, self.run_id, again=self._round)

    def _send_lost_again(self) -> None:
        """A server that was restarted has forgotten its messages; what is still outstanding then is sent again."""
        counts = self.queue.counts()
        before, self._made_at = self._made_at, counts.made_at
        if before and before != counts.made_at:  # a worker was quicker to create it again
            self._send_again()
        elif not self._outstanding or counts.queued + counts.in_flight:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = self.clock()
        elif self.clock() - self._empty_since > STALLED_S:
            self._send_again()

    def _send_again(self) -> None:
        self._empty_since = None
        if not self._outstanding:
            return
        self._round += 1
        metrics.JOBS_QUEUED.inc(len(self._outstanding))
        log.warning("jobs.queued_again", n=len(self._outstanding))
        self._send(self._job(each.planned) for each in self._outstanding.values())

    def _tolerate(self, error: RetryableError) -> None:
        """A share or a queue's server that is away for some minutes must not end the night."""
        if self._trouble.record_failure(error) > self.outage_limit_s:
            raise error
        if isinstance(error, QueueMissing):
            with suppress(RetryableError):  # it may be away again by now: then the next call says so
                self.queue.ensure()
                self._made_at = ""
                self._send_again()

    # Following

    def _look(self) -> Iterator[Settled | PartStored]:
        self.record_dead_letters()
        yield from self._look_at_outstanding()

    def _look_at_outstanding(self) -> Iterator[Settled | PartStored]:
        self._any_failed = any(self.records.store.listing(FAILURES))
        jobs = list(self._outstanding.items())
        whole = [(job_id, job) for job_id, job in jobs if not job.planned.cuts]
        for (job_id, job), look in self._abreast(lambda each: self._result(each[1].planned, each[1].n_settled), whole):
            yield from self._look_at_whole(job_id, job, look())
        cut = [(job_id, job.planned) for job_id, job in jobs if job.planned.cuts]
        parts: dict[str, frozenset[int]] = {}
        each_cut = {planned.recordings[0].recording.path: planned for _, planned in cut}
        for (path, planned), see in self._abreast(lambda each: self._look_at_cut(each[1]), each_cut.items()):
            if path in self._cut_and_settled:
                continue
            result, parts[path] = see()
            if result:
                self._cut_and_settled.add(path)
                yield self._settled(planned, 0, result)
        for job_id, planned in cut:
            yield from self._look_at_slice(job_id, planned, parts)

    def _abreast(self, do: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, Callable[[], R]]]:
        for each in map_concurrently(do, items, self.records.store.max_concurrency):
            report_alive()
            if self.clock() > self._look_until:
                raise RetryableError("The last look takes too long.")
            yield each

    def _look_at_whole(self, job_id: str, job: _Outstanding, first: _Result) -> Iterator[Settled]:
        """The recordings of a job mostly come in their order, so what follows the first that is not there can wait."""
        others = range(job.n_settled + 1, len(job.planned.recordings) if first else 0)
        looks = (look() for _, look in self._abreast(lambda at: self._result(job.planned, at), others))
        for result in chain([first], looks):
            if not result:
                return
            at = job.n_settled  # noted before it is told: whoever is interrupted meanwhile is told the others later
            if at + 1 == len(job.planned.recordings):
                del self._outstanding[job_id]
            job.n_settled += 1
            yield self._settled(job.planned, at, result)

    def _look_at_cut(self, planned: Planned) -> tuple[_Result, frozenset[int]]:
        """What settles a recording that is cut, or else which of its parts are there."""
        if result := self._result(planned, 0):
            return result, frozenset()
        return None, self.records.partial_results.stored(self._job(planned), planned.slice_of(0))

    def _look_at_slice(self, job_id: str, planned: Planned, parts: dict[str, frozenset[int]]) -> Iterator[PartStored]:
        """A slice leaves the window once its part is stored, so that the next ones have room.

        All but the last one: if the queue is lost before all parts were put together, sending that again does it.
        """
        path = planned.recordings[0].recording.path
        if path in self._cut_and_settled:
            del self._outstanding[job_id]
        elif planned.index in parts[path] and (end_s := planned.slice_of(0).end_s) is not None:
            del self._outstanding[job_id]
            yield PartStored(planned.recordings[0], end_s - planned.slice_of(0).start_s)

    def _settled(self, planned: Planned, at: int, result: Provenance | Failure | Unreadable) -> Settled:
        missing = planned.recordings[at]
        self._letters.forgiven.discard(missing.recording.path)
        return Settled(missing, result)

    def _result(self, planned: Planned, at: int) -> _Result:
        path, fingerprint = planned.recordings[at].recording.path, planned.fingerprints[at]
        try:
            done, failure = self.records.provenance(path), self.records.failure(path) if self._any_failed else None
        except NewerRecord as error:  # workers of two versions are at work here
            return Unreadable(path, str(error))
        slice_ = planned.slice_of(at)
        if done and done.settles(self._job_of((slice_,)), slice_):
            return done
        failure = failure or self._letters.unsaved.get(path)
        return failure if failure and failure.fingerprint == fingerprint else None

    def record_dead_letters(self) -> None:
        """Turn what was set aside into failure records. To be called before a scan, which goes by them."""
        self._letters.record()
