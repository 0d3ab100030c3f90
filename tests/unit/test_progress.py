"""What a run shows while it works."""

import io
import re

import pytest
from making import activity, failure, recording, transcript
from rich.console import Console

from nightscribe.director.backlog import Backlog, Missing, Settled
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.scan.scanner import Scan
from nightscribe.services.run_progress import RunProgress
from nightscribe.views.progress import ERASE_BELOW, FAILURES_SHOWN, render, state, view

HEADING = "nightscribe: base on faster-whisper, 4 workers, /home/me/recordings of many years → /home/me/transcripts"
TROUBLE = "DEST '[here]' has only 3 MB free: make room; what cannot be written is tried three times."
ODD = ["[bold]x[/bold].mp3", "🎤 räksmörgås 日本語" * 8 + ".mp3", "$(x) 'y' \"z\".mp3", "a" * 200 + ".mp3", "[/].mp3"]


def progress_of(n_missing: int = 1500, *, n_done: int = 0, n_failed: int = 0, working: int = 0) -> RunProgress:
    missing = [Missing(recording(f"2012/{n}.mp3", 100), str(n)) for n in range(n_missing)]
    missing += [Missing(recording(path, 100), path) for path in ODD]
    run_progress = RunProgress(Scan(missing=Backlog(missing)), LengthEstimate())
    run_progress.observe([activity(missing[0].recording.path)], now=0)
    for each in missing[:n_done]:
        run_progress.settle(Settled(each, transcript(recording=each.recording.path, decoded_s=90)))
    for each in missing[n_done : n_done + n_failed]:
        run_progress.settle(Settled(each, failure(each.recording.path, reason="It is broken [in the middle]. " * 5)))
    paths = [*ODD, *(m.recording.path for m in missing[n_done + n_failed : n_missing])]
    run_progress.observe(
        [activity(path, 40, receive_count=1 + n % 2) for n, path in enumerate(paths[:working])], now=10
    )
    return run_progress


TALLIES = {
    "nothing": progress_of(0),
    "beginning": progress_of(),
    "loading": progress_of(working=0),
    "working": progress_of(n_done=1234, n_failed=1, working=8),
    "failing": progress_of(n_done=3, n_failed=1200, working=2),
    "over": progress_of(10, n_done=15),
}


def shown(run_progress: RunProgress, width: int, now: float = 3700.0, trouble: str = "") -> list[str]:
    """The lines of the live view on a terminal of that width."""
    console = Console(record=True, width=width, height=60, file=io.StringIO(), force_terminal=True)
    console.print(render(run_progress, HEADING, now, trouble))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [200, 80, 40])
@pytest.mark.parametrize("name", TALLIES)
def test_the_live_view_fits_its_terminal(name: str, width: int) -> None:
    from rich.cells import cell_len

    assert all(cell_len(line.rstrip()) <= width for line in shown(TALLIES[name], width))


@pytest.mark.parametrize("width", [200, 80, 40])
@pytest.mark.parametrize("name", TALLIES)
def test_no_number_is_broken_over_two_lines(name: str, width: int) -> None:
    """Every number of the state is found whole in one of the lines."""
    run_progress = TALLIES[name]
    said = state(run_progress, 3700.0)
    lines = shown(run_progress, width)
    numbers = re.findall(r"[\d,.]*\d", said)
    words = " ".join(lines[1:]).split()
    assert all(any(number == word.strip("·") for word in words) for number in numbers)
    assert said.split() == words[: len(said.split())]


@pytest.mark.parametrize("width", [200, 80])
def test_every_worker_has_one_line_with_its_recording(width: int) -> None:
    lines = shown(TALLIES["working"], width)
    assert sum("%" in line for line in lines) == 1 + 8
    assert any("[bold]x[/bold].mp3" in line for line in lines)
    assert any("(try 2)" in line for line in lines)


@pytest.mark.parametrize("width", [200, 80])
def test_the_last_failures_are_shown_one_a_line_and_the_others_counted(width: int) -> None:
    lines = shown(TALLIES["failing"], width)
    assert sum(line.startswith("failed ") for line in lines) == FAILURES_SHOWN
    assert "… and 1,195 earlier failures" in [line.strip() for line in lines]


def test_on_a_wide_terminal_everything_is_said() -> None:
    lines = shown(TALLIES["working"], 200)
    assert lines[0].strip() == HEADING
    assert lines[1].strip() == state(TALLIES["working"], 3700.0)


def test_what_keeps_a_run_from_going_on_is_a_line_below_how_far_it_is() -> None:
    lines = shown(TALLIES["loading"], 200, trouble=TROUBLE)
    assert [line.strip() for line in lines[1:3]] == [state(TALLIES["loading"], 3700.0), TROUBLE]


# The line


def test_before_anything_is_known_the_line_says_that_models_are_loading() -> None:
    missing = Backlog([Missing(recording("a.mp3"), "a")])
    assert state(RunProgress(Scan(missing=missing), LengthEstimate()), 0) == "0 of 1 recording · loading models"


def test_the_line_says_how_far_how_fast_and_how_long_yet() -> None:
    missing = Backlog(Missing(recording(f"{n}.mp3", 100), str(n)) for n in "abcd")
    run_progress = RunProgress(Scan(missing=missing), LengthEstimate())
    run_progress.observe([activity("a.mp3")], now=0)
    run_progress.settle(Settled(missing[0], transcript(decoded_s=3600)))
    run_progress.settle(Settled(missing[1], failure("b.mp3")))
    run_progress.observe([], now=100)
    assert state(run_progress, 360.0) == (
        "2 of 4 recordings · 1 h 00 min of about 3 h 00 min of sound · 10.0 × real time · about 12 min left · 1 failed"
    )


# Away from a terminal


def test_away_from_a_terminal_the_heading_and_each_failure_are_a_line_once() -> None:
    file = io.StringIO()
    run_progress = progress_of(3, n_failed=1)
    with view(Console(file=file, width=80), HEADING) as shown_by:
        for _ in range(3):
            shown_by.show(run_progress)
    reason = "It is broken [in the middle]. " * 5
    assert [line.rstrip() for line in file.getvalue().splitlines()] == [
        HEADING,
        f"failed: 2012/0.mp3: {reason}".rstrip(),
    ]


def test_away_from_a_terminal_each_trouble_is_told_once_when_it_begins() -> None:
    file = io.StringIO()
    with view(Console(file=file, width=80), HEADING) as shown_by:
        for trouble in (TROUBLE, TROUBLE.replace("3", "2"), "", "", TROUBLE):
            shown_by.show(progress_of(3), trouble)
    assert file.getvalue().splitlines() == [HEADING, TROUBLE, TROUBLE]


def test_away_from_a_terminal_a_line_every_half_minute_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("nightscribe.views.progress.lease_clock", lambda: now[0])
    file = io.StringIO()
    run_progress = progress_of(3)
    with view(Console(file=file, width=80), HEADING) as shown_by:
        for _ in range(91):
            shown_by.show(run_progress)
            now[0] += 1
    assert len(file.getvalue().splitlines()) == 1 + 3


def test_on_a_terminal_the_view_is_gone_when_the_work_is_over() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True)
    with view(console, HEADING) as shown_by:
        shown_by.show(TALLIES["working"])
    assert "real time" in file.getvalue()
    assert file.getvalue().removesuffix("\x1b[?25h").endswith(ERASE_BELOW)


def test_the_part_of_a_recording_is_shown() -> None:
    run_progress = progress_of(3, working=1)
    run_progress.activities = [run_progress.activities[0].on_part(1, 3)]
    assert any(", part 2 of 3" in line for line in shown(run_progress, 200))
    assert activity("a.mp3").on_part(0, 1).part_of == ""


def test_a_run_transcribes_as_soon_as_a_worker_has_begun() -> None:
    run_progress = progress_of(3)
    assert "transcribing" in state(run_progress, 0.0)
    run_progress.working_since = None
    assert "loading models" in state(run_progress, 0.0)


def test_nothing_is_left_of_the_view_when_the_terminal_becomes_narrower() -> None:
    """It goes up by as many lines as the terminal has made of the old ones."""
    console = Console(width=80, height=40, file=io.StringIO(), force_terminal=True)
    with view(console, HEADING) as live:
        live.show(TALLIES["beginning"])
        assert isinstance(console.file, io.StringIO)
        n_lines = console.file.getvalue().count("\n")
        n_long = sum(len(re.sub(r"\x1b\[[\d;?]*\w", "", line)) > 40 for line in console.file.getvalue().split("\n"))
        assert n_long
        console.width = 40
        console.file = io.StringIO()
        live.show(TALLIES["beginning"])
        assert console.file.getvalue().startswith(f"\x1b[{n_lines + n_long}A")
