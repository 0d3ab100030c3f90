"""A worker has a job for exactly as long as nobody else can: the heartbeat fails, is late, or comes back."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from structlog.testing import capture_logs
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, Wrapped, WrappedStore, received, working

from nightscribe.shared.destination.keys import PARTS, TRANSCRIPTS, transcript_key
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX
from nightscribe.shared.errors import Interrupted, LeaseLost
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker.lease import Lease, lease_clock

EXTEND = "change_message_visibility"
LOST = "lease.lost"


class Clock:
    """Stands still until a test pushes it: however long the machine takes, no lease runs out of itself."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Seconds since some moment."""
        return self.now_s


class Calls:
    """Goes between a queue and its client for one operation, keeps the arguments of each call, and may refuse it."""

    def __init__(self, queue: JobQueue, operation: str, refuse: Callable[[int], bool] = lambda _n: False) -> None:
        self.asked: list[dict[str, Any]] = []
        self._refuse = refuse
        queue._client = Wrapped(queue._client, operation, self._call)

    def _call(self, call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        self.asked.append(arguments)
        if self._refuse(len(self.asked)):
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
        return call(**arguments)


def other_queue(workplace: Workplace) -> JobQueue:
    """The same queue as another worker sees it, with a client that nothing goes between."""
    queue = connect(
        workplace.queue.name,
        visibility_timeout_s=workplace.settings.visibility_timeout_s,
        max_receives=workplace.settings.max_receives,
    )
    queue.ensure()
    return queue


def lease_of(
    workplace: Workplace,
    delivery: Delivery,
    clock: Callable[[], float],
    *,
    received_at: float | None = None,
) -> Lease:
    """A lease on a delivery that was received just now."""
    return Lease(
        workplace.queue,
        delivery,
        received_at=clock() if received_at is None else received_at,
        visibility_timeout_s=workplace.settings.visibility_timeout_s,
        heartbeat_s=workplace.settings.heartbeat_s,
        stop=threading.Event(),
        clock=clock,
    )


def hides_for(workplace: Workplace, visibility_timeout_s: float) -> None:
    """Let jobs that are received there, and their leases, last no longer than that."""
    workplace.settings = workplace.settings.model_copy(update={"visibility_timeout_s": visibility_timeout_s})
    workplace.queue = other_queue(workplace)


def losses(logs: Iterable[Any]) -> list[str]:
    """Why a lease was lost, as often as the log says so."""
    return [entry["why"] for entry in logs if entry["event"] == LOST]


@pytest.fixture
def settings() -> Settings:
    """A heart that beats often, and a lease that outlives every test: what is to end it, the test does."""
    return Settings(visibility_timeout_s=600, heartbeat_s=0.1, max_receives=100)


@pytest.fixture
def clock() -> Clock:
    """Of the leases in a test."""
    return Clock()


@pytest.fixture
def delivery(workplace: Workplace) -> Delivery:
    """The job of `a.wav`, received."""
    workplace.queue.send([workplace.job("a.wav")], "run")
    return received(workplace.queue)


# The lease alone


def test_a_job_stays_hidden_for_as_long_as_its_lease_is_kept(workplace: Workplace) -> None:
    """Twice its visibility timeout; afterwards it comes back by itself.

    A machine that stands still for a moment loses the lease, and knows it: then there is another try.
    """
    theirs = other_queue(workplace)
    hides_for(workplace, 1)
    workplace.queue.send([workplace.job("a.wav")], "run")
    kept = False
    while not kept:
        asked_at = lease_clock()
        delivery = received(workplace.queue)
        assert delivery.receive_count < 10, "it never kept its lease"
        with lease_of(workplace, delivery, lease_clock, received_at=asked_at) as lease:
            while lease.held and not (kept := lease_clock() > asked_at + 2):
                taken = theirs.receive(wait_s=1)
                assert taken is None or not lease.held
                if taken:
                    theirs.change_visibility(taken, 0)
    assert received(theirs).message_id == delivery.message_id


def test_extensions_that_fail_and_then_succeed_keep_the_lease(
    workplace: Workplace, delivery: Delivery, clock: Clock
) -> None:
    """The server was away for some calls; the first that arrives makes the lease last as long as a new one."""
    calls = Calls(workplace.queue, EXTEND, refuse=lambda n: n <= 2)
    with capture_logs() as logs, lease_of(workplace, delivery, clock) as lease:
        clock.now_s += 599
        wait_until(lambda: len(calls.asked) > 3, what="some calls that arrive")
        clock.now_s += 599
        lease.check()
    assert losses(logs) == []
    assert {arguments["VisibilityTimeout"] for arguments in calls.asked} == {600}


def test_a_lease_that_cannot_be_extended_is_lost_at_its_deadline(
    workplace: Workplace, delivery: Delivery, clock: Clock
) -> None:
    """Not at the first failure, and not a moment after the server gives the job to another."""
    calls = Calls(workplace.queue, EXTEND, refuse=lambda _n: True)
    with capture_logs() as logs, lease_of(workplace, delivery, clock) as lease:
        wait_until(lambda: len(calls.asked) > 2, what="some calls that fail")
        clock.now_s += 599.9
        lease.check()
        clock.now_s += 0.1
        with pytest.raises(LeaseLost):
            lease.check()
        wait_until(lambda: losses(logs), what="the loss to be told")


def test_time_that_really_passes_ends_a_lease(workplace: Workplace) -> None:
    """By the clock that a worker has."""
    hides_for(workplace, 1)
    Calls(workplace.queue, EXTEND, refuse=lambda _n: True)
    began = lease_clock()
    workplace.queue.send([workplace.job("a.wav")], "run")
    with lease_of(workplace, received(workplace.queue), lease_clock, received_at=began) as lease:
        wait_until(lambda: not lease.held, what="the lease to be lost")
        assert lease_clock() - began >= 1


def test_nothing_is_asked_for_after_the_deadline(
    workplace: Workplace, delivery: Delivery, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a call that is tried again either: the handle may be stale by then, and some servers take it."""
    calls = Calls(workplace.queue, EXTEND, refuse=lambda _n: True)
    change = workplace.queue.change_visibility
    patience: list[float] = []

    def noted(delivery: Delivery, timeout_s: float, *, retry_timeout_s: float) -> None:
        patience.append(retry_timeout_s)
        change(delivery, timeout_s, retry_timeout_s=retry_timeout_s)

    monkeypatch.setattr(workplace.queue, "change_visibility", noted)
    received_at = clock() - workplace.settings.visibility_timeout_s + 0.05
    with lease_of(workplace, delivery, clock, received_at=received_at) as lease:
        wait_until(lambda: patience, what="a heartbeat")
        clock.now_s += 0.05
        # The heartbeat is over, whatever it was still about to try.
        wait_until(lambda: not lease._thread.is_alive(), what="the heart to stop")
        assert not lease.held
    assert calls.asked
    assert max(patience) == pytest.approx(0.05), "which is less than there is to the next heartbeat"


def test_a_lease_counts_from_before_the_job_was_asked_for(
    workplace: Workplace, delivery: Delivery, clock: Clock
) -> None:
    """An answer that took longer than the lease brings a job that may be another's already."""
    long_ago = clock() - workplace.settings.visibility_timeout_s
    with lease_of(workplace, delivery, clock, received_at=long_ago) as lease, pytest.raises(LeaseLost):
        lease.check()


def test_an_extension_that_is_answered_too_late_revives_nothing(
    workplace: Workplace, delivery: Delivery, clock: Clock
) -> None:
    """The server said yes, but by the time this was heard the lease was over."""

    def slowly(change: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        answer = change(**arguments)
        # Past the deadline that was, though not past the one that this answer would make.
        clock.now_s += 0.1
        return answer

    workplace.queue._client = Wrapped(workplace.queue._client, EXTEND, slowly)
    received_at = clock() - workplace.settings.visibility_timeout_s + 0.05
    with capture_logs() as logs, lease_of(workplace, delivery, clock, received_at=received_at) as lease:
        wait_until(lambda: losses(logs), what="the loss to be told")
        # Lost to this answer, and not to a later heartbeat that found the time over.
        assert losses(logs) == ["the response came too late"]
        clock.now_s -= 0.1  # nor does a clock that is set back
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_lease_that_was_lost_while_the_machine_slept_is_not_asked_for_again(
    workplace: Workplace, delivery: Delivery, clock: Clock
) -> None:
    """The heartbeat that comes next would take the job from its new owner where the server lets it."""
    calls = Calls(workplace.queue, EXTEND)
    lease = lease_of(workplace, delivery, clock)
    clock.now_s += 3600
    with capture_logs() as logs, lease:
        wait_until(lambda: losses(logs), what="the loss to be told")
        assert not lease.held
    assert calls.asked == []


def test_a_lease_ends_only_after_an_extension_under_way(
    workplace: Workplace, delivery: Delivery, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the extension could arrive after the job was given back, and hide it from everybody."""
    monkeypatch.setattr("nightscribe.worker.lease.END_WITHIN_S", 60)
    under_way, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def slowly(change: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        under_way.set()
        assert go_on.wait(60)
        answer = change(**arguments)
        order.append("extended")
        return answer

    def end() -> None:
        lease.end()
        order.append("ended")

    workplace.queue._client = Wrapped(workplace.queue._client, EXTEND, slowly)
    with lease_of(workplace, delivery, clock) as lease:
        assert under_way.wait(60)
        ending = threading.Thread(target=end)
        ending.start()
        ending.join(0.3)
        go_on.set()
        ending.join(60)
    assert order == ["extended", "ended"]


def test_a_lease_tells_its_worker_to_stop(workplace: Workplace, delivery: Delivery, clock: Clock) -> None:
    """Which comes second: a lease that is lost must not be given back."""
    lease = lease_of(workplace, delivery, clock)
    lease._stop.set()
    with pytest.raises(Interrupted):
        lease.check()
    clock.now_s += 3600
    with pytest.raises(LeaseLost):
        lease.check()


# A worker with a lease


@pytest.mark.parametrize("sqs_server", ["ministack", "localstack"], indirect=True)
def test_a_worker_whose_lease_ran_out_stores_and_deletes_nothing(workplace: Workplace, clock: Clock) -> None:
    """Its successor has the job, and keeps it to the end, even where the server would take the stale handle."""
    theirs = other_queue(workplace)
    hides_for(workplace, 1)
    Calls(workplace.queue, EXTEND, refuse=lambda _n: True)
    deletions = Calls(workplace.queue, "delete_message")
    taken: list[Delivery] = []

    def until_another_has_it() -> None:
        taken.append(received(theirs))
        clock.now_s += workplace.settings.visibility_timeout_s

    late = Dictated(before=until_another_has_it)
    workplace.queue.send([workplace.job("a.wav")], "run")
    with capture_logs() as logs, working(workplace.worker(late, name="late", clock=clock)):
        wait_until(
            lambda: [entry for entry in logs if entry["event"] == "job.abandoned"], what="the job to be abandoned"
        )
        assert [delivery.receive_count for delivery in taken] == [2]
    assert deletions.asked == []
    assert workplace.texts == []
    assert list(workplace.records.store.walk(TRANSCRIPTS)) == []
    assert [key for key in workplace.records.store.walk(PARTS) if not key.endswith(CLAIM_SUFFIX)] == []
    assert theirs.counts().queued + theirs.counts().in_flight == 1
    theirs.delete(taken[0])
    assert workplace.is_empty()


@pytest.mark.parametrize("sqs_server", ["ministack", "localstack"], indirect=True)
@pytest.mark.parametrize(
    ("moment", "stored"),
    [("transcribing", []), ("a.txt", []), (transcript_key("a.wav"), ["a.srt", "a.txt", "a.vtt"])],
)
def test_a_handle_is_not_used_after_the_workers_own_clock_says_no(
    workplace: Workplace, clock: Clock, moment: str, stored: list[str]
) -> None:
    """The server would accept it: to the server no time has passed."""
    workplace.settings = workplace.settings.model_copy(update={"heartbeat_s": 300})

    def sleep_for_an_hour() -> None:
        clock.now_s += 3600

    def before_put(key: str) -> None:
        if key == moment:
            sleep_for_an_hour()

    used = [Calls(workplace.queue, EXTEND), Calls(workplace.queue, "delete_message")]
    engine = Dictated(before=sleep_for_an_hour if moment == "transcribing" else lambda: None)
    worker = workplace.worker(engine, clock=clock, store=WrappedStore(FolderStore(workplace.dest), before_put))
    workplace.queue.send([workplace.job("a.wav")], "run")
    delivery = received(workplace.queue)
    with capture_logs() as logs:
        worker._handle(delivery, clock())
    assert [entry["event"] for entry in logs if entry["event"].startswith("job.")] == ["job.abandoned"]
    assert [call.asked for call in used] == [[], []]
    # What was being written when time ran out is not there: the lease is checked once more before it gets its name.
    assert workplace.texts == stored
    workplace.queue.change_visibility(delivery, 0)  # accepted, as it would have been then
    again = received(workplace.queue)
    workplace.worker(engine)._handle(again, lease_clock())
    assert workplace.is_empty()
    assert engine.n_calls == 2


def test_a_share_that_stalls_for_longer_than_a_lease_costs_only_time(workplace: Workplace) -> None:
    """The heart goes on beating while a write hangs, so nobody else has the job, and it is stored once."""
    calls = Calls(workplace.queue, EXTEND)

    def stall(key: str) -> None:
        if key.startswith(TRANSCRIPTS):
            before = len(calls.asked)
            wait_until(lambda: len(calls.asked) > before + 2, what="the heart to beat")

    engine = Dictated()
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(workplace.worker(engine, store=WrappedStore(FolderStore(workplace.dest), stall))):
        wait_until(workplace.is_empty, what="the job to be done")
    assert engine.n_calls == 1
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]


def test_the_heartbeat_begins_before_the_model_is_loaded(workplace: Workplace) -> None:
    """Loading may take longer than the visibility timeout, and so may a network share."""
    worker = workplace.worker(Dictated())
    ready = worker.transcriber_for
    calls = Calls(workplace.queue, EXTEND)

    def load_slowly(options: Any) -> Any:
        wait_until(lambda: len(calls.asked) > 1, what="the heart to beat")
        return ready(options)

    worker.transcriber_for = load_slowly
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(worker):
        wait_until(workplace.is_empty, what="the job to be done")
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]


def test_a_worker_that_is_told_to_stop_gives_its_job_back_at_once(workplace: Workplace) -> None:
    """With nothing of it stored, and for the next worker to have before its visibility timeout is over."""
    workplace.settings = workplace.settings.model_copy(update={"heartbeat_s": 300})
    stop = threading.Event()
    worker = workplace.worker(Dictated(before=stop.set))
    worker.stop = stop
    calls = Calls(workplace.queue, EXTEND)
    workplace.queue.send([workplace.job("a.wav")], "run")
    worker.run(until_empty=False)
    assert [arguments["VisibilityTimeout"] for arguments in calls.asked] == [0]
    assert workplace.texts == []
    assert received(workplace.queue).receive_count == 2
