"""What a watching director shows: a line that is kept up to date on a terminal, below what is logged."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nightscribe.director.watch.watch_loop import WatchLoop
from nightscribe.log import configure_logging
from nightscribe.services.events import Event, Tell, Watching
from nightscribe.services.watch import Watched
from nightscribe.terminal import visible
from nightscribe.views.humanize import count


@contextmanager
def watch_display(log_level: str, heading: str) -> Iterator[Tell]:
    """Show events of `watch` until the context ends; where there is no terminal, what is logged is enough."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    since = datetime.now().astimezone()
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(event: Event) -> None:
            if isinstance(event, Watching):
                live.update(Text(f"{visible(heading)}\n{state(event.loop, since)}"), refresh=True)

        configure_logging(log_level, sys.stderr)  # which is now the one that writes above the line
        try:
            yield show
        finally:
            configure_logging(log_level, sys.__stderr__ or sys.stderr)


def state(loop: WatchLoop, since: datetime) -> str:
    """Return how things stand, in one line."""
    wait_s = max(0.0, loop.scan_at - loop.clock())
    said = [
        count(loop.n_recordings, "recording"),
        f"{loop.n_growing:,} still growing" if loop.n_growing else "",
        f"{loop.n_left:,} queued",
        f"{loop.n_done:,} done since {since:%H:%M}",
        f"{loop.n_failed:,} failed" if loop.n_failed else "",
        f"next look at {datetime.now().astimezone() + timedelta(seconds=wait_s):%H:%M:%S}"
        if loop.director.has_queued_all
        else "next look when the queue has taken all of them",
    ]
    return " · ".join(part for part in said if part)


def left(watched: Watched | None) -> str:
    """Return a sentence on what was left at the end."""
    if watched is None:
        return "Nothing was looked at yet."
    if not (watched.n_queued or watched.n_unqueued):
        return "Nothing is left to be done."
    queued = f"{count(watched.n_queued, 'recording')} queued, which workers go on with"
    rest = watched.n_unqueued
    more = f", and {count(rest, 'recording')} not queued yet, which the next director queues" if rest > 0 else ""
    return f"Left: {queued}{more}."
