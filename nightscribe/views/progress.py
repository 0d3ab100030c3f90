"""Show the progress of a run: a live view on a terminal, a line every half minute anywhere else."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment, Segments
from rich.status import Status
from rich.table import Table
from rich.text import Text

from nightscribe.services.events import (
    Began,
    Comparing,
    Downloading,
    Event,
    FetchingWeights,
    Forgetting,
    Indexing,
    ModelChosen,
    Rewriting,
    Scanning,
    Started,
    Surveying,
    Verifying,
    Working,
)
from nightscribe.services.request import Request
from nightscribe.services.run_progress import RunProgress
from nightscribe.terminal import visible
from nightscribe.views.humanize import count, duration
from nightscribe.worker.lease import lease_clock

LINE_EVERY_S = 30
FAILURES_SHOWN = 5
BAR_WIDTH = 24
ERASE_BELOW = "\x1b[J"  # rich has no name for it


class Display:
    """Shows the events of a service on standard error: the scan, then the progress of the work."""

    def __init__(self, request: Request | None = None, console: Console | None = None) -> None:
        """Create a display. `request` supplies the heading of a run; other services need none."""
        self._request = request
        self._console = console or Console(stderr=True)
        self._status: Status | None = None
        self._work = ExitStack()
        self._view: View | None = None
        self._engine = ""
        self._model = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def show(self, event: Event) -> None:  # noqa: PLR0912  one line for each event
        """Update the display."""
        match event:
            case Scanning(n_files=0):
                self._say("Looking for recordings …")
            case Scanning(n_files=n):
                self._say(f"Looking for recordings … {count(n, 'file')} seen")
            case Downloading(name=name, n_bytes=n_bytes, total=total):
                of = f" of {total / 1e6:,.1f}" if total else ""
                self._say(f"Downloading {n_bytes / 1e6:,.1f}{of} MB: {name}")
            case Surveying(number=number, n=n):
                self._say(f"Probing {number:,} of {count(n, 'recording')} …")
            case Verifying(number=number, n=n):
                self._say(f"Checking {number + 1:,} of {count(n, 'transcript')} …")
            case Indexing(n_read=None):
                self._say("Another process is updating the search index …")
            case Indexing(n_read=n):
                self._say(f"Indexing … {count(n or 0, 'transcript')} read")
            case Comparing() | Rewriting():
                self._say(_of_voices(event))
            case Forgetting(number=number, n=n):
                self._say(f"Forgetting {number:,} of {count(n, 'recording')} …")
            case FetchingWeights(model=model):
                self._say(f"Fetching the weights of {model} …")
            case ModelChosen(model=model, reason=reason):
                self._end()
                self._console.print(Text(visible(reason)))
                self._model = model
            case Began(engine=engine):
                self._engine = engine
            case Started(n_workers=n_workers):
                self._end()
                self._view = self._work.enter_context(view(self._console, self._heading(n_workers)))
            case Working(progress=progress, trouble=trouble) if self._view:
                self._view.show(progress, trouble)
            case _:  # the service has moved on or ended
                self._end()

    def _heading(self, n_workers: int) -> str:
        workers = f"{self._engine}, {count(n_workers, 'worker')}"
        if not (request := self._request):
            return f"nightscribe: {workers}"
        return f"nightscribe: {self._model or request.settings.model} on {workers}, {request.source} → {request.dest}"

    def _say(self, text: str) -> None:
        line = Text(visible(text))
        if self._status:
            self._status.update(line)
        else:
            self._status = self._work.enter_context(self._console.status(line))

    def _end(self) -> None:
        self._status = self._view = None
        self._work.close()


def _of_voices(event: Comparing | Rewriting) -> str:
    if isinstance(event, Comparing):
        return f"Comparing voices … {count(event.n_read, 'transcript')} read"
    return f"Writing {event.number:,} of {count(event.n, 'transcript')} again …"


class View(Protocol):
    """A way to show the progress of a run."""

    def show(self, run_progress: RunProgress, trouble: str = "") -> None:
        """Update the view. `trouble` is a sentence on what currently holds up the run, or empty."""
        ...


@contextmanager
def view(console: Console, heading: str) -> Iterator[View]:
    """Yield a live view on a terminal, and a view of single lines elsewhere."""
    if console.is_terminal:
        live = _LiveView(console, heading)
        console.show_cursor(False)
        try:
            yield live
        finally:
            live.erase()
            console.show_cursor(True)
    else:
        console.print(visible(heading), soft_wrap=True, highlight=False, markup=False)
        yield _LineView(console)


class _LiveView:
    """Draws the view over the last one, of which nothing is left even if the terminal has become narrower since."""

    def __init__(self, console: Console, heading: str) -> None:
        self._console = console
        self._heading = heading
        self._widths: list[int] = []
        """The width in cells of each line that is shown."""

    def show(self, run_progress: RunProgress, trouble: str = "") -> None:
        view = render(run_progress, self._heading, lease_clock(), trouble)
        lines = self._console.render_lines(view, pad=False)[: max(1, self._console.height - 1)]
        self.erase()
        self._console.print(Segments([each for line in lines for each in (*line, Segment.line())]), end="")
        self._widths = [Segment.get_line_length(line) for line in lines]

    def erase(self) -> None:
        """Remove what is shown. A terminal breaks the lines that no longer fit it anew."""
        width = max(1, self._console.width)
        rows = sum(max(1, -(-each // width)) for each in self._widths)
        if rows:
            self._console.control(Control((ControlType.CURSOR_UP, rows), ControlType.CARRIAGE_RETURN))
            self._console.file.write(ERASE_BELOW)
            self._console.file.flush()
        self._widths = []


class _LineView:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown_at = lease_clock()
        self._n_failed = 0
        self._is_in_trouble = False

    def show(self, run_progress: RunProgress, trouble: str = "") -> None:
        if trouble and not self._is_in_trouble:
            self._print(trouble)
        self._is_in_trouble = bool(trouble)
        for failure in run_progress.failed[self._n_failed :]:
            self._print(f"failed: {failure.recording}: {failure.reason}")
        self._n_failed = len(run_progress.failed)
        now = lease_clock()
        if now - self._shown_at >= LINE_EVERY_S:
            self._shown_at = now
            self._print(state(run_progress, now))

    def _print(self, line: str) -> None:
        self._console.print(visible(line), soft_wrap=True, highlight=False, markup=False)


def state(run_progress: RunProgress, now: float) -> str:
    """Return the progress of a run as one line."""
    return so_far(
        run_progress.n_settled,
        run_progress.n_total,
        heard_s=run_progress.heard_s,
        total_s=run_progress.total_s,
        speed=run_progress.speed(now),
        left_s=run_progress.left_s(now),
        n_failed=len(run_progress.failed),
        is_working=run_progress.working_since is not None,
    )


def so_far(
    n_settled: int,
    n_total: int,
    *,
    heard_s: float,
    total_s: float | None,
    speed: float | None,
    left_s: float | None,
    n_failed: int,
    is_working: bool = False,
) -> str:
    """Return the progress of a run as one line, from its figures."""
    parts = [
        f"{n_settled:,} of {count(n_total, 'recording')}",
        f"{duration(heard_s)} of about {duration(total_s)} of sound" if total_s else "",
        f"{speed:.1f} × real time" if speed else "transcribing" if is_working else "loading models",
        f"about {duration(left_s)} left" if left_s is not None else "",
        f"{n_failed:,} failed" if n_failed else "",
    ]
    return " · ".join(part for part in parts if part)


def render(run_progress: RunProgress, heading: str, now: float, trouble: str = "") -> RenderableType:
    """Return the live view."""
    lines = [Text(visible(heading), style="bold", no_wrap=True, overflow="ellipsis"), Text(state(run_progress, now))]
    if trouble:
        lines.append(Text(visible(trouble), style="red"))
    return Group(
        *lines, bar_of_all(run_progress.heard_s, run_progress.total_s), _workers(run_progress), _failures(run_progress)
    )


def bar_of_all(heard_s: float, total_s: float | None) -> RenderableType:
    """Return a bar that shows how much of all sound is done."""
    share = heard_s / total_s if total_s else 0.0
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=1.0, completed=share, width=BAR_WIDTH, style="bright_black"), f"{share:4.0%}", "of all"
    )
    return bar


def _workers(run_progress: RunProgress) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=BAR_WIDTH)
    table.add_column(justify="right", width=4)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)  # the only one that may shrink
    for activity in run_progress.activities:
        work_s = run_progress.work_s(activity.recording)
        share = min(1.0, activity.done_s / work_s) if work_s else 0.0
        again = f" (try {activity.receive_count})" if activity.receive_count > 1 else ""
        part = f", {activity.part_of}" if activity.part_of else ""
        what = f"rests: {activity.trouble}" if activity.trouble else activity.recording + part + again
        table.add_row(
            ProgressBar(total=1.0, completed=share, width=BAR_WIDTH, style="bright_black", complete_style="cyan"),
            f"{share:.0%}",
            Text(visible(what)),
        )
    return table


def _failures(run_progress: RunProgress) -> RenderableType:
    hidden = len(run_progress.failed) - FAILURES_SHOWN
    lines = [Text(f"… and {hidden:,} earlier failures", style="dim")] if hidden > 0 else []
    lines.extend(
        Text.assemble(
            ("failed ", "red"), visible(f"{failure.recording}: {failure.reason}"), overflow="ellipsis", no_wrap=True
        )
        for failure in run_progress.failed[-FAILURES_SHOWN:]
    )
    return Group(*lines)
