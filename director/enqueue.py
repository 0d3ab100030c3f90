"""Queue jobs for what is missing, a limited number at a time, until all of it is queued or settled."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

import structlog

from nightscribe.director.backlog import Backlog, Growing, PartStored, Settled
from nightscribe.director.dead_letters import DeadLetters
from nightscribe.director.folder_hotwords import FolderHotwords
from nightscribe.director.lost_jobs import LostJobDetector
from nightscribe.director.outage import OUTAGE_LIMIT_S, OutageTracker
from nightscribe.director.outcomes import Outcomes, OutstandingJob
from nightscribe.director.plan.bundles import JOB_S
from nightscribe.director.plan.estimate import Rates
from nightscribe.director.plan.planner import Planned, Planner
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError, RetryableError
from nightscribe.shared.model.jobs import FormatName, Job, Layout, Options, Slice
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.connection import QueueMissing
from nightscribe.shared.queue.wire import BATCH
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.telemetry import metrics

log = structlog.get_logger()

POLL_S = 1.0
POLL_SHARE = 0.1  # the share of time that polling a slow store may take
FILL_S = 2.0  # then the director checks outcomes, however much is left to queue
LAST_LOOK_S = 5.0


@dataclass
class Director:
    """One run: queues jobs for everything that is missing, longest first, and follows them."""

    queue: JobQueue
    source: RecordingSource
    records: Records
    options: Options
    formats: tuple[FormatName, ...]
    max_queued_jobs: int
    max_receives: int
    layout: Layout = field(default_factory=Layout)
    redo: bool = False
    retry_failed: bool = False
    hotwords: FolderHotwords | None = None
    """The words to listen for in each recording; None if those of the options are for all."""
    outage_limit_s: float = OUTAGE_LIMIT_S
    """How long a queue or a store may be unreachable before the run ends."""
    run_id: str = field(default_factory=lambda: uuid4().hex)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._hotwords = self.hotwords or FolderHotwords(self.source, self.options.hotwords)
        self._unsent: list[Planned] = []
        self._planner: Planner | None = None
        self.pause_s = 0.0
        self._dead_letters = DeadLetters(self.queue, self.records, self.run_id, self.max_receives)
        self._outcomes = Outcomes(self.records, self._job_of, self._dead_letters)
        self._lost_jobs = LostJobDetector(self.clock)
        self._outage = OutageTracker(self.clock)
        self._round = 0

    def direct(
        self, missing: Backlog, *, follow: bool, rates: Rates | None = None, job_s: float = JOB_S
    ) -> Iterator[Settled | PartStored | Growing | None]:
        """Queue what is missing; with `follow`, continue until all of it is settled, else until all of it is queued.

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
        """Accept recordings, which the next steps queue.

        All that was taken before must be queued by now, and none of it be outstanding and among these.
        `only_unchanged`: skip files that have changed since they were scanned, see `Planner`.
        """
        self._planner = Planner(
            self.source,
            self.records,
            missing,
            rates or Rates(),
            job_s,
            only_unchanged=only_unchanged,
            alike=self._hotwords.of,
        )
        self._round += 1  # a retried recording makes the same job, which must not be dropped as a duplicate
        self._outcomes.settled_while_cut &= self.outstanding

    def step(self, *, follow: bool) -> Iterator[Settled | PartStored | Growing]:
        """Queue as many jobs as there is room for, and check the outcomes of others.

        The next step is due `pause_s` later. Without `follow`, jobs that the queue has lost are not sent again.
        Yields and raises what `direct` does.
        """
        self.pause_s = POLL_S
        try:
            yield from self._fill()
            began = self.clock()
            self._dead_letters.record()
            yield from self._outcomes.check()
            metrics.JOBS_OUTSTANDING.set(len(self._outcomes.jobs))
            if follow and self._lost_jobs.are_lost(self.queue.counts(), any_outstanding=bool(self._outcomes.jobs)):
                self._send_outstanding_again()
            self._outage.record_success()
            more_to_send = self._has_room and self._planner is not None
            self.pause_s = 0.0 if more_to_send else max(POLL_S, (self.clock() - began) * (1 / POLL_SHARE - 1))
        except RetryableError as error:
            self._handle_outage(error)

    def last_look(self) -> Iterator[Settled | PartStored]:
        """Yield the outcomes that are found within some seconds after the workers have ended.

        Leaves the queue alone. Somebody waits for the end, so an unreachable store ends the look.
        """
        until = self.clock() + LAST_LOOK_S

        def require_time() -> None:
            if self.clock() > until:
                raise RetryableError("The last check of the outcomes takes too long.", code="storage_unreachable")

        with suppress(NightscribeError):
            yield from self._outcomes.check(require_time)

    @property
    def has_queued_all(self) -> bool:
        """Return whether everything that was taken is queued."""
        return self._planner is None and not self._unsent

    @property
    def outstanding(self) -> set[str]:
        """Return the recordings that were queued and are not known to be settled."""
        return self._outcomes.recordings()

    def record_dead_letters(self) -> None:
        """Turn dead letters into failure records. Call it before a scan, which reads them."""
        try:
            self._dead_letters.record()
        except QueueMissing:  # a server without persistence restarted, and has none
            self.queue.ensure()

    def _is_over(self, *, follow: bool) -> bool:
        return self.has_queued_all and not (follow and self._outcomes.jobs)

    @property
    def _has_room(self) -> bool:
        return len(self._outcomes.jobs) + len(self._unsent) < self.max_queued_jobs

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
        # One failed slice may have settled its whole recording before the other slices were sent.
        settled = self._outcomes.settled_while_cut
        self._unsent = [each for each in self._unsent if each.recordings[0].recording.path not in settled]
        if not self._unsent:
            return
        if self.retry_failed or self.redo:  # otherwise the old reason would be taken for the new one
            for planned in self._unsent:
                self._forgive(planned)
        sent = {job.id: (job, planned) for planned in self._unsent for job in [self._job_of(planned, planned.slices())]}
        self._send(job for job, _ in sent.values())
        self._outcomes.jobs |= {job_id: OutstandingJob(planned) for job_id, (_, planned) in sent.items()}
        metrics.JOBS_QUEUED.inc(len(sent))
        log.info("jobs.queued", n=len(sent), outstanding=len(self._outcomes.jobs))
        self._unsent = []

    def _forgive(self, planned: Planned) -> None:
        for each in planned.recordings:
            path = each.recording.path
            if path not in self._dead_letters.forgiven:  # a slice of it may have failed in this run
                self.records.forgive(path)
                self._dead_letters.forgiven.add(path)

    def _job_of(self, planned: Planned, slices: tuple[Slice, ...]) -> Job:
        """Return the job of all or some of the planned slices."""
        words, options = self._hotwords.of(planned.recordings[0].recording.path), self.options
        if words != options.hotwords:
            options = options.model_copy(update={"hotwords": words})
        return Job(
            slices=slices,
            options=options,
            formats=self.formats,
            layout=self.layout,
            redo=self.run_id if self.redo else None,
            only_speakers=planned.only_speakers,
        )

    def _send(self, jobs: Iterable[Job]) -> None:
        # Another round needs other deduplication ids, or SQS would drop the messages for five minutes.
        self.queue.send(jobs, self.run_id, again=self._round)

    def _send_outstanding_again(self) -> None:
        if not self._outcomes.jobs:
            return
        self._round += 1
        metrics.JOBS_QUEUED.inc(len(self._outcomes.jobs))
        log.warning("jobs.queued_again", n=len(self._outcomes.jobs))
        self._send(self._job_of(job.planned, job.planned.slices()) for job in self._outcomes.jobs.values())

    def _handle_outage(self, error: RetryableError) -> None:
        """Tolerate an outage of up to `outage_limit_s`, and create a missing queue again."""
        if self._outage.record_failure(error) > self.outage_limit_s:
            raise error
        if isinstance(error, QueueMissing):
            with suppress(RetryableError):  # if it is unreachable again, the next call raises
                self.queue.ensure()
                self._lost_jobs.expect_new_queue()
                self._send_outstanding_again()
