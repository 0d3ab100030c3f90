"""Start the project's own workers and directors as processes that log what they do."""

import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from chaos.event_log import EventLog
from chaos.sound import JOB_S, RATES, Reader, listen
from nightscribe.cli.signals import stop_on_signals
from nightscribe.director.enqueue import Director
from nightscribe.director.scan.scanner import Scanner
from nightscribe.log import configure_logging
from nightscribe.services.request import open_queue
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.jobs import Job, Options
from nightscribe.shared.process.children import PR_SET_PDEATHSIG
from nightscribe.shared.process.identity import process_name
from nightscribe.shared.process.scratch import sweep_scratch
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker.loop import Worker
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer
from nightscribe.worker.pipeline.transcriber import Transcriber
from nightscribe.worker.pipeline.vad import SpeechDetector

_numbers = count(1)

OPTIONS = Options(engine="auto", model="base", language="en")
FORMATS = ("txt", "vtt", "srt")
SLOWEST_S = 0.4  # of each store operation while the disk is slow


@dataclass(frozen=True)
class Location:
    """The folders and settings of one run."""

    folder: Path
    settings: Settings
    pace: float
    """Seconds that the engine takes for one second of sound."""

    @property
    def source(self) -> Path:
        """The recordings."""
        return self.folder / "source"

    @property
    def dest(self) -> Path:
        """The transcripts."""
        return self.folder / "dest"

    @property
    def slow(self) -> Path:
        """The file that makes the destination slow while it exists."""
        return self.folder / "slow"

    @property
    def event_log(self) -> EventLog:
        """A new reader and writer of the event log."""
        return EventLog(self.folder / "events.jsonl")


def start_process(name: str, location: Location, task: Callable[..., None], *arguments: Any) -> ForkProcess:
    """Fork a process that has everything imported and does not outlive this one."""
    process = get_context("fork").Process(
        target=_child,
        args=(name, location, task, *arguments),
        name=f"{name}.{next(_numbers)}",  # unique, while process numbers are reused
        daemon=True,
    )
    process.start()
    return process


def _child(name: str, location: Location, task: Callable[..., None], *arguments: Any) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(location.folder / "logs" / f"{name}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    configure_logging("info", os.fdopen(2, "w", buffering=1, closefd=False))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        task(location, *arguments)
    except NightscribeError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(2)


class _Queue(JobQueue):
    """A queue that logs what is received and deleted."""

    event_log: EventLog
    delivery = 0

    def receive(self, wait_s: float) -> Delivery | None:
        self.event_log.append("free")
        delivery = super().receive(wait_s)
        if delivery:
            self.delivery += 1
            slices = [
                (slice_.recording, slice_.index, slice_.start_s, slice_.end_s)
                for slice_ in Job.from_message(delivery.body).slices
            ]
            self.event_log.append(
                "received",
                delivery=self.delivery,
                message=delivery.message_id,
                count=delivery.receive_count,
                slices=slices,
            )
        return delivery

    def _delete(self, url: str, receipt_handle: str, **given: Any) -> None:
        if url == self._url:  # a job, and no dead letter
            self.event_log.append("deleting", delivery=self.delivery)
        super()._delete(url, receipt_handle, **given)


class _Store(FolderStore):
    """A store that logs what is stored, and is slow while `Location.slow` exists."""

    def __init__(self, location: Location, queue: _Queue) -> None:
        super().__init__(location.dest)
        self._slow = location.slow
        self._queue = queue

    def _wait(self) -> None:
        if self._slow.exists():
            time.sleep(SLOWEST_S * random.random())

    def get(self, key: str) -> bytes | None:
        self._wait()
        return super().get(key)

    def ends(self, key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        self._wait()
        return super().ends(key, n_first, n_last)

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        self._queue.event_log.append("storing", delivery=self._queue.delivery, key=key)
        self._wait()
        super().put(key, content, durable=durable)
        self._queue.event_log.append("stored", delivery=self._queue.delivery, key=key)

    def put_new(self, key: str, content: bytes) -> bool:
        self._queue.event_log.append("storing", delivery=self._queue.delivery, key=key)
        self._wait()
        if is_there := super().put_new(key, content):
            self._queue.event_log.append("stored", delivery=self._queue.delivery, key=key)
        return is_there

    def delete(self, key: str) -> None:
        self._wait()
        super().delete(key)


def work(location: Location) -> None:
    """Do what `nightscribe worker` does, with this bench's engine and speech detector."""
    SpeechDetector.listen = listen  # type: ignore[method-assign]
    queue = _queue(location)
    sweep_scratch()
    engine = Reader(
        location.pace,
        lambda windows: queue.event_log.append("hearing", delivery=queue.delivery, windows=windows),
        lambda: queue.event_log.append("heard", delivery=queue.delivery),
    )
    transcriber = Transcriber(engine)
    made = Worker(
        name=process_name(os.getpid()),
        queue=queue,
        source=FolderSource(location.source, leave_out=location.dest),
        records=Records(_Store(location, queue)),
        transcriber_for=lambda _: transcriber,
        diarizer=lambda: Diarizer(Path()),
        settings=location.settings,
    )
    stop_on_signals(made)
    made.run(until_empty=False)


def direct(location: Location, follow: bool, retry_failed: bool) -> None:
    """Do what `nightscribe director` does, or with `follow` what `nightscribe run` does."""
    queue = _queue(location)
    source = FolderSource(location.source, leave_out=location.dest)
    records = Records(_Store(location, queue))
    made = Director(
        queue=queue,
        source=source,
        records=records,
        options=OPTIONS,
        formats=FORMATS,
        max_queued_jobs=location.settings.max_queued_jobs,
        max_receives=location.settings.max_receives,
        retry_failed=retry_failed,
    )
    made.record_dead_letters()
    scan = Scanner(source, records, FORMATS, settle_s=0, retry_failed=retry_failed).scan()
    for event in made.direct(scan.missing, follow=follow, rates=RATES, job_s=JOB_S):
        if follow and event is None:
            list(records.activities())  # as the progress view does


def _queue(location: Location) -> _Queue:
    queue = open_queue(location.settings)
    queue.__class__ = _Queue  # open_queue makes the plain one
    assert isinstance(queue, _Queue)
    queue.event_log = location.event_log
    return queue
