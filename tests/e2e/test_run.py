"""`nightscribe run`, from recordings to transcripts."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import srt
from support import recordings
from support.command import COMMAND, texts
from support.waiting import wait_until

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_three_recordings_become_nine_files_and_a_rerun_does_nothing(
    nightscribe: Command, three: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "dest"
    first = nightscribe("run", three, dest)
    assert first.returncode == 0, first.stderr
    assert "Done: 3 recordings" in first.stdout
    assert set(texts(dest)) == {
        f"{stem}.{fmt}" for stem in ("first", "2012/second", "2012/third") for fmt in ("txt", "vtt", "srt")
    }
    assert "it was the best of times" in (dest / "first.txt").read_text().lower()
    assert list(srt.parse((dest / "first.srt").read_text()))

    before = texts(dest)
    again = nightscribe("run", three, dest)
    assert again.returncode == 0
    assert "Nothing to do: every recording has its transcript." in again.stdout
    assert texts(dest) == before
    assert not (dest / ".nightscribe/parts").exists()

    (dest / "first.srt").unlink()
    (dest / "2012/third.txt").unlink()
    rewritten = nightscribe("run", three, dest)
    assert "2 missing text files written again" in rewritten.stdout
    assert texts(dest).keys() == before.keys()

    recordings.cut(three / "first.mp3", three / "fourth.flac", 0, 3)
    added = nightscribe("run", three, dest)
    assert "Done: 1 recording," in added.stdout
    assert "3 recordings already done" in added.stdout


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
    assert "6 of these failed in an earlier run" in nightscribe("run", source, dest).stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_half_done_and_is_gone_on_with(
    how: signal.Signals, nightscribe: Command, environment: dict[str, str], speech: Path, tmp_path: Path
) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    for number in range(10):
        recordings.cut(speech, source / f"{number}.wav", number, 20)
    # One window at a time, or all would be done at once.
    command = [*COMMAND, "run", str(source), str(dest), "--workers", "1", "--batch-size", "1"]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has its children ignore Ctrl-C, and a run goes on ignoring it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    wait_until(lambda: list(dest.glob("*.srt")), timeout_s=60, what="the first transcript")
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    said, _ = process.communicate(timeout=30)
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert "Interrupted:" in said
        assert "Run the same command again to go on." in said
    # Even then: no worker and no server outlives its run.
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    finished = {path: path.stat().st_mtime_ns for path in dest.rglob("transcripts/*.json")}
    assert 0 < len(finished) < 10

    again = nightscribe("run", source, dest)

    assert again.returncode == 0, again.stderr
    assert f"Done: {10 - len(finished)} recording" in again.stdout
    assert all(path.stat().st_mtime_ns == mtime for path, mtime in finished.items())
    assert len(texts(dest)) == 30
    assert not list(dest.rglob("*.tmp"))


def test_redo_does_finished_recordings_again(nightscribe: Command, three: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    assert nightscribe("run", three, dest).returncode == 0
    redone = nightscribe("run", three, dest, "--redo", "--formats", "txt,json", "--engine", "openai-whisper")
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


def test_a_renamed_recording_keeps_its_transcript(nightscribe: Command, three: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    nightscribe("run", three, dest)
    said = (dest / "first.txt").read_text()
    (three / "first.mp3").rename(three / "2012" / "premier.mp3")
    again = nightscribe("run", three, dest)
    assert "1 transcript followed a renamed recording" in again.stdout
    assert (dest / "2012/premier.txt").read_text() == said
    assert not (dest / "first.txt").exists()


def test_a_second_run_into_the_same_destination_is_refused(
    nightscribe: Command, environment: dict[str, str], three: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "dest"
    with subprocess.Popen(
        [*COMMAND, "run", str(three), str(dest)], env=environment, stdout=subprocess.DEVNULL
    ) as first:
        wait_until((dest / ".nightscribe/logs/queue.log").exists, timeout_s=30, what="the first run")
        second = nightscribe("run", three, dest)
        assert second.returncode == 2
        assert "Another nightscribe run is at work" in second.stderr
        assert first.wait(60) == 0


def test_a_file_that_is_being_written_is_left_and_said_so(nightscribe: Command, three: Path, tmp_path: Path) -> None:
    growing = three / "growing.mp3"
    writer = subprocess.Popen(["sh", "-c", 'while :; do printf x >> "$0"; sleep 0.05; done', str(growing)])
    try:
        wait_until(growing.exists, what="the growing file")
        done = nightscribe("run", three, tmp_path / "dest", NIGHTSCRIBE_SETTLE_S="1")
    finally:
        writer.kill()
        writer.wait()
    assert done.returncode == 0
    assert "Left for the next run, still being written: 1 recording." in done.stdout
    assert "  growing.mp3" in done.stdout
    assert "Done: 3 recordings" in done.stdout


def test_an_empty_source_is_said_to_be_empty(nightscribe: Command, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    began = time.monotonic()
    done = nightscribe("run", tmp_path / "source", tmp_path / "dest")
    assert done.returncode == 0
    assert "No recordings were found" in done.stdout
    assert time.monotonic() - began < 30
