"""`nightscribe director --watch` as a user starts it, sees it and ends it."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support import recordings
from support.command import COMMAND, texts
from support.waiting import wait_until

Command = Callable[..., "subprocess.CompletedProcess[str]"]
END_WITHIN_S = 60

pytestmark = pytest.mark.parametrize("sqs_server", ["ministack"], indirect=True)


class Watching:
    """A director that watches, and what it has said so far."""

    def __init__(self, environment: dict[str, str], source: Path, dest: Path, folder: Path, **more: Any) -> None:
        self._out, self._log = folder / "out.log", folder / "err.log"
        command = [*COMMAND, "director", str(source), str(dest), "--watch"]
        with self._out.open("wb") as out, self._log.open("wb") as err:
            self.popen = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                # A shell that starts the tests in the background has it ignored, and so would all below it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
                **({"stdout": out, "stderr": err} | more),
            )

    @property
    def events(self) -> list[dict[str, Any]]:
        """What is in its log; the line that is being written is left out."""
        lines = self._log.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def says(self, event: str, times: int = 1) -> None:
        """Wait for an event."""

        def has_said() -> bool:
            assert self.popen.poll() is None, self._log.read_text()
            return sum(each["event"] == event for each in self.events) >= times

        wait_until(has_said, what=f"{event} for the {times}. time")

    def ends(self, number: int) -> tuple[int, str]:
        """Of a signal: with which exit code, and what it says."""
        self.popen.send_signal(number)
        return self.popen.wait(END_WITHIN_S), self._out.read_text()


@pytest.fixture
def environment(environment: dict[str, str], sqs_environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """With a queue of its own, and looks that follow each other at once."""
    queue = {"NIGHTSCRIBE_QUEUE_NAME": f"{tmp_path.name[-60:]}.fifo", "NIGHTSCRIBE_POLL_S": "0.5"}
    return environment | sqs_environment | queue


@pytest.fixture
def watching(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    """Starts one."""
    started: list[Watching] = []

    def start(source: Path, dest: Path, **more: Any) -> Watching:
        started.append(Watching(environment, source, dest, tmp_path, **more))
        return started[-1]

    yield start
    for each in started:
        each.popen.kill()
        each.popen.wait()


def test_a_director_watches_for_a_night(
    nightscribe: Command, watching: Callable[..., Watching], three: Path, tmp_path: Path
) -> None:
    """It queues what is there and what comes, sees it done, queues what is put back, and ends when it is told to."""
    dest = tmp_path / "dest"
    director = watching(three, dest)
    director.says("jobs.queued")
    recordings.text_named_mp3(three / "diary.mp3")
    director.says("jobs.queued", 2)
    run = dest / ".nightscribe" / "run.json"
    wait_until(lambda: json.loads(run.read_bytes())["n_total"] == 4, what="it to be written down")
    said = nightscribe("status", dest, "--json")
    status = json.loads(said.stdout)
    assert (status["live"], status["run"]["watch"], status["run"]["n_total"]) == (True, True, 4)
    assert nightscribe("worker", three, dest, "--until-empty").returncode == 0
    director.says("recording.failed")
    wait_until(lambda: sum(each.get("done", 0) for each in director.events) == 3, what="the others to be done")
    assert "A watching director is active" in nightscribe("status", dest).stdout

    requeue = nightscribe("retry", dest)
    assert "will queue them at its next scan" in requeue.stdout
    assert "nightscribe director" not in requeue.stdout
    director.says("recordings.arrived", 3)
    director.says("jobs.queued", 3)
    code, said_last = director.ends(signal.SIGTERM)
    assert code == 0
    assert "Left: 1 recording queued" in said_last
    assert len(texts(dest)) == 9
    assert not (dest / ".nightscribe" / "report.json").exists()


def test_a_director_that_was_killed_is_followed_by_one_that_misses_nothing(
    watching: Callable[..., Watching], three: Path, tmp_path: Path
) -> None:
    """What the first had queued, and what came while none was there; Ctrl-C is an end as well."""
    first = watching(three, tmp_path / "dest")
    first.says("jobs.queued")
    first.popen.kill()
    first.popen.wait()
    recordings.silence(three / "later.wav", 1)
    second = watching(three, tmp_path / "dest")
    second.says("jobs.queued")
    code, said = second.ends(signal.SIGINT)
    assert code == 130
    assert said == "Stopped watching. Left: 4 recordings queued, which workers will finish.\n"


def test_on_a_terminal_a_line_tells_how_things_stand(
    watching: Callable[..., Watching], three: Path, tmp_path: Path
) -> None:
    """Below what is logged, which is readable there."""
    ours, theirs = pty.openpty()
    shown = b""
    os.set_blocking(ours, False)

    def has_shown(*words: bytes) -> bool:
        nonlocal shown
        with suppress(BlockingIOError):
            shown += os.read(ours, 65536)
        return all(word in shown for word in words)

    director = watching(three, tmp_path / "dest", stderr=theirs)
    wait_until(lambda: has_shown(b"jobs.queued", b"3 recordings", b"3 queued", b"next scan at "), what="the line")
    assert b'"event"' not in shown
    assert director.ends(signal.SIGTERM)[0] == 0
    os.close(theirs)
    os.close(ours)
