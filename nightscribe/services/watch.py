"""Watch a source: queue what arrives, and follow it until it is done."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from nightscribe.director.backlog import Backlog
from nightscribe.director.plan.estimate import LengthEstimate, Rates
from nightscribe.director.watch.file_system_watcher import FileSystemWatcher
from nightscribe.director.watch.watch_loop import WatchLoop
from nightscribe.services.events import OnEvent, Watching, ignore
from nightscribe.services.forget import forget_old
from nightscribe.services.request import Request, open_queue
from nightscribe.services.run_progress import unreadable_figures
from nightscribe.services.run_record import EVERY_S, RunRecord, beginning, queueing
from nightscribe.shared.destination.keys import TRANSCRIPTS
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError, RetryableError
from nightscribe.shared.storage.base import Location

log = structlog.get_logger()

RETENTION_EVERY_S = 3600.0


@dataclass(frozen=True)
class Watched:
    """The work left when a watching director ended."""

    n_queued: int
    """Recordings on the queue, or in progress."""
    n_unqueued: int


class _Figures:
    """The progress of a watching director, for `status`."""

    def __init__(self, loop: WatchLoop) -> None:
        self._loop = loop

    def figures(self, _now: float) -> dict[str, object]:
        """See `nightscribe.services.run_record.Counting`."""
        seen = self._loop
        return {
            "n_total": seen.n_left + seen.n_done + seen.n_failed,
            "n_done": seen.n_done,
            "n_failed": seen.n_failed,
            **unreadable_figures(seen.unreadable),
        }


def watch(request: Request, on_event: OnEvent = ignore) -> Watched | None:
    """Queue what is missing and what arrives, until a KeyboardInterrupt from a signal or from `on_event`.

    Returns: what is left; None if it was interrupted before the first scan.
    """
    loop = None
    with suppress(KeyboardInterrupt):
        loop = _loop(request)
        _watch(request, loop, on_event)
    if loop is None:
        return None
    n_queued = min(loop.n_left, len(loop.director.outstanding))
    return Watched(n_queued, loop.n_left - n_queued)


def _loop(request: Request) -> WatchLoop:
    settings = request.settings
    director = request.director(open_queue(settings), settings.engine)
    director.outage_limit_s = math.inf
    watcher = FileSystemWatcher(request.source.local_path, leave_out=request.dest.local_path)
    return WatchLoop(
        director,
        request.scanner(settle_s=0),
        rates=_rates(request),
        check_store=check_of(request.dest, request.records),
        watcher=watcher,
        poll_s=settings.poll_s or max(request.source.poll_s, request.dest.poll_s),
        settle_s=settings.settle_s,
    )


def _watch(request: Request, loop: WatchLoop, on_event: OnEvent) -> None:
    run = queueing(beginning("director", request, request.settings.engine, watch=True), loop.director)
    with (
        loop.watcher,
        # In a bucket each write costs money, and this record is written for weeks.
        RunRecord(request.records, run, _Figures(loop), every_s=max(EVERY_S, loop.poll_s)) as record,
    ):
        log.info("watch.began", source=run.source, queue=request.settings.queue_name)
        retention = _Retention(request)
        for event in loop.watch():
            if event is None:
                retention.apply()
                record.update()
                on_event(Watching(loop))


class _Retention:
    """Deletes transcripts that are older than the settings allow, once an hour."""

    def __init__(self, request: Request, clock: Callable[[], float] = time.monotonic) -> None:
        self._request, self._clock = request, clock
        self._due_at = clock()

    def apply(self) -> None:
        """Delete what is too old, if that is due. What fails is tried again in an hour."""
        days = self._request.settings.forget_after_days
        if not days or self._clock() < self._due_at:
            return
        self._due_at = self._clock() + RETENTION_EVERY_S
        try:
            done = forget_old(self._request.dest, days, options=self._request.settings.storage)
        except NightscribeError as error:
            log.warning("retention.failed", why=str(error))
            return
        if done.recordings:
            log.info("retention.forgot", n=len(done.recordings), days=days)


def _rates(request: Request) -> Callable[[Backlog], Rates]:
    lengths = LengthEstimate()

    def rates(missing: Backlog) -> Rates:
        for each, seconds in request.lengths(missing):
            if seconds is not None:
                lengths.learn(each.recording.path, each.recording.size, seconds)
        return lengths.rates()

    return rates


def check_of(dest: Location, records: Records) -> Callable[[], None]:
    """Return a check that raises RetryableError if DEST is now on another volume, without transcripts."""
    volume = dest.volume()

    def check() -> None:
        with suppress(OSError):
            if dest.volume() == volume or any(records.store.listing(TRANSCRIPTS)):
                return
        raise RetryableError(
            f"The destination {str(dest)!r} is not available at the moment.", code="storage_unreachable"
        )

    return check
