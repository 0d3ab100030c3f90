"""`nightscribe run`, from recordings to transcripts."""

import contextlib
import json
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import srt
from support import recordings
from support.command import COMMAND, clean, environment_of, run_command, texts
from support.recordings import three as three_recordings
from support.waiting import wait_until

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Finished:
    """A source, what `run` made of it, and what it said."""

    source: Path
    dest: Path
    said: str


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory, weights: Path, speech: Path) -> Finished:
    """Three recordings, done; not to be written to."""
    folder = tmp_path_factory.mktemp("first run")
    source, dest = three_recordings(folder, speech), folder / "dest"
    with pytest.MonkeyPatch.context() as patch:
        clean(patch)
        done = run_command(environment_of(weights), "run", source, dest)
    assert done.returncode == 0, done.stderr
    return Finished(source, dest, done.stdout)


@pytest.fixture
def finished(first_run: Finished, tmp_path: Path) -> Finished:
    """Three recordings, done, to go on from."""
    shutil.copytree(first_run.source, tmp_path / "source")
    shutil.copytree(first_run.dest, tmp_path / "dest")
    return Finished(tmp_path / "source", tmp_path / "dest", first_run.said)


def test_three_recordings_become_nine_files(finished: Finished) -> None:
    assert "Done: 3 recordings" in finished.said
    assert set(texts(finished.dest)) == {
        f"{stem}.{fmt}" for stem in ("first", "2012/second", "2012/third") for fmt in ("txt", "vtt", "srt")
    }
    assert "it was the best of times" in (finished.dest / "first.txt").read_text().lower()
    assert list(srt.parse((finished.dest / "first.srt").read_text()))
    assert not (finished.dest / ".nightscribe/parts").exists()


def test_a_recording_with_the_ends_of_one_that_is_gone_is_transcribed(
    nightscribe: Command, speech: Path, tmp_path: Path
) -> None:
    """Their sizes, first and last 64 KiB are the same. The other one is a rename, and reads its file once."""
    source, dest, other = tmp_path / "source", tmp_path / "dest", tmp_path / "other.wav"
    source.mkdir()
    for start_s, path in ((0, source / "a.wav"), (4, other)):
        clip = recordings.cut(speech, tmp_path / "clip.wav", start_s, 3, "-ar", "16000")
        recordings.with_silent_ends(clip, path)
    assert "Done: 1 recording" in nightscribe("run", source, dest).stdout
    kept = (source / "a.wav").rename(tmp_path / "kept.wav")
    other.rename(source / "b.wav")
    again = nightscribe("run", source, dest)
    assert "Done: 1 recording" in again.stdout, again.stdout + again.stderr
    assert (dest / "a.txt").read_text() != (dest / "b.txt").read_text()
    kept.rename(source / "c.wav")
    before = (dest / "a.txt").read_text()
    assert "Nothing to do" in nightscribe("run", source, dest).stdout
    assert (dest / "c.txt").read_text() == before


def test_a_rerun_does_only_what_is_missing(nightscribe: Command, finished: Finished) -> None:
    source, dest = finished.source, finished.dest
    before = texts(dest)
    report = (dest / ".nightscribe/report.json").read_bytes()
    again = nightscribe("run", source, dest)
    assert again.returncode == 0
    assert "Last report: " in again.stdout
    assert (dest / ".nightscribe/report.json").read_bytes() == report
    assert "Nothing to do: every recording has its transcript." in again.stdout
    assert texts(dest) == before

    (dest / "first.srt").unlink()
    (dest / "2012/third.txt").unlink()
    recordings.cut(source / "first.mp3", source / "fourth.flac", 0, 3)
    added = nightscribe("run", source, dest)
    assert "Done: 1 recording," in added.stdout
    assert "3 recordings already done" in added.stdout
    assert "2 missing text files written again" in added.stdout
    assert {name: text for name, text in texts(dest).items() if "fourth" not in name} == before


def test_bad_recordings_are_named_and_cost_the_others_nothing(
    nightscribe: Command, speech: Path, tmp_path: Path
) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    names = ["a.mp3", "a.wav", "-dash.mp3", 'it\'s "quoted" $(touch x) %20 🌙.mp3', "n" * 246 + ".mp3", "no_extension"]
    good = recordings.cut(speech, source / "clip.mp3", 0, 3)
    for name in names:
        (source / name).write_bytes(good.read_bytes())
    recordings.cut(speech, source / "blip.wav", 1, 0.01)
    recordings.silence(source / "silence.mp3", 20)
    (source / "zero.mp3").touch()
    recordings.text_named_mp3(source / "text.mp3")
    recordings.jpeg_named_mp3(source / "picture.mp3")
    recordings.video_without_sound(source / "mute.mp4")
    recordings.header_only_wav(source / "header.wav")
    recordings.truncated_wav(source / "truncated.wav")
    whole = recordings.cut(speech, tmp_path / "whole.m4a", 0, 8).read_bytes()
    (source / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    (source / "notes.txt").write_text("not a recording")

    done = nightscribe("run", source, dest)

    assert done.returncode == 1
    failures = {"zero.mp3", "text.mp3", "picture.mp3", "mute.mp4", "header.wav", "cut.m4a"}
    assert {line.split(":")[0].strip() for line in done.stdout.splitlines() if line.startswith("  ")} >= failures
    assert f"Failed: {len(failures)} recordings." in done.stdout
    for said in ("It is empty (0 bytes).", "It holds text, not sound.", "a JPEG picture", "no audio track"):
        assert said in done.stdout
    for name in [*names[2:5], "clip.mp3"]:
        assert "best of times" in (dest / name.removesuffix(".mp3")).with_name(name[:-4] + ".txt").read_text().lower()
    assert (dest / "a.mp3.txt").read_text() == (dest / "a.wav.txt").read_text()
    assert (dest / "no_extension.txt").read_text()
    assert (dest / "silence.txt").read_text() == ""
    assert (dest / "silence.vtt").read_text() == "WEBVTT\n\n"
    assert "silence.mp3: no speech" in done.stdout
    assert "truncated.wav: no speech, truncated" in done.stdout  # it is a tone
    assert "cut.m4a: It was cut off" in done.stdout
    assert not (dest / "notes.srt").exists()

    page = dest / "report.html"
    assert done.stdout.splitlines()[-1] == f"Report: {page}"
    assert f"nightscribe retry {dest}" in page.read_text()
    report = json.loads((dest / ".nightscribe/report.json").read_text())
    assert {failed["recording"] for failed in report["failures"]} == failures
    assert {"truncated.wav", "silence.mp3"} <= {each["recording"] for each in report["suspicious"]}
    assert all((dest / each["text"]).exists() for each in report["suspicious"])
    assert report["time_line"]["lanes"]
    assert len(report["recordings"]) == report["totals"]["done"]
    assert all((dest / each["text"]).exists() for each in report["recordings"])

    seen = nightscribe("status", dest)
    assert seen.returncode == 1
    assert "6 failed" in seen.stdout
    assert "zero.mp3: It is empty (0 bytes)." in seen.stdout
    requeue = nightscribe("retry", dest, "--reason", "is empty")
    assert requeue.stdout.startswith("Will retry 1 recording.\n  zero.mp3: It is empty (0 bytes).\n")
    again = nightscribe(*shlex.split(requeue.stdout.splitlines()[-1])[1:])
    assert "  zero.mp3: It is empty (0 bytes)." in again.stdout
    assert "5 of these failed in an earlier run" in again.stdout


def test_a_run_that_is_interrupted_and_one_that_is_killed_leave_nothing_half_done_and_are_gone_on_with(
    nightscribe: Command, environment: dict[str, str], speech: Path, tmp_path: Path
) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    n = 24  # so many that one is left even if this process stands still for a while
    for number in range(n):
        recordings.cut(speech, source / f"{number}.wav", number, 12)
    done: dict[Path, int] = {}
    for how in (signal.SIGINT, signal.SIGKILL):
        # One window at a time, or all would be done at once.
        process = subprocess.Popen(
            [*COMMAND, "run", str(source), str(dest), "--workers", "1", "--batch-size", "1"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            # Whoever runs the tests in the background has its children ignore Ctrl-C, and a run goes on ignoring it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        wait_until(lambda before=done: finished_in(dest) != before, timeout_s=120, what="one more transcript")
        children = psutil.Process(process.pid).children(recursive=True)
        # It sees nothing of what its worker finishes from here on.
        process.send_signal(signal.SIGSTOP)
        seen = finished_in(dest)
        wait_until(lambda before=seen: finished_in(dest) != before, timeout_s=120, what="one more transcript")
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=120)
        if how != signal.SIGKILL:
            left = n - len(finished_in(dest))
            assert process.returncode == 130
            assert f"Interrupted: {left} recording" in said
            assert "Run the same command again to continue." in said
            assert (counted(dest).left, counted(dest).interrupted) == (left, True)
        # Even then: no worker and no server outlives its run.
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive
        assert done.items() < finished_in(dest).items()
        done = finished_in(dest)
        assert len(done) < n

    again = nightscribe("run", source, dest)

    assert again.returncode == 0, again.stderr
    assert f"Done: {n - len(done)} recording" in again.stdout
    assert done.items() < finished_in(dest).items()
    assert len(texts(dest)) == 3 * n
    assert not list(dest.rglob("*.tmp"))


def test_a_run_that_is_told_to_end_when_all_is_done_was_no_interruption(
    environment: dict[str, str], three: Path, tmp_path: Path
) -> None:
    """What its workers have finished since it last looked counts as well."""
    dest = tmp_path / "dest"
    with subprocess.Popen(
        [*COMMAND, "run", str(three), str(dest)], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(lambda: [*dest.glob(".nightscribe/jobs/*.json")], timeout_s=120, what="a job in hand")
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: len(finished_in(dest)) == 3, timeout_s=120, what="the last transcript")
        finally:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=120)
    assert "Done: 3 recordings" in said
    assert "Interrupted" not in said
    assert process.returncode == 0
    assert counted(dest) == Counted(left=0, interrupted=False)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, with hardly more room than a run wants to begin."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk of its own can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_while_workers_start_is_told_and_waited_for(
    environment: dict[str, str], three: Path, small_disk: Path
) -> None:
    """They end at once then, without a word: their logs are on the same disk."""
    command = [*COMMAND, "run", str(three), str(small_disk)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        try:
            wait_until((small_disk / ".nightscribe/logs/run.log").exists, timeout_s=120, what="the run to begin")
            process.send_signal(signal.SIGSTOP)
            fill(small_disk)
            process.send_signal(signal.SIGCONT)
            told = f"DEST {str(small_disk)!r} has only 0 MB free: make room; what cannot be written is tried again"
            assert any(line.startswith(told) for line in iter(process.stderr.readline, ""))
        finally:
            (small_disk / "filling").unlink(missing_ok=True)
            process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=240)
    assert "Done: 3 recordings" in said
    assert process.returncode == 0


def fill(disk: Path) -> Path:
    """Leave no room on a disk; what takes it up is in the file that is given."""
    path = disk / "filling"
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(bytes(2**16)):
            pass
    return path


class Counted(NamedTuple):
    """What is kept of how a run ended."""

    left: int
    interrupted: bool


def counted(dest: Path) -> Counted:
    """That of the last run, on which its report and what it says of itself agree."""
    report, run = (json.loads((dest / f".nightscribe/{name}.json").read_text()) for name in ("report", "run"))
    found = Counted(report["totals"]["left"], report["interrupted"])
    assert found == Counted(run["n_total"] - run["n_done"] - run["n_failed"], run["interrupted"])
    return found


def finished_in(dest: Path) -> dict[Path, int]:
    """The transcripts that are there, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in dest.glob(".nightscribe/transcripts/**/*.json")}


def test_redo_does_finished_recordings_again(nightscribe: Command, finished: Finished) -> None:
    dest = finished.dest
    redone = nightscribe("run", finished.source, dest, "--redo", "--formats", "txt,json", "--engine", "openai-whisper")
    assert redone.returncode == 0, redone.stderr
    assert "Done: 3 recordings" in redone.stdout
    record = json.loads((dest / "first.json").read_text())
    assert record["engine"].startswith("openai-whisper ")
    assert record["segments"]
    assert "best of times" in (dest / "first.txt").read_text().lower()


def test_dry_run_says_what_would_be_done_and_changes_nothing(nightscribe: Command, three: Path, tmp_path: Path) -> None:
    said = nightscribe("run", three, tmp_path / "dest", "--dry-run")
    assert said.returncode == 0
    assert said.stdout.startswith("Would transcribe 3 recordings, about 15 s of sound, in less than a minute (tiny.en,")
    assert "first.mp3 (about 6.0 s)" in said.stdout
    assert not (tmp_path / "dest").exists()


def test_the_destination_may_lie_in_the_source_or_be_it(nightscribe: Command, three: Path) -> None:
    assert "Done: 3 recordings" in nightscribe("run", three, three / "transcripts", "--formats", "txt").stdout
    assert "Nothing to do" in nightscribe("run", three, three / "transcripts", "--formats", "txt").stdout
    (three / "first.txt").write_text("my own notes")
    assert "Done: 3 recordings" in nightscribe("run", three, three, "--formats", "txt").stdout
    assert (three / "first.txt").read_text() == "my own notes"
    assert "times" in (three / "first.mp3.txt").read_text()


def test_a_renamed_recording_keeps_its_transcript(nightscribe: Command, finished: Finished) -> None:
    source, dest = finished.source, finished.dest
    said = (dest / "first.txt").read_text()
    (source / "first.mp3").rename(source / "2012" / "premier.mp3")
    again = nightscribe("run", source, dest)
    assert "1 transcript followed a renamed recording" in again.stdout
    assert (dest / "2012/premier.txt").read_text() == said
    assert not (dest / "first.txt").exists()


def test_a_second_run_into_the_same_destination_is_refused_and_the_first_can_be_watched_to_its_end(
    nightscribe: Command, environment: dict[str, str], three: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "dest"
    with subprocess.Popen(
        [*COMMAND, "run", str(three), str(dest)], env=environment, stdout=subprocess.DEVNULL
    ) as first:
        wait_until((dest / ".nightscribe/logs/queue.log").exists, timeout_s=120, what="the first run")
        watch = [*COMMAND, "status", str(dest), "--watch", "--json"]
        watching = subprocess.Popen(watch, env=environment, stdout=subprocess.PIPE, text=True)
        # It stands still meanwhile, or it could be over before the second has begun.
        first.send_signal(signal.SIGSTOP)
        try:
            second = nightscribe("run", three, dest)
        finally:
            first.send_signal(signal.SIGCONT)
        assert second.returncode == 2
        assert "Another nightscribe run is using" in second.stderr
        assert first.wait(120) == 0
        looks = [json.loads(line) for line in watching.communicate(timeout=120)[0].splitlines()]
    assert watching.returncode == 0
    assert (looks[-1]["n_done"], looks[-1]["run"]["n_done"], looks[-1]["live"]) == (3, 3, False)
    assert looks[-1]["run"]["ended_at"]


def test_a_file_that_is_being_written_is_left_and_said_so(nightscribe: Command, finished: Finished) -> None:
    growing = finished.source / "growing.mp3"
    writer = subprocess.Popen(["sh", "-c", 'while :; do printf x >> "$0"; sleep 0.05; done', str(growing)])
    try:
        wait_until(growing.exists, what="the growing file")
        # So long that a machine which stands still for a moment does not make it look finished.
        done = nightscribe("run", finished.source, finished.dest, NIGHTSCRIBE_SETTLE_S="6")
    finally:
        writer.kill()
        writer.wait()
    assert done.returncode == 0
    assert "Left for the next run, still being written: 1 recording." in done.stdout
    assert "  growing.mp3" in done.stdout
    assert "3 recordings already done" in done.stdout
    assert not list(finished.dest.glob("growing.*"))


def test_an_empty_source_is_said_to_be_empty(nightscribe: Command, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    done = nightscribe("run", tmp_path / "source", tmp_path / "dest")
    assert done.returncode == 0
    assert "No recordings were found" in done.stdout
    logs = tmp_path / "dest/.nightscribe/logs"
    assert not [path.name for path in logs.iterdir() if path.name != "run.log"], "nothing was started for that"
