"""What goes wrong and right in a night is counted: by real workers and directors, on a real queue."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, Wrapped, WrappedStore, received, working

from nightscribe import metrics_server as exposition
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.shared.telemetry import metrics
from nightscribe.worker.lease import Lease, lease_clock


class Increase:
    """How much each number has grown since the test began."""

    def __init__(self, queue: JobQueue) -> None:
        self._shown = [exposition.registry(each, lambda: queue) for each in (metrics.WORKER, metrics.DIRECTOR)]
        self._before = self._all()

    def _all(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = [family for shown in self._shown for family in shown.collect()]
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def of(self, name: str, **labels: str) -> float:
        """Of one of them."""
        key = (name, frozenset(labels.items()))
        return self._all()[key] - self._before.get(key, 0.0)


@pytest.fixture
def increase(workplace: Workplace) -> Increase:
    """Since now."""
    return Increase(workplace.queue)


@pytest.fixture
def impatient(workplace: Workplace) -> JobQueue:
    """The queue of the workplace, which is waited for as long as it takes, and not tried again if it fails."""
    queue = connect(workplace.queue.name, visibility_timeout_s=300, max_receives=3)
    queue.find()
    queue._retry_timeout_s = 0.0
    return queue


def depths(depth: exposition.QueueDepth) -> list[float]:
    """Queued, in flight, dead; nothing where it cannot be told."""
    return [sample.value for family in depth.collect() for sample in family.samples]


def asked_anew(depth: exposition.QueueDepth, clock: list[float]) -> list[float]:
    """The same, when the last answer is long past."""
    clock[0] += exposition.QUERY_EVERY_S
    return depths(depth)


def test_the_depth_of_the_queue_is_what_the_server_says(
    workplace: Workplace, impatient: JobQueue, clips: list[Path]
) -> None:
    """It is asked when somebody wants to know, and not too often; while it does not answer, there is no number."""
    for n, clip in enumerate(clips[:3]):
        shutil.copy(clip, workplace.source / f"{n}.wav")
    workplace.queue.send([workplace.job(f"{n}.wav") for n in range(3)], "run")
    clock, n_found = [0.0], 0

    def find() -> JobQueue:
        nonlocal n_found
        n_found += 1
        return impatient

    depth = exposition.QueueDepth(find, clock=lambda: clock[0])
    assert n_found == 0
    wait_until(lambda: asked_anew(depth, clock) == [3, 0, 0], what="three jobs")
    first, second = received(workplace.queue), received(workplace.queue)
    workplace.queue.dead_letter(first, first.body, "It is not a recording.")
    clock[0] += exposition.QUERY_EVERY_S - 1
    assert depths(depth) == [3, 0, 0]
    wait_until(lambda: asked_anew(depth, clock) == [1, 1, 1], what="what has become of them")
    assert n_found == 1

    client = impatient._client

    def away(_call: Any, _arguments: dict[str, Any]) -> Any:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    impatient._client = Wrapped(client, "get_queue_attributes", away)
    assert asked_anew(depth, clock) == []
    impatient._client = client
    assert depths(depth) == [], "not asked again at once"
    workplace.queue.delete(second)
    wait_until(lambda: asked_anew(depth, clock) == [1, 0, 1], what="the queue to be back")
    assert n_found == 2


def test_who_may_not_look_at_the_dead_letters_tells_the_depth_of_the_queue(
    workplace: Workplace, impatient: JobQueue, clips: list[Path]
) -> None:
    """As a worker on AWS, which has only the rights that it needs. It is refused once, and does not ask again."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.queue.send([workplace.job("a.wav")], "run")
    clock, n_refused = [0.0], 0

    def refused(call: Any, arguments: dict[str, Any]) -> Any:
        nonlocal n_refused
        if arguments["QueueUrl"] != impatient._dead_url:
            return call(**arguments)
        n_refused += 1
        error = {"Error": {"Code": "AccessDenied", "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(error, "GetQueueAttributes")  # type: ignore[arg-type]

    impatient._client = Wrapped(impatient._client, "get_queue_attributes", refused)
    depth = exposition.QueueDepth(lambda: impatient, clock=lambda: clock[0])
    wait_until(lambda: asked_anew(depth, clock) == [1, 0], what="one job")
    assert asked_anew(depth, clock) == [1, 0]
    assert n_refused == 1


def test_a_try_that_came_to_nothing_is_counted(
    workplace: Workplace, clips: list[Path], increase: Increase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job, its slice with the sound that was heard in vain, and that it was received again."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    troubles = [RetryableError("The share is away.")]

    def once(key: str) -> None:
        if key == "a.txt" and troubles:
            raise troubles.pop()

    monkeypatch.setattr("nightscribe.worker.attempt.settle.retry_delay_s", lambda *_: 0.0)
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(workplace.worker(Dictated(), store=WrappedStore(FolderStore(workplace.dest), once))):
        wait_until(workplace.is_empty, what="the job to be done")
    assert increase.of("nightscribe_jobs_total", outcome="retried") == 1
    assert increase.of("nightscribe_jobs_total", outcome="completed") == 1
    assert increase.of("nightscribe_slices_total", result="retried") == 1
    assert increase.of("nightscribe_audio_seconds_total", result="retried") == pytest.approx(3.0, abs=0.1)
    assert increase.of("nightscribe_redeliveries_total") == 1
    assert increase.of("nightscribe_recordings_total", result="completed") == 1
    assert increase.of("nightscribe_recordings_total", result="failed") == 0


def test_a_job_that_is_done_already_is_counted_as_skipped(
    workplace: Workplace, clips: list[Path], increase: Increase
) -> None:
    shutil.copy(clips[0], workplace.source / "a.wav")
    for run in ("first", "second"):
        workplace.queue.send([workplace.job("a.wav")], run)
    with working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, what="both to be done")
    assert increase.of("nightscribe_slices_total", result="skipped") == 1
    assert increase.of("nightscribe_slices_total", result="completed") == 1
    assert increase.of("nightscribe_jobs_total", outcome="completed") == 2


def test_leases_are_counted_that_were_extended_or_not_or_lost(
    workplace: Workplace, clips: list[Path], increase: Increase
) -> None:
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.queue.send([workplace.job("a.wav")], "run")
    delivery, away, now = received(workplace.queue), threading.Event(), [lease_clock()]

    def sometimes(call: Any, arguments: dict[str, Any]) -> Any:
        if away.is_set():
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
        return call(**arguments)

    workplace.queue._client = Wrapped(workplace.queue._client, "change_message_visibility", sometimes)
    with Lease(
        workplace.queue,
        delivery,
        received_at=now[0],
        visibility_timeout_s=300,
        heartbeat_s=0.02,
        stop=threading.Event(),
        clock=lambda: now[0],
    ):
        wait_until(lambda: increase.of("nightscribe_lease_extensions_total", result="extended") >= 1, what="one")
        assert increase.of("nightscribe_lease_extensions_total", result="failed") == 0
        away.set()
        wait_until(lambda: increase.of("nightscribe_lease_extensions_total", result="failed") >= 1, what="a failure")
        assert increase.of("nightscribe_leases_lost_total") == 0
        now[0] += 301
        wait_until(lambda: increase.of("nightscribe_leases_lost_total") == 1, what="it to be lost")


def test_a_director_counts_what_it_queues_and_what_is_still_out(
    workplace: Workplace, clips: list[Path], increase: Increase
) -> None:
    """And recordings whose jobs killed every worker: there it is the one who gives them up."""
    for n, clip in enumerate(clips[:2]):
        shutil.copy(clip, workplace.source / f"{n}.wav")
    director = workplace.director()
    events = director.direct(workplace.scan().missing, follow=True)
    assert next(events) is None
    assert increase.of("nightscribe_jobs_queued_total") == 1
    assert metrics.JOBS_OUTSTANDING._value.get() == 1
    delivery = received(workplace.queue)
    workplace.queue.dead_letter(delivery, delivery.body, "")
    for _ in events:
        pass
    assert metrics.JOBS_OUTSTANDING._value.get() == 0
    assert increase.of("nightscribe_recordings_total", result="failed") == 2
