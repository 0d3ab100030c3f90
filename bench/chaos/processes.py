"""Start the project's own workers and directors as processes that log what they do."""

import ctypes
import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from multiprocessing import current_process, get_context
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
from nightscribe.shared.aws import LOCAL_QUEUE
from nightscribe.shared.destination.keys import JOBS, TRANSCRIPTS
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.jobs import Job, Options
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.process.children import PR_SET_PDEATHSIG
from nightscribe.shared.process.identity import process_name
from nightscribe.shared.process.scratch import sweep_scratch
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.wire import Delivery, Releases
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Fence, RecordingSource, TranscriptStore
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.shared.storage.s3.block_cache import Blocks
from nightscribe.shared.storage.s3.objects import Bucket, objects_of
from nightscribe.shared.storage.s3.source import BucketSource
from nightscribe.shared.storage.s3.store import BucketStore
from nightscribe.worker.loop import Worker
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer
from nightscribe.worker.pipeline.transcriber import Transcriber
from nightscribe.worker.pipeline.vad import SpeechDetector

_numbers = count(1)

OPTIONS = Options(engine="auto", model="base", language="en")
FORMATS = ("txt", "vtt", "srt")
SLOWEST_S = 0.4  # of each store operation while the disk is slow
CLOCKS_S = (0.0, 0.0, 7200.0, -7200.0, 90.0, -90.0)  # by how much the clock of a process may be ahead
EVENTS = "events.jsonl"
SOURCE, DEST = "recordings", "transcripts"
CACHE_BYTES = 2**28


@dataclass(frozen=True)
class Location:
    """The places, links and settings of one run."""

    folder: Path
    settings: Settings
    pace: float
    """Seconds that the engine takes for one second of sound."""
    links: Mapping[str, str]
    """Address of each link: `worker-0.queue`, `worker-0.store`, `director.queue` and so on."""
    in_buckets: bool
    """Recordings and transcripts lie in buckets."""
    seed: int

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
        return EventLog(self.folder / EVENTS)

    def open_source(self) -> RecordingSource:
        """Return the recordings as this process reaches them."""
        if self.in_buckets:
            return BucketSource(objects_of(Bucket(SOURCE)), Blocks(CACHE_BYTES))
        return FolderSource(self.source, leave_out=self.dest)

    def open_store(self) -> TranscriptStore:
        """Return the transcripts as this process reaches them."""
        return BucketStore(objects_of(Bucket(DEST))) if self.in_buckets else FolderStore(self.dest)


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
    slot = name if name.startswith("worker") else "director"
    os.environ[LOCAL_QUEUE] = location.links[f"{slot}.queue"]
    if location.in_buckets:
        os.environ["AWS_ENDPOINT_URL_S3"] = location.links[f"{slot}.store"]
    ahead_s = random.Random(f"{location.seed} {current_process().name}").choice(CLOCKS_S)
    location.event_log.append("clock", ahead_s=ahead_s)
    _set_clock(ahead_s)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        task(location, *arguments)
    except NightscribeError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(2)


def _set_clock(ahead_s: float) -> None:
    """Let this process take the time of day for another one. Files and servers keep the true time, as a share does."""
    real = time.time
    time.time = lambda: real() + ahead_s
    for name, module in list(sys.modules.items()):
        if name.startswith("nightscribe.") and getattr(module, "utc_now", None) is utc_now:
            setattr(module, "utc_now", lambda: utc_now() + timedelta(seconds=ahead_s))  # noqa: B010


class _Queue(JobQueue):
    """A queue that logs what is received, extended, released and deleted."""

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

    def change_visibility(self, delivery: Delivery, timeout_s: float, *, retry_timeout_s: float | None = None) -> None:
        requested_at = time.monotonic()
        if timeout_s < self._visibility_timeout_s:
            self.event_log.append("released", delivery=self.delivery)
        super().change_visibility(delivery, timeout_s, retry_timeout_s=retry_timeout_s)
        if timeout_s >= self._visibility_timeout_s:
            self.event_log.append("extended", delivery=self.delivery, since=requested_at)

    def requeue(
        self, delivery: Delivery, *, releases: Releases | None = None, retry_timeout_s: float | None = None
    ) -> None:
        self.event_log.append("requeued", delivery=self.delivery)
        super().requeue(delivery, releases=releases, retry_timeout_s=retry_timeout_s)

    def _delete(self, url: str, receipt_handle: str, **given: Any) -> None:
        if url == self._url:  # a job, and no dead letter
            self.event_log.append("deleting", delivery=self.delivery)
        super()._delete(url, receipt_handle, **given)


class _Logged:
    """What the stores of both kinds share: they log what changes, and are slow while `Location.slow` exists."""

    location: Location
    queue: _Queue

    @contextmanager
    def _logged(self, what: str, key: str, content: bytes = b"") -> Iterator[list[bool]]:
        """Log the begin and the end of a change; put False into the list if nothing changed."""
        if key.startswith(JOBS):  # of which nothing is promised
            yield []
            return
        fields: dict[str, Any] = {"delivery": self.queue.delivery, "key": key}
        self.queue.event_log.append(f"{what[:-1]}ing", **fields)
        self._wait()
        changed: list[bool] = []
        yield changed
        if all(changed):
            if key.startswith(TRANSCRIPTS):
                fields["digest"] = digest(content)
            self.queue.event_log.append(f"{what}d", **fields)

    def _wait(self) -> None:
        if self.location.slow.exists():
            time.sleep(SLOWEST_S * random.random())


class _FolderStore(_Logged, FolderStore):
    def get(self, key: str) -> bytes | None:
        self._wait()
        return super().get(key)

    def ends(self, key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        self._wait()
        return super().ends(key, n_first, n_last)

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        with self._logged("store", key, content):
            super().put(key, content, durable=durable)

    def put_new(self, key: str, content: bytes) -> bool:
        with self._logged("store", key, content) as changed:
            changed.append(super().put_new(key, content))
        return changed[0] if changed else True

    def put_fenced(self, key: str, content: bytes, fence: Fence, *, is_new: bool, durable: bool) -> bool:
        with self._logged("store", key, content) as changed:
            changed.append(super().put_fenced(key, content, fence, is_new=is_new, durable=durable))
        return changed[0]

    def put_if_same(self, key: str, content: bytes, before: bytes, fence: Fence | None = None) -> bool:
        with self._logged("store", key, content) as changed:
            changed.append(super().put_if_same(key, content, before, fence))
        return changed[0]

    def delete(self, key: str) -> None:
        with self._logged("delete", key):
            super().delete(key)


class _BucketStore(_Logged, BucketStore):
    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        with self._logged("store", key, content):
            super().put(key, content, durable=durable)

    def put_new(self, key: str, content: bytes) -> bool:
        with self._logged("store", key, content) as changed:
            changed.append(super().put_new(key, content))
        return changed[0]

    def put_version(self, key: str, content: bytes, version: str | None, check: Callable[[], None]) -> str:
        with self._logged("store", key, content):
            return super().put_version(key, content, version, check)

    def delete(self, key: str) -> None:
        with self._logged("delete", key):
            super().delete(key)

    def delete_version(self, key: str, version: str, check: Callable[[], None]) -> None:
        with self._logged("delete", key):
            super().delete_version(key, version, check)


def digest(content: bytes) -> str:
    """Return what identifies the content of a file in the event log."""
    return hashlib.sha256(content).hexdigest()[:16]


def _store(location: Location, queue: _Queue) -> TranscriptStore:
    store = location.open_store()
    store.__class__ = _BucketStore if location.in_buckets else _FolderStore
    assert isinstance(store, _BucketStore | _FolderStore)
    store.location, store.queue = location, queue
    return store


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
        source=location.open_source(),
        records=Records(_store(location, queue)),
        transcriber_for=lambda _: transcriber,
        diarizer=lambda: Diarizer(Path()),
        settings=location.settings,
    )
    stop_on_signals(made)
    made.run(until_empty=False)


def direct(location: Location, follow: bool, retry_failed: bool) -> None:
    """Do what `nightscribe director` does, or with `follow` what `nightscribe run` does."""
    queue = _queue(location)
    source = location.open_source()
    records = Records(_store(location, queue))
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
