"""Real worker processes that are asked to stop, killed, and left without a server, in the middle of real work."""

import os
import signal
import subprocess
import sys
import threading
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
from support.workplace import FORMATS, Dictated, Workplace, received, weights, working

from nightscribe.shared.destination.keys import TRANSCRIPTS
from nightscribe.shared.settings import Settings, to_environment
from nightscribe.shared.storage.folder import store

START_TIMEOUT_S = 120.0  # imports, and a model into memory, on a busy machine
# Ten seconds are promised, and a busy machine may need some more. What would not end in time by itself takes longer.
LEAVE_WITHIN_S = 45.0
LONG_S = 1200.0  # which takes an engine longer than the test lasts

# `nightscribe worker` with an engine that never comes back; and a machine that stands still is given time.
STUCK = """
import threading
from support.workplace import Dictated
from nightscribe.cli import signals
from nightscribe.cli.main import main
from nightscribe.worker.engines import registry as engines

def stuck():
    print('"engine.stuck"', flush=True)
    threading.Event().wait()

signals.RELEASE_WITHIN_S = 30
engines.load = lambda *_, **__: Dictated(before=stuck)
main()
"""


class Process:
    """`nightscribe worker` and what it has said so far."""

    def __init__(self, workplace: Workplace, settings: Settings, folder: Path, program: list[str]) -> None:
        folder.mkdir(exist_ok=True)
        self._said = folder / "worker.log"
        with self._said.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", *program, "worker", str(workplace.source), str(workplace.dest)],
                env=dict(os.environ) | to_environment(settings) | {"PYTHONPATH": os.pathsep.join(sys.path)},
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

    def ends(self, number: int) -> None:
        """Send a signal and wait until the process has ended; its exit status must be 0."""
        self.popen.send_signal(number)
        try:
            status = self.popen.wait(LEAVE_WITHIN_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running {LEAVE_WITHIN_S:g} s after the signal", pytrace=False)
        assert status == 0, self._said.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """As a machine's memory killer does, with the ffmpeg it may have started."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


@pytest.fixture
def settings(models_dir: Path) -> Settings:
    """A lease so long that a job comes back in time only if it is given back, and one window at a time."""
    return Settings(
        visibility_timeout_s=600,
        heartbeat_s=0.5,
        max_receives=100,
        batch_size=1,
        model="tiny.en",
        engine="faster-whisper",
        language="en",
        models_dir=models_dir,
    )


@pytest.fixture
def start(workplace: Workplace, models_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts worker processes with the workplace's settings and others given; none outlives the test."""
    with ExitStack() as stack:

        def started(*program: str, **changes: object) -> Process:
            settings = workplace.settings.model_copy(update={**changes, "queue_name": workplace.queue.name})
            weights(settings.model, settings.engine, models_dir)
            process = Process(workplace, settings, tmp_path / "process", list(program) or ["-m", "nightscribe"])
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
def long_job(workplace: Workplace, long_recording: Path) -> None:
    """The long recording is queued, as the only job."""
    (workplace.source / "long.wav").hardlink_to(long_recording)
    workplace.queue.send([workplace.job("long.wav")], "run")


class Reader:
    """Looks at every text file and transcript of a destination all the time, as people and programs may."""

    def __init__(self, workplace: Workplace) -> None:
        self.seen: dict[Path, set[bytes]] = defaultdict(set)
        self.lacking: set[str] = set()
        """Text files that were not there yet when their recording counted as finished."""
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
        dest = self._workplace.dest
        while not self._over.wait(0.001):
            self.n_looks += 1
            finished = list((dest / TRANSCRIPTS).glob("*.json"))  # first: what these promise is there by then
            texts = [path for path in dest.iterdir() if path.name.endswith(FORMATS)]
            promised = {path.name.replace(".wav.json", f".{fmt}") for path in finished for fmt in FORMATS}
            self.lacking |= promised.difference(path.name for path in texts)
            for path in (*finished, *texts):
                self.seen[path].add(path.read_bytes())

    def check(self) -> None:
        """Each file was only ever seen as it is now, and a transcript never before its texts."""
        assert self.n_looks > 10
        assert {path.name for path, contents in self.seen.items() if contents != {path.read_bytes()}} == set()
        assert self.lacking == set()
        assert sorted(path.name for path in self.seen if path.suffix != ".json") == self._workplace.texts
        assert {path.name for path in self.seen} >= {f"{path.name}.json" for path in self._workplace.source.iterdir()}


def wait_for_work(workplace: Workplace) -> None:
    """Until some of a job is done."""
    wait_until(lambda: any(each.done_s for each in workplace.records.activities()), START_TIMEOUT_S, "work")


def check_given_back(workplace: Workplace) -> None:
    """The job is there for another worker at once, and nothing of it is half done."""
    assert workplace.temporary == []
    assert workplace.texts == []
    assert list(workplace.records.store.walk(".nightscribe/transcripts/")) == []
    assert received(workplace.queue).receive_count == 2
    assert list(workplace.records.activities()) == []


@pytest.mark.usefixtures("long_job")
def test_a_worker_that_is_asked_to_stop_gives_its_job_back(workplace: Workplace, start: Callable[..., Process]) -> None:
    """In the middle of a long job: it ends with status 0, and the job is visible minutes before it would be."""
    process = start()
    wait_for_work(workplace)
    process.ends(signal.SIGTERM)
    check_given_back(workplace)


def test_a_worker_whose_engine_does_not_come_back_gives_its_job_back(
    workplace: Workplace, start: Callable[..., Process]
) -> None:
    """A batch may take minutes: the worker leaves in the middle of it."""
    workplace.queue.send([workplace.job("a.wav")], "run")
    process = start("-c", STUCK)
    wait_until(lambda: process.has_said("engine.stuck"), START_TIMEOUT_S, "it to be in the middle of a batch")
    process.ends(signal.SIGINT)
    check_given_back(workplace)


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
        threading.Event().wait(1.0)
        process.ends(signal.SIGTERM)
    finally:
        frozen.resume()
    assert workplace.temporary == []
    assert workplace.texts == []


def test_a_worker_with_nothing_to_do_ends_soon(workplace: Workplace, start: Callable[..., Process]) -> None:
    """While it waits for a job."""
    process = start()
    wait_until(lambda: process.has_said("worker.started"), START_TIMEOUT_S, "it to be ready")
    process.ends(signal.SIGTERM)
    assert process.has_said("worker.stopped")


def test_the_job_of_a_killed_worker_is_done_by_another(workplace: Workplace, start: Callable[..., Process]) -> None:
    """Once its visibility timeout is over; it was killed in the middle of a batch."""
    workplace.queue.send([workplace.job("a.wav")], "run")
    process = start("-c", STUCK, visibility_timeout_s=2.0)
    wait_until(lambda: process.has_said("engine.stuck"), START_TIMEOUT_S, "it to be in the middle of a batch")
    process.kill()
    assert workplace.texts == []
    engine = Dictated()
    with working(workplace.worker(engine, name="successor")):
        wait_until(workplace.is_empty, what="the job to come back and be done")
    assert engine.n_calls
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]
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
            wait_until(lambda n=killed_at: len(workplace.texts) >= 3 * n, START_TIMEOUT_S, f"{killed_at} to be done")
            if killed_at < len(names):
                process.kill()
        wait_until(workplace.is_empty, what="the queue to be empty")
        wait_until(lambda: process.has_said("worker.started", times=2), START_TIMEOUT_S, "the second to be ready")
        process.ends(signal.SIGTERM)
    assert workplace.texts == sorted(f"{n}.{fmt}" for n in range(len(names)) for fmt in FORMATS)
    reader.check()
    assert all(workplace.records.provenance(name) for name in names)
    workplace.records.store.names("")  # where what a killed writer left is removed
    assert [path for path in workplace.temporary if path.parent == workplace.dest] == []


class WrittenSlowly:
    """A real file whose every write stops in the middle until the reader has looked at it."""

    def __init__(self, file: BinaryIO, reader: Reader) -> None:
        self._file = file
        self._reader = reader

    def __enter__(self) -> "WrittenSlowly":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> None:
        """The first half, a whole look of the reader, the second half."""
        half = len(content) // 2
        self._file.write(content[:half])
        self._file.flush()
        before = self._reader.n_looks
        wait_until(lambda: self._reader.n_looks > before + 1, what="the reader to look")
        self._file.write(content[half:])


def test_a_text_on_a_slow_disk_is_there_only_once_it_is_whole(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share takes its time for a write; the reader sees nothing of it before the end."""
    made, reader = store._made, Reader(workplace)
    monkeypatch.setattr(store, "_made", lambda path: WrittenSlowly(made(path), reader))
    workplace.queue.send([workplace.job("a.wav")], "run")
    with reader, working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, what="the job to be done")
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]
    reader.check()
