"""`nightscribe director --watch`: stays, queues what arrives, and follows it."""

import math
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

import click
import structlog
from rich.console import Console
from rich.live import Live
from rich.text import Text

from nightscribe.cli.signals import Interruption, interruptible
from nightscribe.director.backlog import Backlog
from nightscribe.director.plan.estimate import LengthEstimate, Rates
from nightscribe.director.watch.file_system_watcher import FileSystemWatcher
from nightscribe.director.watch.watch_loop import WatchLoop
from nightscribe.log import configure_logging
from nightscribe.services.request import Request, open_queue
from nightscribe.services.run_progress import told_of
from nightscribe.services.run_record import EVERY_S, RunRecord, beginning, queueing
from nightscribe.shared.destination.keys import TRANSCRIPTS
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.storage.base import Location
from nightscribe.views.humanize import count

log = structlog.get_logger()

Show = Callable[[WatchLoop], None]


class _Figures:
    """How far it is, for `status`."""

    def __init__(self, arrivals: WatchLoop) -> None:
        self._arrivals = arrivals

    def figures(self, _now: float) -> dict[str, object]:
        """See `nightscribe.run_record.Counting`."""
        seen = self._arrivals
        return {
            "n_total": seen.n_left + seen.n_done + seen.n_failed,
            "n_done": seen.n_done,
            "n_failed": seen.n_failed,
            **told_of(seen.unreadable),
        }


def keep_watch(request: Request) -> int:
    """Queue what is missing and what arrives until somebody ends it, and say what is left. Gives the exit code."""
    arrivals = None
    with interruptible() as interruption, suppress(KeyboardInterrupt):
        arrivals = _arrivals(request)
        _watch(request, arrivals, interruption)
    click.echo(f"Stopped watching. {_left(arrivals) if arrivals else 'Nothing was looked at yet.'}")
    return 0 if interruption.number == signal.SIGTERM else 130


def _arrivals(request: Request) -> WatchLoop:
    settings = request.settings
    director = request.director(open_queue(settings), settings.engine)
    director.outage_limit_s = math.inf
    alarm = FileSystemWatcher(request.source.local_path, leave_out=request.dest.local_path)
    return WatchLoop(
        director,
        request.scanner(settle_s=0),
        rates=_rates(request),
        check_store=check_of(request.dest, request.records),
        alarm=alarm,
        poll_s=settings.poll_s or max(request.source.poll_s, request.dest.poll_s),
        settle_s=settings.settle_s,
    )


def _watch(request: Request, arrivals: WatchLoop, interruption: Interruption) -> None:
    settings = request.settings
    run = queueing(beginning("director", request, settings.engine, watch=True), arrivals.director)
    heading = f"Watching {request.source} for {request.dest} (Ctrl-C ends it)"
    with (
        arrivals.alarm,
        # Where each file that is written is paid for, this one is written for weeks.
        RunRecord(request.records, run, _Figures(arrivals), every_s=max(EVERY_S, arrivals.poll_s)) as said,
        _view(settings.log_level, heading) as show,
    ):
        log.info("watch.began", source=run.source, queue=settings.queue_name)
        for event in arrivals.watch():
            if event is None:
                interruption.check()
                said.tell()
                show(arrivals)


def _rates(request: Request) -> Callable[[Backlog], Rates]:
    lengths = LengthEstimate()

    def rates(missing: Backlog) -> Rates:
        for each, seconds in request.lengths(missing):
            if seconds is not None:
                lengths.learn(each.recording.path, each.recording.size, seconds)
        return lengths.rates()

    return rates


def check_of(dest: Location, records: Records) -> Callable[[], None]:
    """Return a check that raises RetryableError once another volume, without transcripts, is where DEST was."""
    volume = dest.volume()

    def check() -> None:
        with suppress(OSError):
            if dest.volume() == volume or any(records.store.listing(TRANSCRIPTS)):
                return
        raise RetryableError(f"The destination {str(dest)!r} is not there now.")

    return check


def _left(arrivals: WatchLoop) -> str:
    n_queued = len(arrivals.director.outstanding)
    if not arrivals.n_left:
        return "Nothing is left to be done."
    queued = f"{count(n_queued, 'recording')} queued, which workers go on with"
    rest = arrivals.n_left - n_queued
    more = f", and {count(rest, 'recording')} not queued yet, which the next director queues" if rest > 0 else ""
    return f"Left: {queued}{more}."


@contextmanager
def _view(log_level: str, heading: str) -> Iterator[Show]:
    """A line that is kept up to date on a terminal, below what is logged; elsewhere what is logged tells enough."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    since = datetime.now().astimezone()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        configure_logging(log_level, sys.stderr)  # which is now the one that writes above the line
        try:
            yield lambda arrivals: live.update(Text(f"{heading}\n{state(arrivals, since)}"), refresh=True)
        finally:
            configure_logging(log_level, sys.__stderr__ or sys.stderr)


def state(arrivals: WatchLoop, since: datetime) -> str:
    """How things stand, in a line."""
    wait_s = max(0.0, arrivals.looks_at - arrivals.clock())
    said = [
        count(arrivals.n_recordings, "recording"),
        f"{arrivals.n_growing:,} still growing" if arrivals.n_growing else "",
        f"{arrivals.n_left:,} queued",
        f"{arrivals.n_done:,} done since {since:%H:%M}",
        f"{arrivals.n_failed:,} failed" if arrivals.n_failed else "",
        f"next look at {datetime.now().astimezone() + timedelta(seconds=wait_s):%H:%M:%S}"
        if arrivals.director.has_queued_all
        else "next look when the queue has taken all of them",
    ]
    return " · ".join(part for part in said if part)
