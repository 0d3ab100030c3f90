"""Follow jobs from their queue to their outcome in the destination, from a thread of the server."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from nightscribe.director.plan.estimate import typical_speed
from nightscribe.server.jobs.lane import Lane
from nightscribe.server.jobs.model import Job, State
from nightscribe.server.jobs.planning import Plan
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.transcript import Provenance
from nightscribe.shared.process.concurrency import map_concurrently

log = structlog.get_logger()

WAITED_FOR_S = 0.02  # between two looks for the results of interactive jobs, which take microseconds in a folder
LOOK_S = 1.0  # between two looks at queues, workers and all other jobs
SENT_AT_ONCE = 50
SHARE = 0.25  # of the time that looking may take, for instance at a bucket

Outcome = Provenance | Failure | str
"""A transcript, a failure, or the sentence why there will be neither."""


@dataclass
class Followed:
    """A job that is not over."""

    job: Job
    plan: Plan
    sent: bool = False
    stored: frozenset[int] = field(default_factory=frozenset)
    """Slices whose results are stored."""

    @property
    def n_slices(self) -> int:
        """Return the number of messages of the job."""
        return len(self.plan.cuts or ()) + 1


class Follower:
    """Knows all jobs that are not over. Safe to use from several threads."""

    def __init__(
        self,
        records: Records,
        lanes: dict[bool, Lane],
        *,
        settle: Callable[[Followed, Outcome], bool],
        changed: Callable[[Followed, Job], None],
        every_look: Callable[[], None] = lambda: None,
    ) -> None:
        """`lanes`: the queue for interactive work under True, the other one under False.

        Args:
            settle: stores the outcome of a job; returns False if that must be tried again.
            changed: stores and reports that a job has begun or progressed.
            every_look: called about once a second.
        """
        self._records = records
        self._lanes = lanes
        self._settle = settle
        self._changed = changed
        self._every_look = every_look
        self._followed: dict[str, Followed] = {}
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="job-follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following. What is not over is followed again by the next server."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._thread:
            self._thread.join(30)

    def add(self, followed: Followed) -> None:
        """Follow a job from now on."""
        with self._news:
            self._followed[followed.job.id] = followed
            self._news.notify_all()

    def remove(self, job_id: str) -> None:
        """Follow a job no longer."""
        with self._lock:
            self._followed.pop(job_id, None)

    def get(self, job_id: str) -> Job | None:
        """Return a job that is not over, with its progress and its place in the queue."""
        with self._lock:
            followed = self._followed.get(job_id)
            if followed is None:
                return None
            if followed.job.state is State.RUNNING:
                return followed.job
            lane = followed.job.interactive
            place = 0
            for each in self._followed.values():  # in the order in which they came
                if each is followed:
                    break
                place += each.job.interactive is lane and each.job.state is State.QUEUED
            return replace(followed.job, place=place)

    def n_waiting(self, *, interactive: bool) -> int:
        """Return the number of jobs in a queue, those in progress included."""
        with self._lock:
            return sum(each.job.interactive is interactive for each in self._followed.values())

    def n_queued(self, *, interactive: bool) -> int:
        """Return the number of jobs in a queue of which no part is in progress."""
        with self._lock:
            jobs = [each.job for each in self._followed.values()]
        return sum(job.interactive is interactive and job.state is State.QUEUED for job in jobs)

    def find(self, is_wanted: Callable[[Followed], bool]) -> Followed | None:
        """Return a job that is not over, or None."""
        with self._lock:
            return next(filter(is_wanted, self._followed.values()), None)

    def send(self, followed: Followed) -> None:
        """Queue a job now; if that fails, the thread tries again."""
        if followed.plan.cuts is not None:
            followed.sent = self._lanes[followed.job.interactive].send(followed.plan.messages())

    # The thread

    def _run(self) -> None:
        next_look = 0.0
        while True:
            began = time.monotonic()
            try:
                if began >= next_look:
                    self._look()
                    next_look = time.monotonic() + max(LOOK_S, (time.monotonic() - began) / SHARE)
                    began = time.monotonic()
                self._check(each for each in self._all() if each.job.interactive)
            except NightscribeError as error:
                log.warning("jobs.not_followed", why=str(error))
                next_look = max(next_look, time.monotonic() + LOOK_S)
            except Exception:  # nothing may end this thread
                log.exception("jobs.not_followed")
                next_look = max(next_look, time.monotonic() + LOOK_S)
            took_s = time.monotonic() - began
            with self._news:
                if self._stopping:
                    return
                is_waited_for = any(each.job.interactive for each in self._followed.values())
                pause_s = max(WAITED_FOR_S, took_s / SHARE) if is_waited_for else LOOK_S
                self._news.wait(min(pause_s, max(WAITED_FOR_S, next_look - time.monotonic())))
                if self._stopping:
                    return

    def _all(self) -> list[Followed]:
        with self._lock:
            return list(self._followed.values())

    def _look(self) -> None:
        """Send what is not sent, look at queues and workers, and check every job."""
        followed = self._all()
        for interactive, lane in self._lanes.items():
            here = [each for each in followed if each.job.interactive is interactive]
            if not here:
                continue
            if lane.check(any_outstanding=True):
                for each in here:
                    each.sent = False
            self._send_unsent(lane, [each for each in here if not each.sent and each.plan.cuts is not None])
        if followed:
            self._observe(followed, list(self._records.activities()))
            self._check(followed)
        self._every_look()

    def _send_unsent(self, lane: Lane, unsent: list[Followed]) -> None:
        """Queue what a new server or an outage has left, for a second at most, because others wait for results."""
        until = time.monotonic() + LOOK_S
        for at in range(0, len(unsent), SENT_AT_ONCE):
            some = unsent[at : at + SENT_AT_ONCE]
            if not lane.send([message for each in some for message in each.plan.messages()]):
                return
            for each in some:
                each.sent = True
            if time.monotonic() > until:
                return

    def _observe(self, followed: list[Followed], activities: list[Activity]) -> None:
        """Take over what the workers report."""
        by_recording: dict[str, list[Activity]] = {}
        for activity in activities:
            if activity.message and not activity.trouble:
                by_recording.setdefault(activity.recording, []).append(activity)
        for each in followed:
            reports = by_recording.get(each.plan.recording, [])
            if not reports and each.job.state is State.QUEUED:
                continue
            if each.n_slices > 1:
                each.stored = self._records.partial_results.stored(each.plan.messages()[0], each.plan.slice_at(0))
            job = _progressed(each, reports)
            if job != each.job:
                began = job.state is not each.job.state
                each.job = job
                if began or not job.is_over:
                    self._changed(each, job)

    def _check(self, followed: Iterable[Followed]) -> None:
        """Look for the outcomes of jobs, and settle those that have one."""
        for each, look in map_concurrently(self._outcome, list(followed), self._records.store.max_concurrency):
            outcome = look()
            if outcome is not None and self._settle(each, outcome):
                self.remove(each.job.id)

    def _outcome(self, each: Followed) -> Outcome | None:
        plan = each.plan
        try:
            done = self._records.provenance(plan.recording)
            if done and done.redo == plan.id and done.fingerprint == plan.fingerprint:
                return done
            failure = self._records.failure(plan.recording)
        except NewerRecord as error:
            return str(error)
        if failure and failure.fingerprint == plan.fingerprint and failure.failed_at >= _second(each.job.created_at):
            return failure
        return None


def _second(moment: datetime) -> datetime:
    """Return a time as records state it, to the second."""
    return moment.replace(microsecond=0)


def _progressed(each: Followed, reports: list[Activity]) -> Job:
    """Return a job with the progress that its workers report."""
    job, cuts = each.job, (0.0, *(each.plan.cuts or ()))
    ends = (*cuts[1:], job.duration_s or cuts[-1])
    stored_s = sum(max(0.0, ends[index] - cuts[index]) for index in each.stored if index < len(cuts))
    done_s = max(job.done_s, stored_s + sum(report.done_s for report in reports))
    began_at = min((report.began_at for report in reports if report.began_at), default=job.started_at)
    started_at = min(filter(None, (job.started_at, began_at)), default=None)
    left_s = None
    if job.duration_s:
        elapsed_s = (
            (max(report.updated_at for report in reports) - started_at).total_seconds()
            if (reports and started_at)
            else 0.0
        )
        speed = done_s / elapsed_s if done_s and elapsed_s > 0 else _usual_speed(job)
        left_s = round(max(0.0, job.duration_s - done_s) / speed, 1) if speed else None
    return replace(job, state=State.RUNNING, done_s=round(done_s, 1), started_at=started_at, place=None, left_s=left_s)


def _usual_speed(job: Job) -> float:
    try:
        return typical_speed(job.options.engine, job.options.model)
    except NightscribeError:
        return 0.0
