"""Where the parts meet: a source, a destination and a queue, and workers and directors on them."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nightscribe.director.enqueue import Director
from nightscribe.director.scan.scanner import Scan, Scanner
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import WeightsError
from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.model.transcript import Word
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Fence, TranscriptStore
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.engines.base import Recognition, RecognitionRequest, Recognizer, SpeechWindow, WindowLimits
from nightscribe.worker.lease import lease_clock
from nightscribe.worker.loop import Worker
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer
from nightscribe.worker.pipeline.transcriber import Transcriber
from support.cache import locked, unavailable
from support.waiting import wait_until

OPTIONS = Options(engine="faster-whisper", model="tiny.en", language="en")
FORMATS = ("txt", "vtt", "srt")


def weights(model: str, engine: str, models_dir: Path) -> Path:
    """The weights of a model as an engine wants them, fetched if this is the first test run on the machine."""
    with locked("models"):
        try:
            return engines.find_weights(engine, model, models_dir).path
        except WeightsError as error:
            unavailable(str(error))


class Counted:
    """A real engine that counts the windows it is given."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._lock = threading.Lock()
        self.n_calls = 0

    def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
        """Pass the windows on to the engine."""
        with self._lock:
            self.n_calls += len(windows)
        return self._recognizer.recognize(windows, request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recognizer, name)


class Dictated:
    """An engine that always hears the same words, once the test lets it."""

    name = "dictated 1"
    batch_size = 4
    window_limits = WindowLimits(shortest_s=10.0, longest_s=18.0)
    TEXT = "It was the best of times."

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self._before = before
        self.n_calls = 0

    def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
        """Hear the same words in each window; they take all of it."""
        self.n_calls += len(windows)
        self._before()
        request.check()
        return [
            Recognition(
                self.TEXT,
                words=[Word(0.0, window.seconds, self.TEXT)] if request.needs_words(window, self.TEXT) else None,
                language="en",
                average_log_probability=-0.1,
                no_speech_probability=0.0,
            )
            for window in windows
        ]


class Wrapped:
    """The real client, one of whose operations is answered by something else that is given the real one."""

    def __init__(
        self, client: Any, operation: str, instead: Callable[[Callable[..., Any], dict[str, Any]], Any]
    ) -> None:
        self._client = client
        setattr(self, operation, lambda **arguments: instead(getattr(client, operation), arguments))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class WrappedStore:
    """The real store; `before_put` is told each key before it is written, and may raise."""

    def __init__(self, store: TranscriptStore, before_put: Callable[[str], None]) -> None:
        self._store = store
        self._before_put = before_put

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        """As the store."""
        self._before_put(key)
        self._store.put(key, content, durable=durable)

    def put_new(self, key: str, content: bytes) -> bool:
        """As the store."""
        self._before_put(key)
        return self._store.put_new(key, content)

    def put_fenced(self, key: str, content: bytes, fence: Fence, *, is_new: bool, durable: bool) -> bool:
        """As the store."""
        self._before_put(key)
        return self._store.put_fenced(key, content, fence, is_new=is_new, durable=durable)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass
class Workplace:
    """One source, one destination, one queue."""

    source: Path
    dest: Path
    queue: JobQueue
    settings: Settings

    @property
    def records(self) -> Records:
        """What is known about the recordings."""
        return Records(FolderStore(self.dest))

    @property
    def texts(self) -> list[str]:
        """The text files that are there."""
        files = (path.relative_to(self.dest) for path in self._files() if path.suffix != ".tmp")
        return sorted(path.as_posix() for path in files if ".nightscribe" not in path.parts)

    @property
    def temporary(self) -> list[Path]:
        """Files that were begun and not finished."""
        return [path for path in self._files() if path.suffix == ".tmp"]

    def _files(self) -> list[Path]:
        # Not rglob: it stumbles over a folder that a worker removes meanwhile.
        return [Path(folder) / name for folder, _, names in os.walk(self.dest) for name in names]

    def slice_of(self, name: str, **changes: Any) -> Slice:
        """A recording as it is now, whole unless told otherwise."""
        source = FolderSource(self.source)
        recording = source.stat(name)
        whole = Slice(
            recording=name,
            fingerprint=source.fingerprint(recording),
            size=recording.size,
            stem=name.rpartition(".")[0],
        )
        return whole.model_copy(update=changes)

    def job(self, *slices: str | Slice, engine: str = OPTIONS.engine) -> Job:
        """A job of slices, or of recordings by name."""
        each = [part if isinstance(part, Slice) else self.slice_of(part) for part in slices]
        return Job(slices=tuple(each), options=OPTIONS.model_copy(update={"engine": engine}), formats=FORMATS)

    def worker(
        self,
        engine: Recognizer,
        *,
        name: str = "worker",
        queue: JobQueue | None = None,
        store: TranscriptStore | None = None,
        clock: Callable[[], float] = lease_clock,
    ) -> Worker:
        """A worker with that engine."""
        transcriber = Transcriber(engine)
        return Worker(
            name=name,
            queue=queue or self.queue,
            source=FolderSource(self.source, leave_out=self.dest),
            records=Records(store or FolderStore(self.dest)),
            transcriber_for=lambda _: transcriber,
            diarizer=lambda: Diarizer(Path()),
            settings=self.settings,
            clock=clock,
        )

    def scan(self, *, retry_failed: bool = False, redo: bool = False) -> Scan:
        """Source and destination compared, as a director's run begins."""
        source = FolderSource(self.source, leave_out=self.dest)
        return Scanner(source, self.records, FORMATS, settle_s=0, retry_failed=retry_failed, redo=redo).scan()

    def director(self, *, max_queued_jobs: int = 5000, retry_failed: bool = False, redo: bool = False) -> Director:
        """A director that looks often."""
        return Director(
            self.queue,
            FolderSource(self.source, leave_out=self.dest),
            self.records,
            OPTIONS,
            FORMATS,
            max_queued_jobs=max_queued_jobs,
            max_receives=self.settings.max_receives,
            retry_failed=retry_failed,
            redo=redo,
            sleep=lambda _: threading.Event().wait(0.05),
        )

    def dead_letters(self) -> list[Delivery]:
        """Return all dead letters, and leave them on their queue."""
        found = list(self.queue.dead_letters())
        for letter in found:
            self.queue._client.change_message_visibility(
                QueueUrl=self.queue._dead_url, ReceiptHandle=letter.receipt_handle, VisibilityTimeout=0
            )
        return found

    def is_empty(self) -> bool:
        """Whether no job is left."""
        counts = self.queue.counts()
        return counts.queued + counts.in_flight == 0


def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be given up or put off in this process that a machine which stands still for a moment would delay."""
    # What a server was just giving out when a call was given up would stay hidden.
    monkeypatch.setattr("nightscribe.shared.queue.client.READ_TIMEOUT_S", 60.0)
    # A director looks at what is done after so long, with the rest of its jobs still to be sent.
    monkeypatch.setattr("nightscribe.director.enqueue.FILL_S", 60.0)


def received(queue: JobQueue) -> Delivery:
    """The next delivery, which must come."""
    return wait_until(lambda: queue.receive(wait_s=1), what="a delivery")


@contextmanager
def working(*workers: Worker) -> Iterator[None]:
    """Each worker in a thread of its own until the context ends; what one of them raised is raised then."""
    caught: list[BaseException] = []

    def work(worker: Worker) -> None:
        try:
            worker.run(until_empty=False)
        except BaseException as error:  # noqa: BLE001  raised below, in the test's thread
            caught.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stop.set()
        for thread in threads:
            thread.join()
    if caught:
        raise caught[0]


@contextmanager
def working_until_empty(worker: Worker) -> Iterator[threading.Thread]:
    """A worker that ends with the work, at work in the thread that is given; it is stopped where the test fails."""
    running = threading.Thread(target=worker.run, kwargs={"until_empty": True})
    running.start()
    try:
        yield running
        running.join(60)
        assert not running.is_alive(), "it did not end with the work"
    finally:
        worker.stop.set()
        running.join()
