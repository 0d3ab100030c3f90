"""The sign of life of a real worker process: there while it works or waits, gone when it is frozen or stuck."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.command import COMMAND
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, WrappedStore

from nightscribe.cli.watchdog import EXIT_CODE
from nightscribe.shared.process.liveness import VARIABLE, why_dead
from nightscribe.shared.settings import to_environment
from nightscribe.shared.storage.folder.store import FolderStore

SOON_S = 3.0  # after which one is thought dead here; a process that goes on says so every second or two
START_TIMEOUT_S = 120.0

# `nightscribe worker` whose engine needs no weights, and does not come back if it is told so.
WORKER = """
import os, threading
from support.workplace import Dictated
from nightscribe.cli.main import main
from nightscribe.services import work
from nightscribe.worker.pipeline.transcriber import Transcriber

def before():
    print("the engine is asked", flush=True)
    if "STUCK" in os.environ:
        threading.Event().wait()

class Models:
    def __init__(self, *_, **__): pass
    def load(self, _): return None
    def transcriber(self, _): return Transcriber(Dictated(before))
    def diarizer(self): return None

work.Models = Models
main()
"""


@pytest.fixture
def pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "pulse"))
    return tmp_path / "pulse"


@pytest.fixture
def start(workplace: Workplace, pulse: Path, tmp_path: Path) -> Iterator[Callable[..., psutil.Process]]:
    """Starts a worker of the workplace, whose sign of life is this test's; it does not outlive the test."""
    settings = workplace.settings.model_copy(update={"queue_name": workplace.queue.name})
    started: list[psutil.Popen] = []

    def start(command: str = "worker", **more: str) -> psutil.Process:
        with (tmp_path / "said").open("wb") as said:
            started.append(
                psutil.Popen(
                    [sys.executable, "-P", "-c", WORKER, command, str(workplace.source), str(workplace.dest)],
                    env=os.environ | to_environment(settings) | {"PYTHONPATH": os.pathsep.join(sys.path)} | more,
                    stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                )
            )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait()


def health(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, "health", *options], capture_output=True, text=True, timeout=120, check=False)


def test_a_worker_that_waits_for_work_is_well_until_it_is_frozen(start: Callable[..., psutil.Process]) -> None:
    """A frozen process still exists: whoever only asks for that learns nothing."""
    worker = start()
    wait_until(lambda: why_dead() is None, START_TIMEOUT_S, "a sign of life")
    assert health().returncode == 0
    worker.suspend()
    wait_until(lambda: why_dead(SOON_S), what="its silence to be noticed")
    asked = health("--within", f"{SOON_S:g}")
    assert asked.returncode == 1
    assert "No sign of life for" in asked.stdout
    assert worker.is_running()
    worker.resume()
    wait_until(lambda: why_dead(SOON_S) is None, what="another sign of life")


def test_a_worker_whose_engine_never_comes_back_is_taken_for_dead(
    workplace: Workplace, start: Callable[..., psutil.Process], tmp_path: Path
) -> None:
    """Its heartbeat goes on, so nobody else gets its job until whoever looks after it ends it."""
    workplace.queue.send([workplace.job("a.wav")], "run")
    worker = start(STUCK="1")
    wait_until(lambda: "the engine is asked" in (tmp_path / "said").read_text(), START_TIMEOUT_S, "the engine")
    wait_until(lambda: why_dead(SOON_S), what="its silence to be noticed")
    assert worker.is_running()
    assert workplace.queue.counts().in_flight == 1
    worker.send_signal(signal.SIGKILL)
    wait_until(lambda: workplace.queue.receive(wait_s=1), what="its job to come back")


# A process that looks after itself

# `nightscribe` as above, with a watchdog that looks often, in which ten minutes have gone by once it is stuck.
WATCHED = """
import time
from nightscribe.cli import watchdog
from nightscribe.shared.process import liveness as pulse
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.source import FolderSource

watchdog.LOOK_S = 0.2

def stuck(*_):
    print("it is stuck", flush=True)
    while True:
        pulse._due = 0.0
        time.sleep(0.05)

if "STUCK" in os.environ:
    before = FolderSource.folders = stuck
if "ASKED" in os.environ:
    FolderLocation.check_source = stuck
"""


@pytest.fixture
def start_watched(start: Callable[..., psutil.Popen], monkeypatch: pytest.MonkeyPatch) -> Callable[..., psutil.Popen]:
    """Starts one whose watchdog is quick, and whose engine and source may never come back."""
    watched = WORKER.replace("work.Models =", WATCHED + "work.Models =")
    monkeypatch.setattr(sys.modules[__name__], "WORKER", watched)
    return start


def test_a_worker_whose_engine_never_comes_back_ends_itself_and_its_job_comes_back(
    workplace: Workplace, start_watched: Callable[..., psutil.Popen], tmp_path: Path
) -> None:
    """Docker would only show that it is not well. What it was doing is told."""
    workplace.queue.send([workplace.job("a.wav")], "run")
    worker = start_watched(STUCK="1")
    assert worker.wait(timeout=START_TIMEOUT_S) == EXIT_CODE
    said = (tmp_path / "said").read_text()
    assert "no sign of life for too long" in said.partition("it is stuck")[2]
    assert "in stuck" in said  # the function that never came back
    wait_until(lambda: workplace.queue.receive(wait_s=1), what="its job to come back")


@pytest.mark.parametrize("when", ["ASKED", "STUCK"])
def test_a_director_whose_share_never_answers_ends_itself(
    start_watched: Callable[..., psutil.Popen], tmp_path: Path, when: str
) -> None:
    """Or a CronJob that forbids two would never start another, and on ECS it would be paid for for ever."""
    director = start_watched("director", **{when: "1"})
    assert director.wait(timeout=START_TIMEOUT_S) == EXIT_CODE
    assert "no sign of life for too long" in (tmp_path / "said").read_text().partition("it is stuck")[2]


def test_who_is_not_asked_for_signs_of_life_waits_for_a_share_as_long_as_it_takes(
    start_watched: Callable[..., psutil.Popen], tmp_path: Path
) -> None:
    """There is nobody to start it again."""
    director = start_watched("director", STUCK="1", **{VARIABLE: ""})
    wait_until(lambda: "it is stuck" in (tmp_path / "said").read_text(), START_TIMEOUT_S, "the source")
    with pytest.raises(psutil.TimeoutExpired):
        director.wait(timeout=3)


# Nothing long is done in silence


def test_a_job_of_many_recordings_is_not_begun_in_silence(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow share that alone may take minutes."""
    beats: list[None] = []
    begun: list[int] = []
    for module in ("lease_guard", "claim"):
        monkeypatch.setattr(f"nightscribe.worker.attempt.{module}.report_alive", lambda: beats.append(None))

    def before_put(key: str) -> None:
        if key.endswith(".begun"):
            begun.append(len(beats))

    shutil.copy(workplace.source / "a.wav", workplace.source / "b.wav")
    workplace.queue.send([workplace.job("a.wav", "b.wav")], "run")
    workplace.worker(Dictated(), store=WrappedStore(FolderStore(workplace.dest), before_put)).run(until_empty=True)
    first, second = begun
    assert 2 <= first < second


def test_a_director_that_looks_at_many_jobs_is_not_silent(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[None] = []
    monkeypatch.setattr("nightscribe.director.outcomes.report_alive", lambda: beats.append(None))
    list(workplace.director().direct(workplace.scan().missing, follow=False))
    assert beats
