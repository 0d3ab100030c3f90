"""Follow queued jobs in the destination until each of their recordings has a transcript or a reason for failing."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from nightscribe.director.backlog import PartStored, Settled
from nightscribe.director.dead_letters import DeadLetters
from nightscribe.director.plan.planner import Planned
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import FAILURES
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job, Slice
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.transcript import Provenance
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive

T = TypeVar("T")
R = TypeVar("R")
Outcome = Provenance | Failure | Unreadable


@dataclass
class OutstandingJob:
    """A queued job that is not known to be settled."""

    planned: Planned
    n_settled: int = 0
    """Number of its recordings, from the first on, that are settled."""


@dataclass
class Outcomes:
    """Knows the outstanding jobs, and reads their outcomes from the destination."""

    records: Records
    job_of: Callable[[Planned, tuple[Slice, ...]], Job]
    dead_letters: DeadLetters
    jobs: dict[str, OutstandingJob] = field(default_factory=dict)
    """The outstanding jobs by their ids."""
    settled_while_cut: set[str] = field(default_factory=set)
    """Recordings that are cut and settled; other slices of them may still be outstanding or unsent."""
    _any_failed: bool = True

    def recordings(self) -> set[str]:
        """Return the recordings of outstanding jobs that are not known to be settled."""
        return {
            missing.recording.path for job in self.jobs.values() for missing in job.planned.recordings[job.n_settled :]
        }

    def check(self, require_time: Callable[[], None] = lambda: None) -> Iterator[Settled | PartStored]:
        """Check every outstanding job once, and yield what is new.

        `require_time` is called before each result, and may raise to end the look.
        """
        self._any_failed = any(self.records.store.listing(FAILURES))
        jobs = list(self.jobs.items())
        whole = [(job_id, job) for job_id, job in jobs if not job.planned.cut_points]
        for (job_id, job), read in self._read_concurrently(
            lambda each: self._outcome(each[1].planned, each[1].n_settled), whole, require_time
        ):
            yield from self._check_whole(job_id, job, read(), require_time)
        cut = [(job_id, job.planned) for job_id, job in jobs if job.planned.cut_points]
        stored: dict[str, frozenset[int]] = {}
        each_cut = {planned.recordings[0].recording.path: planned for _, planned in cut}
        for (path, planned), read_cut in self._read_concurrently(
            lambda each: self._outcome_of_cut(each[1]), each_cut.items(), require_time
        ):
            if path in self.settled_while_cut:
                continue
            outcome, stored[path] = read_cut()
            if outcome:
                self.settled_while_cut.add(path)
                yield self._settled(planned, 0, outcome)
        for job_id, planned in cut:
            yield from self._check_slice(job_id, planned, stored)

    def _read_concurrently(
        self, read: Callable[[T], R], items: Iterable[T], require_time: Callable[[], None]
    ) -> Iterator[tuple[T, Callable[[], R]]]:
        for each in map_concurrently(read, items, self.records.store.max_concurrency):
            report_alive()
            require_time()
            yield each

    def _check_whole(
        self, job_id: str, job: OutstandingJob, first: Outcome | None, require_time: Callable[[], None]
    ) -> Iterator[Settled]:
        """Yield what is settled of a job of whole recordings; `first`: the outcome of its first unsettled recording.

        They are mostly done in their order, so those behind one without an outcome can wait for the next look.
        """
        others = range(job.n_settled + 1, len(job.planned.recordings) if first else 0)
        reads = self._read_concurrently(lambda at: self._outcome(job.planned, at), others, require_time)
        for outcome in chain([first], (read() for _, read in reads)):
            if not outcome:
                return
            at = job.n_settled  # counted before the yield, so that an interrupted caller gets the others later
            if at + 1 == len(job.planned.recordings):
                del self.jobs[job_id]
            job.n_settled += 1
            yield self._settled(job.planned, at, outcome)

    def _check_slice(self, job_id: str, planned: Planned, stored: dict[str, frozenset[int]]) -> Iterator[PartStored]:
        """Stop following a slice once its part is stored, so that there is room for the next ones on the queue.

        The last slice stays: if the queue is lost before all parts were assembled, sending it again does that.
        """
        path = planned.recordings[0].recording.path
        if path in self.settled_while_cut:
            del self.jobs[job_id]
        elif planned.index in stored[path] and (end_s := planned.slice_of(0).end_s) is not None:
            del self.jobs[job_id]
            yield PartStored(planned.recordings[0], end_s - planned.slice_of(0).start_s)

    def _settled(self, planned: Planned, at: int, outcome: Outcome) -> Settled:
        missing = planned.recordings[at]
        self.dead_letters.forgiven.discard(missing.recording.path)
        return Settled(missing, outcome)

    def _outcome_of_cut(self, planned: Planned) -> tuple[Outcome | None, frozenset[int]]:
        """Return the outcome of a recording that is cut; without one, return its slices that have stored parts."""
        if outcome := self._outcome(planned, 0):
            return outcome, frozenset()
        stored = self.records.partial_results.stored(self.job_of(planned, planned.slices()), planned.slice_of(0))
        return None, stored

    def _outcome(self, planned: Planned, at: int) -> Outcome | None:
        path, fingerprint = planned.recordings[at].recording.path, planned.fingerprints[at]
        try:
            done, failure = self.records.provenance(path), self.records.failure(path) if self._any_failed else None
        except NewerRecord as error:  # workers of two releases share this destination
            return Unreadable(path, str(error))
        slice_ = planned.slice_of(at)
        if done and done.settles(self.job_of(planned, (slice_,)), slice_):
            return done
        failure = failure or self.dead_letters.unsaved.get(path)
        return failure if failure and failure.fingerprint == fingerprint else None
