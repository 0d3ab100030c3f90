"""Show a status once, or repeatedly until the run ends or the user interrupts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import click
from rich.console import Console
from rich.live import Live

from nightscribe.services.status import Status, gather
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location
from nightscribe.views.status import lines, render, wrapped

EVERY_S = 2.0
SHARE = 0.2  # the share of time that reading a slow store may take

Put = Callable[[Status], object]


def show(dest: Location, settings: Settings, *, watch: bool, as_json: bool) -> int:
    """Show the status of a destination. Returns: the exit code, 1 if recordings failed, 0 after Ctrl-C."""
    put = _json if as_json else _plain
    status, is_over = gather(dest, settings), True
    if not watch:
        put(status)
    elif as_json or not (console := Console()).is_terminal:
        status, is_over = follow(status, lambda: gather(dest, settings), put)
    else:
        with _screen(console) as live:
            status, is_over = follow(status, lambda: gather(dest, settings), live)
        put(status)
    return 1 if is_over and status.n_failed else 0


def follow(
    status: Status, look: Callable[[], Status], put: Put, *, sleep: Callable[[float], None] = time.sleep
) -> tuple[Status, bool]:
    """Poll until a `run` ends, or Ctrl-C. Returns: the last status, and whether the run ended."""
    since, took_s = status.at, 0.0
    with suppress(KeyboardInterrupt):
        while True:
            put(status)
            before = status
            sleep(max(EVERY_S, took_s * (1 / SHARE - 1)))
            began = time.monotonic()
            status = _looked(look, before)
            took_s = time.monotonic() - began
            if _has_ended(before, status, since):
                put(status)
                return status, True
    return status, False


def _looked(look: Callable[[], Status], before: Status) -> Status:
    """Return the current status; while the destination is unreachable, the previous one with the reason."""
    try:
        return look()
    except RetryableError as error:
        return before.model_copy(update={"trouble": str(error)})


def _has_ended(before: Status, status: Status, since: datetime) -> bool:
    """Return whether a `run` ended or broke off between two polls, or both began and ended since the first."""
    run = status.run
    if run is None or run.command != "run" or status.live:
        return False
    was_live = before.live and before.run is not None and before.run.command == "run"
    return was_live or (run.ended_at is not None and run.ended_at >= since)


def _json(status: Status) -> None:
    click.echo(status.model_dump_json())


def _plain(status: Status) -> None:
    console = Console()
    for line in wrapped(status, console.width) if console.is_terminal else lines(status):
        click.echo(line)


@contextmanager
def _screen(console: Console) -> Iterator[Put]:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda status: live.update(render(status), refresh=True)
