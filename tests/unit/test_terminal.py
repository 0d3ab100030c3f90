"""Whatever a recording is called, it steers no terminal, forges no line and turns no writing direction."""

import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
import structlog
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from making import WHEN, activity, failure, recording, run_of, transcript
from rich.console import Console

from nightscribe.cli.main import cli
from nightscribe.director.backlog import Backlog, Missing, Settled
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.scan.scanner import Scan
from nightscribe.log import configure_logging
from nightscribe.report.page import page
from nightscribe.report.report import report
from nightscribe.report.timeline import Sightings
from nightscribe.services.dry_run import Forecast
from nightscribe.services.events import FetchingWeights
from nightscribe.services.request import Request
from nightscribe.services.retry import Retried
from nightscribe.services.run_progress import RunProgress
from nightscribe.services.status import QueuedJob, QueueState, Status
from nightscribe.services.status import Working as Worker
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.activity import Run
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.transcript import Flag
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.terminal import visible
from nightscribe.views import dry_run, progress, status, watch
from nightscribe.views.cli_hints import retry_command
from nightscribe.views.retry import show
from nightscribe.views.summary import summary

CONTROLS = [chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))]
DIRECTIONS = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
FORGED = "Done: 9,999 recordings, all is well."
NASTY = f"a\x1b[2J\x1b]0;title\x07\r\n{FORGED}\x9b31m\u202e3pm.\u2066\x00\x7f\x85\u2028{FORGED}.mp3"
DEST = FolderLocation(Path("/texts\x1b[8m"))
SOURCE = FolderLocation(Path("/sound\x1b[8m\n" + FORGED))


def is_tame(shown: str) -> bool:
    """Return whether nothing in it controls anything, and no line of it is forged."""
    lines = shown.split("\n")  # where a terminal breaks lines, and nowhere else
    return not any(c in line for line in lines for c in (*CONTROLS, *DIRECTIONS, "\u2028")) and not any(
        line.lstrip().startswith(FORGED) for line in lines
    )


def run_progress() -> RunProgress:
    missing = Backlog(Missing(recording(NASTY + str(n)), str(n)) for n in range(3))
    scan = Scan(
        missing=missing,
        being_written=[NASTY],
        failed_before=[failure(NASTY, reason=f"Cannot read {NASTY}.")],
    )
    made = RunProgress(scan, LengthEstimate())
    first, second, _ = missing
    made.settle(Settled(first, transcript(recording=first.recording.path, flags=(Flag.TRUNCATED,))))
    made.settle(Settled(second, failure(second.recording.path, reason=NASTY)))
    return made


def status_of() -> Status:
    queued = QueuedJob(message="m", recordings=(NASTY, NASTY), waiting=True, receive_count=2)
    queue = QueueState(name=NASTY, server=NASTY, n_waiting=1, n_held=0, n_set_aside=0, jobs=(queued,))
    working = Worker(**activity(NASTY, worker=NASTY.replace("\0", "")).model_dump(), silent_s=100.0)
    return Status(
        dest=str(DEST),
        at=WHEN + timedelta(minutes=1),
        trouble=NASTY,
        live=False,
        run=run_of("director", source=NASTY, model=NASTY),
        queue=queue,
        workers=(working,),
        n_done=0,
        n_failed=1,
        failures=(failure(NASTY, reason=NASTY),),
    )


def rendered(show_on: Callable[[Console], object]) -> str:
    """Return what a console without colours would send to its terminal."""
    console = Console(file=io.StringIO(), width=400, color_system=None, legacy_windows=False)
    show_on(console)
    return cast("io.StringIO", console.file).getvalue()


# The function


@given(st.text())
def test_nothing_in_visible_text_controls_anything(text: str) -> None:
    assert is_tame(visible(text)) or text.lstrip().startswith(FORGED)
    assert "\n" not in visible(text)
    assert visible(visible(text)) == visible(text)


LETTERS = ["talk.mp3", "Gespräch №3.mp3", "会議 (2).wav", "שיחה.mp3", "👩\u200d💻 😀.mp3", "a b\\c'd\".mp3"]


@pytest.mark.parametrize("name", LETTERS)
def test_names_of_any_script_stay_as_they_are(name: str) -> None:
    assert visible(name) == name


@pytest.mark.parametrize("character", [*CONTROLS, *DIRECTIONS])
def test_every_control_is_shown_and_not_lost(character: str) -> None:
    shown = visible(f"a{character}b")
    assert shown.startswith("a")
    assert shown.endswith("b")
    assert 3 <= len(shown) <= 8
    assert shown.isprintable()


def test_bytes_that_are_no_text_are_no_controls_either() -> None:
    name = os.fsdecode(b"a\x9b31m.mp3")
    assert visible(name) == "a\\x9b31m.mp3"


# Where people read names


def test_a_summary_cannot_be_forged() -> None:
    said = list(summary(run_progress(), elapsed_s=60, dest=DEST, formats=("txt",), interrupted=True))
    assert len(said) > 8
    assert all(is_tame(line) and "\n" not in line for line in said)


def test_a_dry_run_cannot_be_forged() -> None:
    forecast = Forecast(run_progress(), model="base", engine="faster-whisper", audio_s=60, takes_s=60)
    said = list(dry_run.lines(forecast, Request(SOURCE, DEST, Settings())))
    assert any("␛" in line for line in said)
    assert all(is_tame(line) and "\n" not in line for line in said)


@pytest.mark.parametrize(
    ("audio_s", "takes_s", "said"),
    [
        (0.0, 0.0, "an unknown amount of sound, in less than a minute"),
        (7200.0, 190.0, "about 2 h 00 min of sound, in roughly 3 min"),
        (7200.0, 7200.0, "about 2 h 00 min of sound, in roughly 2 h 00 min"),
    ],
)
def test_a_dry_run_says_no_more_than_is_known(audio_s: float, takes_s: float, said: str) -> None:
    forecast = Forecast(run_progress(), model="base", engine="faster-whisper", audio_s=audio_s, takes_s=takes_s)
    assert f"{said} (base, " in next(iter(dry_run.lines(forecast, Request(SOURCE, DEST, Settings()))))


def test_a_status_cannot_be_forged() -> None:
    for said in (list(status.lines(status_of())), list(status.wrapped(status_of(), 80))):
        assert sum(line.count("␛") for line in said) > 8
        assert all(map(is_tame, said))
    assert all("\n" not in line for line in status.lines(status_of()))
    assert is_tame(rendered(lambda console: console.print(status.render(status_of()))))


def test_the_json_of_a_status_is_exact() -> None:
    said = json.loads(status_of().model_dump_json())
    assert said["failures"][0]["recording"] == NASTY


@pytest.mark.parametrize("is_live", [True, False])
def test_the_view_of_a_run_cannot_be_forged(is_live: bool) -> None:
    made = run_progress()
    made.observe([activity(NASTY + "2")], 1.0)

    def show_on(console: Console) -> None:
        if is_live:
            console.print(progress.render(made, f"nightscribe: {SOURCE}", 2.0, NASTY))
        else:
            with progress.view(console, f"nightscribe: {SOURCE}") as shown:
                shown.show(made, NASTY)

    shown = rendered(show_on)
    assert shown.count("␛") > 4
    assert is_tame(shown)


def test_what_a_run_says_before_it_begins_cannot_be_forged_and_is_no_markup() -> None:
    console = Console(file=io.StringIO(), width=400, force_terminal=True, color_system=None)
    with progress.Display(console=console) as display:
        display.show(FetchingWeights(f"[/red]{NASTY}"))
    shown = cast("io.StringIO", console.file).getvalue()
    assert f"Fetching the weights of [/red]{visible(NASTY)}" in shown


def test_the_line_of_a_watch_cannot_be_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "state", lambda *_: "ok")
    console = Console(file=io.StringIO(), width=400, force_terminal=True, color_system=None)
    monkeypatch.setattr(watch, "Console", lambda **_: console)
    with watch.watch_display("info", f"Watching {SOURCE}") as tell:
        tell(cast("Any", watch.Watching(cast("Any", SimpleNamespace()))))
    assert f"Watching {visible(str(SOURCE))}" in cast("io.StringIO", console.file).getvalue()


def retried(chosen: tuple[Failure, ...], last: Run | None, **changes: Any) -> Retried:
    return Retried(
        dest=DEST, dry_run=False, settings=Settings(), last=last, is_live=False, chosen=chosen, n_kept=0, **changes
    )


def test_what_retry_says_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    last = run_of("director", source=NASTY, host=NASTY)
    show(retried((failure(NASTY, reason=NASTY),), last, unreachable=NASTY, not_enqueued=NASTY), all_meant=True)
    said = capsys.readouterr()
    assert said.out.count("␛") > 1
    assert said.err.count("␛") > 1
    assert is_tame(said.out)
    assert is_tame(said.err)


def test_retry_lists_a_forged_name_on_one_line(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    name = NASTY.replace("\0", "")
    Records(FolderStore(dest)).fail(failure(name, reason=f"It is bad: {name}"))
    said = CliRunner().invoke(cli, ["retry", str(dest), "--dry-run"], prog_name="nightscribe")
    assert said.exit_code == 0, said.output
    assert f"  {visible(name)}: It is bad: {visible(name)}\n" in said.stdout
    assert is_tame(said.stdout)


def test_an_error_that_quotes_a_path_cannot_be_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def bad() -> None:
        raise SetupError(f"Cannot read {NASTY}.")

    monkeypatch.setattr(type(cli), "get_command", lambda *_: bad)
    said = CliRunner().invoke(cli, ["bad"], prog_name="nightscribe")
    assert said.exit_code == 2
    assert said.stderr == f"Error: Cannot read {visible(NASTY)}.\n"


@pytest.mark.parametrize("argument", [f"--{NASTY}", f"--until={NASTY}"])
def test_a_file_called_like_an_option_steers_no_terminal(argument: str) -> None:
    """As `nightscribe run *` may give it."""
    said = CliRunner().invoke(cli, ["run", argument], prog_name="nightscribe")
    assert said.exit_code == 2
    assert is_tame(said.stderr)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def plain_log() -> Iterator[None]:
    """Put the log back as it was."""
    yield
    structlog.reset_defaults()


def test_the_log_of_a_worker_on_a_terminal_cannot_be_forged(plain_log: None) -> None:
    stream = _Terminal()
    configure_logging("info", stream)
    tight = NASTY.replace(" ", "_")  # which is shown without quotation marks
    try:
        raise ValueError(NASTY)
    except ValueError:
        structlog.get_logger().exception("job.failed", recording=tight, why=NASTY, also=[NASTY])
    shown = stream.getvalue()
    for code in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e", "\x85", "\r"):
        assert code not in shown
    assert not any(line.startswith(FORGED.replace(" ", "_")) for line in shown.splitlines())


def test_the_log_in_a_file_is_exact(plain_log: None) -> None:
    stream = io.StringIO()
    configure_logging("info", stream)
    structlog.get_logger().info("job.failed", recording=NASTY)
    assert json.loads(stream.getvalue())["recording"] == NASTY


def test_the_report_shows_no_control_and_turns_no_direction() -> None:
    made = run_progress()
    sightings = Sightings(0.0)
    sightings.observe(9.0, ["a-1"], [activity(NASTY, worker="a-1")], 30)
    html = page(
        report(
            made,
            sightings.drawn(WHEN, 60.0),
            run="1",
            began_at=WHEN,
            ended_at=WHEN + timedelta(minutes=1),
            elapsed_s=60.0,
            interrupted=True,
            stopped=NASTY,
            source=SOURCE,
            dest=DEST,
            settings=Settings(),
            engine="faster-whisper",
            redo=False,
        )
    )
    assert html.count("␛") > 4
    assert not [c for c in (*CONTROLS, *DIRECTIONS, "\u2028") if c != "\n" and c in html]
    assert FORGED not in html.splitlines()


# Commands to be typed


def test_a_command_that_is_shown_is_safe_to_read_and_right_when_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "it's\\a\x1b[2J\n\u202eb\x9b1"
    shown = retry_command(FolderLocation(folder))
    assert is_tame(shown)
    assert "\n" not in shown
    argument = shown.partition(" retry ")[2]
    done = subprocess.run(["bash", "-c", f"printf %s {argument}"], capture_output=True, check=True)
    assert done.stdout == os.fsencode(folder)
