"""Draw the time line as HTML around small stretching SVGs, so that text stays readable on a phone. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from html import escape
from itertools import groupby

from nightscribe.report.timeline import Lane, TimeLine
from nightscribe.terminal import visible
from nightscribe.views.humanize import count

WIDTH = 1000  # units of every drawing, regardless of its width on the screen
MAX_TICKS = 6
MAX_COLUMNS = 90  # columns of the speed; more of them would show the rhythm of finished jobs, not the run
LEVELS = 4  # colours for the share of time in which a worker was busy
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(minutes * MINUTE_S for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * HOUR_S for hours in (1, 2, 3, 6, 12)),
    *(days * DAY_S for days in (1, 2, 7, 28, 364)),
)


def plot(line: TimeLine, zone: tzinfo | None, mean_speed: float) -> str:
    """Return the speed and the workers over the time of day in `zone`; None means this machine's time zone."""
    marks = [(_share(line, at), label) for at, label in ticks(line.began_at, line.ended_at, zone)]
    grid = "".join(f'<path class="grid" d="M{share * WIDTH:.1f} 0V100"/>' for share, _ in marks)
    axis = "".join(f'<span style="left:{share:.2%}">{label}</span>' for share, label in marks)
    return (
        '<div class="plot">'
        + _speed(line, grid, mean_speed)
        + "".join(_lane(line, number, lane, grid, zone) for number, lane in enumerate(line.lanes, 1))
        + _row("axis", "", axis, "")
        + "</div>"
    )


def ticks(began_at: datetime, ended_at: datetime, zone: tzinfo | None) -> list[tuple[datetime, str]]:
    """Return round times of day within a run, each with its label."""
    length_s = (ended_at - began_at).total_seconds()
    step_s = next((step for step in STEPS_S if length_s / step <= MAX_TICKS), STEPS_S[-1])
    form = "%H:%M:%S" if step_s < MINUTE_S else "%H:%M" if step_s < 12 * HOUR_S else "%a %H:%M"
    midnight = began_at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    first = -(-(began_at - midnight).total_seconds() // step_s)
    found: list[tuple[datetime, str]] = []
    at = midnight.astimezone(UTC) + timedelta(seconds=first * step_s)
    while at <= ended_at and len(found) <= MAX_TICKS:
        found.append((at, at.astimezone(zone).strftime(form)))
        at += timedelta(seconds=step_s)
    return found


def _share(line: TimeLine, at: datetime) -> float:
    return (at - line.began_at).total_seconds() / line.length_s if line.length_s else 0.0


def _row(kind: str, label: str, track: str, value: str) -> str:
    return (
        f'<div class="row {kind}"><span class="label">{label}</span><div class="track">{track}</div>'
        f'<span class="value">{value}</span></div>'
    )


def _drawing(inside: str, height: int) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" aria-hidden="true">{inside}</svg>'


def _speed(line: TimeLine, grid: str, mean: float) -> str:
    columns = list(_columns(line))
    highest = max([speed for _, _, speed in columns] + [mean, 1e-9])
    steps = "".join(f"V{100 - 96 * speed / highest:.1f}H{end:.1f}" for _, end, speed in columns)
    mean_y = 100 - 96 * mean / highest
    inside = (
        f'{grid}<path class="area" d="M0 100{steps}V100Z"/>'
        f'<path class="mean" d="M0 {mean_y:.1f}H{WIDTH}"/><path class="base" d="M0 100H{WIDTH}"/>'
    )
    value = f"up to<br>{highest:.1f} ×"
    return _row("speed", f"speed<br><small>mean {mean:.1f} ×</small>", _drawing(inside, 100), value)


def _columns(line: TimeLine) -> Iterator[tuple[float, float, float]]:
    """Yield the beginning, the end and the height of each speed column."""
    width = -(-len(line.speed) // MAX_COLUMNS)
    for first in range(0, len(line.speed), width or 1):
        numbers = range(first, min(first + width, len(line.speed)))
        edges = [_share(line, line.at(number)) for number in (*numbers, numbers[-1] + 1)]
        if length := edges[-1] - edges[0]:
            gained = sum(line.speed[n] * (b - a) for n, a, b in zip(numbers, edges, edges[1:], strict=False))
            yield edges[0] * WIDTH, edges[-1] * WIDTH, gained / length


def _lane(line: TimeLine, number: int, lane: Lane, grid: str, zone: tzinfo | None) -> str:
    bars = "".join(_bars(line, lane, zone))
    crosses = "".join(
        f'<b style="left:{_share(line, line.at(at)):.2%}" title="{_clock(line.at(at), zone)}: it died'
        f'{f" {n} times" if n > 1 else ""} and was restarted">✕</b>'
        for at, n in enumerate(lane.deaths)
        if n
    )
    worked = sum(busy * (_share(line, line.at(n + 1)) - _share(line, line.at(n))) for n, busy in enumerate(lane.busy))
    died = f' <em title="{count(lane.n_deaths, "death")}">{lane.n_deaths} ✕</em>' if lane.n_deaths else ""
    return _row("lane", f"worker {number}", _drawing(grid + bars, 100) + crosses, f"{worked:.0%}{died}")


def _bars(line: TimeLine, lane: Lane, zone: tzinfo | None) -> Iterator[str]:
    """Yield one bar for each period in which a worker was equally busy with the same recording."""
    levels = (-int(-busy * LEVELS // 1) for busy in lane.busy)
    for (level, recording), stretch in groupby(
        enumerate(zip(levels, lane.recordings, strict=True)), key=lambda each: each[1]
    ):
        numbers = [number for number, _ in stretch]
        begin, end = line.at(numbers[0]), line.at(numbers[-1] + 1)
        if level:
            left, right = (round(_share(line, at) * WIDTH, 1) for at in (begin, end))  # rounding both edges avoids gaps
            during = f"{_clock(begin, zone)} to {_clock(end, zone)}"
            yield (
                f'<rect class="b{level}" x="{left}" width="{right - left:.1f}" height="100">'
                f"<title>{during}: {escape(visible(recording or ''))}</title></rect>"
            )


def _clock(at: datetime, zone: tzinfo | None) -> str:
    return at.astimezone(zone).strftime("%H:%M:%S")
