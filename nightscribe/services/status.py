"""Gather the status of a destination from its records and its queue, without receiving messages."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from heapq import nlargest

from pydantic import Field

from nightscribe.services.queue_discovery import reached
from nightscribe.services.run_record import LIVE_S, is_live
from nightscribe.shared.destination.keys import FAILURES, TRANSCRIPTS
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import JobError, NightscribeError
from nightscribe.shared.model.activity import Activity, Run
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job
from nightscribe.shared.model.paths import printable
from nightscribe.shared.model.versioned import Frozen
from nightscribe.shared.process.identity import has_ended
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.inspector import Peeked
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location

PEEK_AT_MOST = 2_000  # jobs; listing more would slow the server down for its workers
FAILURES_KEPT = 1_000


class QueuedJob(Frozen):
    """A job on the queue."""

    message: str = Field(description="Id of its message.")
    recordings: tuple[str, ...] = Field(description="Empty if the message is not a job of this version.")
    slice: int | None = Field(default=None, description="Number of its slice, from 1 on, if the recording is cut.")
    n_slices: int = 1
    slice_s: float | None = Field(default=None, description="Seconds of sound in that slice, if known.")
    receive_count: int
    waiting: bool = Field(description="Whether it waits for a worker; false also while it waits for a retry.")


class QueueState(Frozen):
    """The state of the queue. SQS's counts lag by about a second."""

    name: str
    server: str | None = Field(description="Its address; None for Amazon SQS.")
    n_waiting: int = Field(description="Jobs that wait for a worker.")
    n_held: int = Field(description="Jobs that a worker has, or that wait for a retry.")
    n_set_aside: int = Field(description="Messages on the dead-letter queue.")
    jobs: tuple[QueuedJob, ...] | None = Field(description="None if the server does not list them.")


class Working(Activity):
    """The activity of a worker, with the length of its slice."""

    slice_s: float | None = Field(default=None, description="Seconds of sound in its slice, if known.")
    silent_s: float = Field(description="Seconds since its last report.")


class Status(Frozen):
    """The status of a destination."""

    version: int = 1
    dest: str
    at: datetime
    trouble: str | None = Field(default=None, description="Why there is no newer status.")
    live: bool = Field(description="Whether a `run` or a `director` is in progress.")
    run: Run | None = Field(description="The current or last one.")
    queue: QueueState | None
    no_queue: str | None = Field(default=None, description="Why `queue` is null.")
    workers: tuple[Working, ...]
    n_done: int = Field(description="Recordings that have their transcript.")
    n_failed: int
    failures: tuple[Failure, ...] = Field(description=f"Newest first, at most {FAILURES_KEPT:,}.")


def gather(dest: Location, settings: Settings, *, now: datetime | None = None) -> Status:
    """Query a destination and its queue.

    Raises: RetryableError: if the destination is unreachable.
    """
    records = Records(dest.open_store(settings.storage))
    at = now or datetime.now(UTC)
    last, live = _last_run(records, at)
    queue, trouble = _queue(last, settings)
    unreadable = _unreadable(last)
    failures = nlargest(FAILURES_KEPT, _each_once(records.failures(), unreadable), key=lambda each: each.failed_at)
    n_unlisted = last.n_unreadable - len(last.unreadable) if last else 0
    return Status(
        dest=printable(str(dest.absolute())),
        at=at.replace(microsecond=0),
        live=live,
        run=last,
        queue=queue,
        no_queue=trouble,
        workers=tuple(_working(records, None if live else last, queue, at)),
        n_done=records.count(TRANSCRIPTS),
        n_failed=records.count(FAILURES) + len(unreadable) + n_unlisted,
        failures=tuple(failures),
    )


def _last_run(records: Records, at: datetime) -> tuple[Run | None, bool]:
    """Return the last run, and whether it is in progress."""
    last = records.last_run()
    live = last is not None and is_live(last, at)
    if last and not last.ended_at and not live:  # the run may have recorded its end and exited since the first read
        last = records.last_run()
        live = last is not None and is_live(last, at)
    return last, live


def _unreadable(last: Run | None) -> dict[str, Failure]:
    """Return what the last run could not read, by path. None of it has a failure record: every run tries it again."""
    if last is None:
        return {}
    return {
        each.path: Failure(
            recording=each.path,
            fingerprint="",
            size=0,
            mtime_ns=None,
            code="not_readable",
            reason=each.reason,
            attempts=0,
            worker="",
            failed_at=last.began_at,
        )
        for each in last.unreadable
    }


def _each_once(recorded: Iterable[Failure], unreadable: dict[str, Failure]) -> Iterator[Failure]:
    """Yield recorded failures, then the unreadable ones without a record; remove the others from `unreadable`."""
    for failure in recorded:
        unreadable.pop(failure.recording, None)
        yield failure
    yield from unreadable.values()


def _queue(last: Run | None, settings: Settings) -> tuple[QueueState | None, str | None]:
    try:
        with reached(last, settings) as queue:
            return state_of(queue), None
    except NightscribeError as error:  # there is no queue, or its run has just ended
        return None, str(error)


def state_of(queue: JobQueue) -> QueueState:
    """Return the state of a queue that was found. Raises: RetryableError, QueueError: if it is no longer reachable."""
    counts, dead = queue.counts(), queue.dead_counts()
    peeked = queue.peek() if counts.queued + counts.in_flight <= PEEK_AT_MOST else None
    return QueueState(
        name=queue.name,
        server=queue.endpoint,
        n_waiting=counts.queued,
        n_held=counts.in_flight,
        n_set_aside=dead.queued + dead.in_flight,
        jobs=None if peeked is None else tuple(map(_queued, peeked)),
    )


def _queued(peeked: Peeked) -> QueuedJob:
    try:
        slices = Job.from_message(peeked.body).slices
    except JobError:  # not a job that this version can read
        slices = ()
    first = slices[0] if slices else None
    return QueuedJob(
        message=peeked.message_id,
        recordings=tuple(each.recording for each in slices),
        slice=first.index + 1 if first and first.cuts else None,
        n_slices=first.count if first else 1,
        slice_s=first.end_s - first.start_s if first and first.cuts and first.end_s else None,
        receive_count=peeked.receive_count,
        waiting=peeked.is_visible,
    )


def _working(records: Records, over: Run | None, queue: QueueState | None, at: datetime) -> "list[Working]":
    """Return the reports of workers that may be alive, omitting workers that ended on this machine or with their `run`.

    `over`: the last run, if it is no longer in progress.
    """
    slices_s = {job.message: job.slice_s for job in (queue.jobs if queue and queue.jobs else ())}
    had_its_own = over is not None and over.command == "run"
    ended_at = over.ended_at if over and had_its_own else None
    working = (
        Working(
            **activity.model_dump(),
            slice_s=slices_s.get(activity.message),
            silent_s=max(0.0, (at - activity.updated_at).total_seconds()),
        )
        for activity in records.activities()
        if (ended_at is None or activity.updated_at > ended_at) and not has_ended(activity.worker)
    )
    return [each for each in working if not (had_its_own and each.silent_s > LIVE_S)]
