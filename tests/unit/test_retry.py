"""Failures are put back: which of them, what the user is told, and what they are to type next."""

import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from making import WHEN, failure, run_of, transcript
from support.surface import command_named

from nightscribe.cli.main import cli
from nightscribe.services.requested_settings import Command, asked
from nightscribe.services.retry import _asked, matches
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.settings import load_settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.views.cli_hints import run_again

MEMORY = "It was begun 3 times and never finished: perhaps for lack of memory."


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """A destination of a run in which three recordings failed."""
    records = Records(FolderStore(tmp_path))
    for failed in (
        failure("2012/interview.mp3"),
        failure("2012/talk.mp3", reason=MEMORY),
        failure("2013/Talk [1].mp3", reason="It is empty (0 bytes)."),
    ):
        records.fail(failed)
    records.put_run(run_of(ended_at=WHEN))
    return records


def call(dest: Path, *options: str) -> Result:
    result = CliRunner().invoke(cli, ["retry", str(dest), *options])
    assert result.exit_code == 0, result.output
    return result


def left(records: Records) -> list[str]:
    return [each.recording for each in records.failures()]


# Which


@pytest.mark.parametrize(
    ("names", "reasons", "meant"),
    [
        ((), (), True),
        (("2012/*",), (), True),
        (("*.mp3",), (), True),
        (("TALK",), (), True),
        (("talk.mp?",), (), False),
        (("*/talk.mp?",), (), True),
        (("2013", "2012"), (), True),
        (("2013",), (), False),
        ((), ("MEMORY",), True),
        ((), ("empty", "memory"), True),
        ((), ("empty",), False),
        (("2012/*",), ("empty",), False),
    ],
)
def test_failures_are_chosen_by_name_and_by_reason(
    names: tuple[str, ...], reasons: tuple[str, ...], meant: bool
) -> None:
    failed: Failure = failure("2012/Talk.mp3", reason=MEMORY)
    assert matches(failed, names, reasons) is meant


def test_a_name_with_brackets_can_be_typed_as_it_is() -> None:
    assert matches(failure("2013/Talk [1].mp3"), ("talk [1].mp3",), ())


# What happens


def test_what_could_not_be_read_need_not_be_put_back(records: Records, tmp_path: Path) -> None:
    records.put_run(run_of(ended_at=WHEN, n_unreadable=2))
    told = "Every run tries unreadable files again: 2 recordings."
    assert told in call(tmp_path, "--dry-run").stdout
    assert told not in call(tmp_path, "--name", "talk").stdout


def test_all_are_put_back_and_named_with_their_reasons(records: Records, tmp_path: Path) -> None:
    said = call(tmp_path).stdout.splitlines()
    assert said[:4] == [
        "Will retry 3 recordings.",
        "  2012/interview.mp3: It holds text, not sound.",
        f"  2012/talk.mp3: {MEMORY}",
        "  2013/Talk [1].mp3: It is empty (0 bytes).",
    ]
    assert left(records) == []
    assert call(tmp_path).stdout == "Nothing to retry: no failed recording matches.\n"


def test_those_that_are_not_meant_stay(records: Records, tmp_path: Path) -> None:
    call(tmp_path, "--name", "2012/*", "--reason", "memory")
    assert left(records) == ["2012/interview.mp3", "2013/Talk [1].mp3"]


def test_a_dry_run_lists_and_changes_nothing(records: Records, tmp_path: Path) -> None:
    said = call(tmp_path, "--dry-run").stdout
    assert said.startswith("Would retry 3 recordings.\n  2012/interview.mp3: ")
    assert "type" not in said
    assert len(left(records)) == 3


def test_many_are_listed_as_far_as_a_person_reads(records: Records, tmp_path: Path) -> None:
    for number in range(40):
        records.fail(failure(f"more/{number}.mp3"))
    said = call(tmp_path).stdout
    assert "Will retry 43 recordings." in said
    assert "  … and 23 more\n" in said
    assert left(records) == []


def test_an_interruption_in_the_middle_loses_nothing(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put back is missing, and the others are still known to have failed."""
    forgive = Records.forgive

    def interrupted(self: Records, recording: str) -> None:
        if recording.startswith("2012/talk"):
            raise KeyboardInterrupt
        forgive(self, recording)

    with monkeypatch.context() as patched:
        patched.setattr(Records, "forgive", interrupted)
        assert CliRunner().invoke(cli, ["retry", str(tmp_path)]).exit_code == 130
    assert left(records) == ["2012/talk.mp3", "2013/Talk [1].mp3"]
    call(tmp_path)
    assert left(records) == []


# What comes next


def test_the_command_to_type_is_that_of_the_run(records: Records, tmp_path: Path) -> None:
    settings = load_settings(model="small", language="de", formats="txt,json", word_timestamps=True, line_chars=42)
    records.put_run(run_of(source="/my recordings", asked=asked("run", settings)))
    options = "--model small --language de --formats txt,json --word-timestamps"
    assert call(tmp_path).stdout.endswith(f"nightscribe run '/my recordings' {tmp_path} {options}\n")


def test_the_command_to_type_is_understood(tmp_path: Path) -> None:
    """Every option that it may have is one of the command's."""
    settings = load_settings(model="small", language="de", queue_name="mine.fifo", word_timestamps=True, workers=97)
    commands: tuple[Command, ...] = ("run", "director")
    for command in commands:
        words = shlex.split(run_again(command, "/my recordings", FolderLocation(tmp_path), asked(command, settings)))
        above = click.Context(cli, **cli.context_settings)
        context = command_named(command).make_context(command, words[2:], parent=above)
        assert context.params["model"] == "small"
        assert context.params["word_timestamps"] is True
        words = context.params["words"] if command == "run" else [str(context.params["source"])]
        assert words[0] == "/my recordings"
        assert context.params.get("queue_name") == ("mine.fifo" if command == "director" else None)
        assert context.params.get("workers") == ("97" if command == "run" else None)


def test_a_run_at_work_is_said_not_to_look_again(records: Records, tmp_path: Path) -> None:
    records.put_run(run_of(updated_at=utc_now()))
    assert "The run in progress will not retry them. When it has ended, type:" in call(tmp_path).stdout


def test_where_no_run_has_said_anything_the_next_one_does_them(records: Records, tmp_path: Path) -> None:
    records.store.delete(".nightscribe/run.json")
    result = call(tmp_path)
    assert "the next `nightscribe run` or `nightscribe director` retries them" in result.stdout
    assert left(records) == []


def test_what_failed_in_a_redo_keeps_its_transcript_and_is_not_said_to_be_missing(
    records: Records, tmp_path: Path
) -> None:
    """Without --redo it counts as finished."""
    records.finish(transcript(recording="2012/talk.mp3", stem="2012/talk"), ())
    records.finish(transcript(recording="2012/interview.mp3", stem="2012/interview", fingerprint="another"), ())
    only = call(tmp_path, "--name", "2012/talk").stdout.splitlines()
    assert only[-1] == (
        "Of these, 1 recording keeps its earlier transcript: only --redo transcribes it again, with all finished ones."
    )
    records.fail(failure("2012/talk.mp3"))
    said = call(tmp_path).stdout
    assert "Of these, 1 recording keeps its earlier transcript" in said
    assert "The others count as missing again. To transcribe them, type:" in said


def test_a_setting_of_an_earlier_run_may_have_its_former_name() -> None:
    assert _asked(run_of(asked={"window": 7, "model": "small"})) == {"max_queued_jobs": 7, "model": "small"}


@pytest.mark.parametrize(
    "asked_for", [{"NIGHTSCRIBE_MODEL": "small"}, {"of_a_newer_version": True, "model": "tiny.en"}]
)
def test_a_setting_that_this_version_does_not_know_is_left_out(
    records: Records, tmp_path: Path, asked_for: dict[str, str | int | bool | tuple[str, ...]]
) -> None:
    records.put_run(run_of(asked=asked_for))
    assert "nightscribe run /recordings" in call(tmp_path).stdout


def test_where_no_queue_is_named_none_is_looked_for(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked for Amazon's."""
    monkeypatch.setattr(
        "nightscribe.services.queue_discovery.connect", lambda *_, **__: pytest.fail("a queue was looked for")
    )
    records.store.delete(".nightscribe/run.json")
    assert call(tmp_path).stderr == ""


def test_a_fleet_whose_queue_is_not_reached_is_told_what_to_type(records: Records, tmp_path: Path) -> None:
    """They are put back all the same."""
    records.put_run(run_of("director", source=str(tmp_path)))
    result = call(tmp_path)
    assert "The dead-letter queue cannot be read: " in result.stderr
    assert result.stdout.splitlines()[-1].endswith(f"nightscribe director {tmp_path} {tmp_path}")
    assert left(records) == []
