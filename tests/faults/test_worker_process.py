"""Real worker processes that are asked to stop, killed, and left without a server, in the middle of real work."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import pytest
from support import recordings
from support.servers import SqsServer
from support.waiting import wait_until
from support.workplace import FORMATS, Dictated, Workplace, weights, working

from shared import store
from shared.settings import Settings, to_environment

START_TIMEOUT_S = 30.0  # imports, and a model into memory
LONG_S = 280.0  # which takes an engine longer than the test lasts


class Process:
    """`nightscribe worker` and what it has said so far."""

    def __init__(self, workplace: Workplace, settings: Settings, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._said = folder / "worker.log"
        command = [sys.executable, "-P", "-m", "nightscribe", "worker", str(workplace.source), str(workplace.dest)]
        with self._said.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                env=dict(os.environ) | to_environment(settings),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def has_said(self, event: str, times: int = 1) -> bool:
        """Whether an event is in its log; an end before that is an error."""
        status, said = self.popen.poll(), self._said.read_text(errors="replace")
        if said.count(f'"{event}"') >= times:
            return True
        assert status is None, f"the worker ended with status {status}: {said[-2000:]}"
        return False

    def cpu_s(self) -> float:
        """Processor time it has used."""
        times = psutil.Process(self.popen.pid).cpu_times()
        return float(times.user + times.system)

    def ended_after_s(self, number: int, at_most_s: float) -> float:
        """Send a signal and say how long the process took to end; its exit status must be 0."""
        began = time.monotonic()
        self.popen.send_signal(number)
        try:
            status = self.popen.wait(at_most_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running {at_most_s:g} s after the signal", pytrace=False)
        took_s = time.monotonic() - began
        assert status == 0, self._said.read_text(errors="replace")[-2000:]
        return took_s

    def kill(self) -> None:
        """As a machine's memory killer does, with the ffmpeg it may have started."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


@pytest.fixture
def settings(models_dir: Path) -> Settings:
    """A lease so long that a job comes back in time only if it is given back."""
    return Settings(
        visibility_timeout_s=60,
        heartbeat_s=1,
        model="tiny.en",
        engine="faster-whisper",
        language="en",
        models_dir=models_dir,
    )


@pytest.fixture
def start(workplace: Workplace, models_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts worker processes with the workplace's settings and others given; none outlives the test."""
    with ExitStack() as stack:

        def started(**changes: object) -> Process:
            settings = workplace.settings.model_copy(update={**changes, "queue_name": workplace.queue.name})
            weights(settings.model, settings.engine, models_dir)
            process = Process(workplace, settings, tmp_path / "process")
            stack.callback(process.kill)
            return process

        yield started


@pytest.fixture(scope="session")
def long_recording(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Minutes of speech without a pause longer than those in it."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    command = [recordings.ffmpeg_program(), "-v", "error", "-stream_loop", "-1", "-i", str(speech), "-t", str(LONG_S)]
    subprocess.run([*command, "-ar", "16000", "-ac", "1", str(path)], check=True)
    return path


@pytest.fixture
def send_long_job(workplace: Workplace, long_recording: Path) -> Callable[[str], None]:
    """Queues the long recording, as the only job, for an engine."""

    def send(engine: str) -> None:
        shutil.copy(long_recording, workplace.source / "long.wav")
        workplace.queue.send([workplace.job("long.wav", engine=engine)], "run")

    return send


@pytest.fixture
def long_job(send_long_job: Callable[[str], None]) -> None:
    """The long recording, for the engine that is the quicker one."""
    send_long_job("faster-whisper")


class Reader:
    """Looks at every text file of a destination all the time, as one who opens it in the morning may."""

    def __init__(self, workplace: Workplace) -> None:
        self.seen: dict[str, set[bytes]] = defaultdict(set)
        self.n_looks = 0
        self._workplace = workplace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.0005):
            self.n_looks += 1
            for path in self._workplace.dest.iterdir():
                if path.name.endswith(FORMATS):
                    self.seen[path.name].add(path.read_bytes())

    def check(self) -> None:
        """Each file was only ever seen as it is now."""
        assert self.n_looks > 10
        assert {name: len(contents) for name, contents in self.seen.items() if len(contents) > 1} == {}
        for name, contents in self.seen.items():
            assert contents == {(self._workplace.dest / name).read_bytes()}, name


def wait_for_work(process: Process, workplace: Workplace) -> None:
    """Until it is in the middle of a batch; what it has done it tells only after that."""
    wait_until(lambda: list(workplace.records.activities()), START_TIMEOUT_S, "work")
    before_s = process.cpu_s()
    wait_until(lambda: process.cpu_s() > before_s + 3, START_TIMEOUT_S, "it to be in the middle of a batch")


def given_back(workplace: Workplace) -> bool:
    """Whether the job is there for another worker at once, and nothing of it is half done."""
    assert workplace.temporary == []
    assert workplace.texts == []
    assert list(workplace.records.store.walk(".nightscribe/transcripts/")) == []
    delivery = workplace.queue.receive(wait_s=1)
    return delivery is not None and delivery.receive_count == 2


@pytest.mark.usefixtures("long_job")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_stop_gives_its_job_back(
    workplace: Workplace, start: Callable[..., Process], number: signal.Signals
) -> None:
    """In the middle of a long job: it ends with status 0, and the job is visible a minute before it would be."""
    process = start()
    wait_for_work(process, workplace)
    assert process.ended_after_s(number, 10) < 10
    assert given_back(workplace)
    assert list(workplace.records.activities()) == []


def test_a_worker_of_the_other_engine_gives_its_job_back(
    workplace: Workplace, start: Callable[..., Process], send_long_job: Callable[[str], None]
) -> None:
    """openai-whisper needs seconds for a batch: the worker leaves in the middle of one, in time."""
    send_long_job("openai-whisper")
    process = start(engine="openai-whisper")
    wait_for_work(process, workplace)
    process.ended_after_s(signal.SIGTERM, 10)
    assert given_back(workplace)


@pytest.mark.usefixtures("long_job")
def test_a_worker_whose_server_hangs_still_ends_in_time(
    workplace: Workplace, start: Callable[..., Process], sqs_server: SqsServer
) -> None:
    """It cannot give its job back, and does not wait for that: the job comes back by itself."""
    process = start(log_level="debug")
    wait_until(lambda: process.has_said("lease.extended"), START_TIMEOUT_S, "the heart to beat")
    assert sqs_server._process is not None
    frozen = psutil.Process(sqs_server._process.pid)
    frozen.suspend()
    try:
        # Long enough for the next heartbeat to be on its way.
        threading.Event().wait(1.5)
        assert process.ended_after_s(signal.SIGTERM, 10) < 10
    finally:
        frozen.resume()
    assert workplace.temporary == []
    assert workplace.texts == []


def test_a_worker_with_nothing_to_do_ends_soon(workplace: Workplace, start: Callable[..., Process]) -> None:
    """While it waits for a job."""
    process = start()
    wait_until(lambda: process.has_said("worker.started"), START_TIMEOUT_S, "it to be ready")
    assert process.ended_after_s(signal.SIGTERM, 5) < 5
    assert process.has_said("worker.stopped")


@pytest.mark.usefixtures("long_job")
def test_the_job_of_a_killed_worker_is_done_by_another(workplace: Workplace, start: Callable[..., Process]) -> None:
    """Once its visibility timeout is over, and not before."""
    process = start(visibility_timeout_s=4.0)
    wait_for_work(process, workplace)
    process.kill()
    killed_at = time.monotonic()
    assert workplace.texts == []
    engine = Dictated()
    with working(workplace.worker(engine, name="successor")):
        wait_until(lambda: engine.n_calls, 15, "the job to come back")
        assert time.monotonic() - killed_at > 2
        wait_until(workplace.is_empty, 15, "the job to be done")
    assert workplace.texts == ["long.srt", "long.txt", "long.vtt"]
    assert workplace.temporary == []


def test_nobody_ever_reads_half_a_text(
    workplace: Workplace, start: Callable[..., Process], speech: Path, tmp_path: Path
) -> None:
    """A worker is killed among many short jobs, and in the end everything is done, each text only ever seen whole."""
    names = [f"{n}.wav" for n in range(6)]
    (workplace.source / "a.wav").unlink()
    for n, name in enumerate(names):
        recordings.cut(speech, workplace.source / name, 4.0 * n, 3.0, "-ar", "16000")
    workplace.queue.send([workplace.job(name) for name in names], "run")
    with Reader(workplace) as reader:
        for killed_at in (2, len(names)):
            process = start(visibility_timeout_s=2.0, heartbeat_s=0.5)
            wait_until(lambda n=killed_at: len(workplace.texts) >= 3 * n, 60, f"{killed_at} recordings to be done")
            if killed_at < len(names):
                process.kill()
        wait_until(workplace.is_empty, 15, "the queue to be empty")
        process.ended_after_s(signal.SIGTERM, 10)
    assert workplace.texts == sorted(f"{n}.{fmt}" for n in range(len(names)) for fmt in FORMATS)
    assert sorted(reader.seen) == workplace.texts
    reader.check()
    assert all(workplace.records.provenance(name) for name in names)
    workplace.records.store.names("")  # where what a killed writer left is removed
    assert [path for path in workplace.temporary if path.parent == workplace.dest] == []


class WrittenSlowly:
    """A real file whose every write stops in the middle for a moment."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __enter__(self) -> "WrittenSlowly":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> None:
        """The first half, a while nothing, the second half."""
        half = len(content) // 2
        self._file.write(content[:half])
        self._file.flush()
        threading.Event().wait(0.1)
        self._file.write(content[half:])


def test_a_text_on_a_slow_disk_is_there_only_once_it_is_whole(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share takes its time for a write; the reader sees nothing of it before the end."""
    made = store._made
    monkeypatch.setattr(store, "_made", lambda path: WrittenSlowly(made(path)))
    workplace.queue.send([workplace.job("a.wav")], "run")
    with Reader(workplace) as reader, working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, 20, "the job to be done")
    assert sorted(reader.seen) == ["a.srt", "a.txt", "a.vtt"]
    reader.check()
