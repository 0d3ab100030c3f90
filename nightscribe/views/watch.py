"""Show the state of a watching director in one line on a terminal, below the log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nightscribe.director.watch.watch_loop import WatchLoop
from nightscribe.log import configure_logging
from nightscribe.services.events import Event, OnEvent, Watching
from nightscribe.services.watch import Watched
from nightscribe.terminal import visible
from nightscribe.views.humanize import count


@contextmanager
def watch_display(log_level: str, heading: str) -> Iterator[OnEvent]:
    """Yield a callback that shows events of `watch`; without a terminal it shows nothing, since the log suffices."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    since = datetime.now().astimezone()
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(event: Event) -> None:
            if isinstance(event, Watching):
                live.update(Text(f"{visible(heading)}\n{state(event.loop, since)}"), refresh=True)

        configure_logging(log_level, sys.stderr)  # while Live is active, this writes above the line
        try:
            yield show
        finally:
            configure_logging(log_level, sys.__stderr__ or sys.stderr)


def state(loop: WatchLoop, since: datetime) -> str:
    """Return the state of the loop as one line."""
    wait_s = max(0.0, loop.scan_at - loop.clock())
    parts = [
        count(loop.n_recordings, "recording"),
        f"{loop.n_growing:,} still growing" if loop.n_growing else "",
        f"{loop.n_left:,} queued",
        f"{loop.n_done:,} done since {since:%H:%M}",
        f"{loop.n_failed:,} failed" if loop.n_failed else "",
        f"next scan at {datetime.now().astimezone() + timedelta(seconds=wait_s):%H:%M:%S}"
        if loop.director.has_queued_all
        else "next scan when all of them are queued",
    ]
    return " · ".join(part for part in parts if part)


def left(watched: Watched | None) -> str:
    """Return a sentence on what is left at the end."""
    if watched is None:
        return "It had not scanned yet."
    if not (watched.n_queued or watched.n_unqueued):
        return "Nothing is left to do."
    queued = f"{count(watched.n_queued, 'recording')} queued, which workers will finish"
    rest = watched.n_unqueued
    more = f", and {count(rest, 'recording')} not queued yet, which the next director will queue" if rest > 0 else ""
    return f"Left: {queued}{more}."
