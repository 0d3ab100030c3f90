"""What is asked of buckets for one short recording: each request is paid for, and takes its time."""

import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.buckets import TestBucket
from support.workplace import OPTIONS, Dictated, Workplace, received

from nightscribe.director.enqueue import Director
from nightscribe.director.scan.scanner import Scanner
from nightscribe.shared.destination.records import Records
from nightscribe.shared.storage.s3.block_cache import Blocks
from nightscribe.shared.storage.s3.objects import Objects
from nightscribe.shared.storage.s3.source import BucketSource
from nightscribe.shared.storage.s3.store import BucketStore

N = 20
FORMATS = ("txt", "vtt", "srt")


class Counting:
    """What is asked by way of some clients, by operation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.n: Counter[str] = Counter()

    def slice_(self, objects: Objects) -> Objects:
        """The same objects, counted."""
        objects._client.meta.events.register("before-call.s3", self._count)
        return objects

    def _count(self, model: Any, **_: Any) -> None:
        with self._lock:
            self.n[model.name] += 1


@pytest.fixture
def filled(bucket: TestBucket, clips: list[Path]) -> TestBucket:
    """Twenty clips in two folders."""
    for n in range(N):
        bucket.put(f"in/{n % 2}/{n}.wav", clips[n % 4].read_bytes())
    return bucket


def test_a_short_recording_costs_few_requests(
    workplace: Workplace, filled: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is listed, looked at or kept for each of them that one list of all tells, or that is known already."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**11))  # so that blocks are kept
    directing, working = Counting(), Counting()

    def place(counting: Counting) -> tuple[BucketSource, Records]:
        source = BucketSource(counting.slice_(filled.objects("in/")), Blocks(2**30))
        return source, Records(BucketStore(counting.slice_(filled.objects("out/"))))

    source, records = place(directing)
    director = Director(workplace.queue, source, records, OPTIONS, FORMATS, max_queued_jobs=5, max_receives=3)
    missing = Scanner(source, records, FORMATS, settle_s=0).scan().missing
    for _ in director.direct(missing, follow=False):
        pass
    # A read of each; a list of each place for each folder, and what is asked once.
    assert directing.n["GetObject"] <= N + 5
    assert directing.n["ListObjectsV2"] < N
    assert directing.n["HeadObject"] == directing.n["PutObject"] == 0

    worker = workplace.worker(Dictated())
    worker.source, worker.records = place(working)
    n_jobs = 0
    while not workplace.is_empty():
        worker._handle(received(workplace.queue), worker.clock())
        n_jobs += 1
    assert n_jobs <= 3
    assert len([key for key in filled.keys if key.startswith("out/") and key.endswith(FORMATS)]) == 3 * N
    # The note of who has it in hand, its texts and its transcript; and of each job what its worker says of itself.
    assert 5 * N <= working.n["PutObject"] <= 5 * N + 5 * n_jobs
    assert working.n["ListObjectsV2"] == n_jobs
    # Is it finished, and its sound; whether it is as it was queued, and still was at the end.
    assert working.n["GetObject"] == 2 * N
    assert working.n["HeadObject"] == 2 * N
    # The note, and a failure that there might be; of each job its worker's.
    assert working.n["DeleteObject"] <= 2 * N + n_jobs
    assert [key for key in filled.keys if "/parts/" in key] == []
