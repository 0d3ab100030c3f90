"""A worker has a job for exactly as long as nobody else can: the heartbeat fails, is late, or comes back."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from structlog.testing import capture_logs
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, Wrapped, WrappedStore, working

from shared.errors import Interrupted, LeaseLost
from shared.names import TRANSCRIPTS
from shared.queue import Delivery, JobQueue, connect
from shared.store import FolderStore
from worker.lease import Lease, lease_clock

EXTEND = "change_message_visibility"


class Clock:
    """The real clock, and how far a test has pushed it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Seconds since some moment."""
        return lease_clock() + self.ahead_s


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


def received(queue: JobQueue) -> Delivery:
    """The next delivery, which must be there."""
    delivery = queue.receive(wait_s=10)
    assert delivery is not None, "nothing was delivered"
    return delivery


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
    *,
    clock: Callable[[], float] = lease_clock,
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


@pytest.fixture
def delivery(workplace: Workplace) -> Delivery:
    """The job of `a.wav`, received."""
    workplace.queue.send([workplace.job("a.wav")], "run")
    return received(workplace.queue)


# The lease alone


def test_a_job_stays_hidden_for_as_long_as_its_lease_is_kept(workplace: Workplace, delivery: Delivery) -> None:
    """Twice its visibility timeout; afterwards it comes back by itself."""
    with lease_of(workplace, delivery) as lease:
        assert workplace.queue.receive(wait_s=2 * workplace.settings.visibility_timeout_s) is None
        lease.check()
    assert received(workplace.queue).message_id == delivery.message_id


def test_extensions_that_fail_and_then_succeed_keep_the_lease(workplace: Workplace, delivery: Delivery) -> None:
    """The server was away for some calls, and nobody else has the job."""
    theirs = other_queue(workplace)
    calls = Calls(workplace.queue, EXTEND, refuse=lambda n: n <= 2)
    with capture_logs() as logs, lease_of(workplace, delivery) as lease:
        assert theirs.receive(wait_s=3) is None
        assert len(calls.asked) >= 3
        lease.check()
    assert not [entry for entry in logs if entry["event"] == "lease.lost"]


def test_a_lease_that_cannot_be_extended_is_lost_at_its_deadline(workplace: Workplace, delivery: Delivery) -> None:
    """Not at the first failure, and not a moment after the server gives the job to another."""
    began = lease_clock()
    Calls(workplace.queue, EXTEND, refuse=lambda _n: True)
    with lease_of(workplace, delivery, received_at=began) as lease:
        lease.check()
        wait_until(lambda: not lease.held, 5, "the lease to be lost")
        lasted_s = lease_clock() - began
        with pytest.raises(LeaseLost):
            lease.check()
    assert 1.9 < lasted_s < 2.4


def test_nothing_is_asked_for_after_the_deadline(workplace: Workplace, delivery: Delivery) -> None:
    """Not by a call that is tried again either: the handle may be stale by then, and some servers take it."""
    settings = workplace.settings
    # At the first heartbeat a third of a second is left.
    deadline = lease_clock() + settings.heartbeat_s + 0.3
    asked_at: list[float] = []

    def refuse(_n: int) -> bool:
        asked_at.append(lease_clock())
        return True

    Calls(workplace.queue, EXTEND, refuse=refuse)
    with lease_of(workplace, delivery, received_at=deadline - settings.visibility_timeout_s) as lease:
        wait_until(lambda: not lease.held, 5, "the lease to be lost")
        # The heartbeat is over, whatever it was still about to try.
        wait_until(lambda: not lease._thread.is_alive(), 5, "the heart to stop")
    assert asked_at
    assert [at for at in asked_at if at > deadline] == []


def test_a_lease_counts_from_before_the_job_was_asked_for(workplace: Workplace, delivery: Delivery) -> None:
    """An answer that took longer than the lease brings a job that may be another's already."""
    long_ago = lease_clock() - workplace.settings.visibility_timeout_s
    with lease_of(workplace, delivery, received_at=long_ago) as lease, pytest.raises(LeaseLost):
        lease.check()


def test_an_extension_that_is_answered_too_late_revives_nothing(workplace: Workplace, delivery: Delivery) -> None:
    """The server said yes, but by the time this was heard the lease was over."""
    clock = Clock()
    answered = threading.Event()

    def slowly(change: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        answer = change(**arguments)
        # Past the deadline that was, though not past the one that this answer would make.
        clock.ahead_s += lease._deadline - clock() + 0.05
        answered.set()
        return answer

    workplace.queue._client = Wrapped(workplace.queue._client, EXTEND, slowly)
    lease = lease_of(workplace, delivery, clock=clock)
    with capture_logs() as logs, lease:
        assert answered.wait(5)
        wait_until(lambda: [entry for entry in logs if entry["event"] == "lease.lost"], what="the loss to be told")
        # Lost to this answer, and not to a later heartbeat that found the time over.
        assert [entry["why"] for entry in logs if entry["event"] == "lease.lost"] == ["the answer came too late"]
        clock.ahead_s = 0  # nor does a clock that is set back
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_lease_that_was_lost_while_the_machine_slept_is_not_asked_for_again(
    workplace: Workplace, delivery: Delivery
) -> None:
    """The heartbeat that comes next would take the job from its new owner where the server lets it."""
    clock = Clock()
    calls = Calls(workplace.queue, EXTEND)
    with capture_logs() as logs, lease_of(workplace, delivery, clock=clock) as lease:
        clock.ahead_s = 3600
        wait_until(lambda: [entry for entry in logs if entry["event"] == "lease.lost"], what="the loss to be told")
        assert not lease.held
    assert calls.asked == []


def test_a_lease_ends_only_after_an_extension_under_way(workplace: Workplace, delivery: Delivery) -> None:
    """Or the extension could arrive after the job was given back, and hide it from everybody."""
    under_way, go_on = threading.Event(), threading.Event()

    def slowly(change: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        under_way.set()
        assert go_on.wait(5)
        return change(**arguments)

    workplace.queue._client = Wrapped(workplace.queue._client, EXTEND, slowly)
    lease = lease_of(workplace, delivery)
    with lease:
        assert under_way.wait(5)
        ending = threading.Thread(target=lease.end)
        ending.start()
        ending.join(0.3)
        assert ending.is_alive()
        go_on.set()
        ending.join(5)
        assert not ending.is_alive()


def test_a_lease_tells_its_worker_to_stop(workplace: Workplace, delivery: Delivery) -> None:
    """Which comes second: a lease that is lost must not be given back."""
    lease = lease_of(workplace, delivery)
    lease._stop.set()
    with pytest.raises(Interrupted):
        lease.check()
    late = lease_of(workplace, delivery, received_at=lease_clock() - 60)
    late._stop.set()
    with pytest.raises(LeaseLost):
        late.check()


# A worker with a lease


@pytest.mark.parametrize("sqs_server", ["ministack", "localstack"], indirect=True)
def test_a_worker_whose_lease_ran_out_stores_and_deletes_nothing(workplace: Workplace) -> None:
    """Its successor has the job, and keeps it to the end, even where the server would take the stale handle."""
    theirs = other_queue(workplace)
    Calls(workplace.queue, EXTEND, refuse=lambda _n: True)
    deletions = Calls(workplace.queue, "delete_message")
    taken: list[Delivery] = []

    def until_another_has_it() -> None:
        taken.append(received(theirs))

    late = Dictated(before=until_another_has_it)
    workplace.queue.send([workplace.job("a.wav")], "run")
    with capture_logs() as logs, working(workplace.worker(late, name="late")):
        wait_until(
            lambda: [entry for entry in logs if entry["event"] == "job.abandoned"], 15, "the job to be abandoned"
        )
        assert [delivery.receive_count for delivery in taken] == [2]
    assert deletions.asked == []
    assert workplace.texts == []
    assert list(workplace.records.store.walk(".nightscribe/")) == []
    assert theirs.counts().queued + theirs.counts().in_flight == 1
    theirs.delete(taken[0])
    assert workplace.is_empty()


@pytest.mark.parametrize("sqs_server", ["ministack", "localstack"], indirect=True)
@pytest.mark.parametrize("moment", ["transcribing", "storing"])
def test_a_handle_is_not_used_after_the_workers_own_clock_says_no(workplace: Workplace, moment: str) -> None:
    """The server would accept it: to the server no time has passed."""
    clock = Clock()

    def sleep_for_an_hour() -> None:
        clock.ahead_s = 3600

    def before_put(key: str) -> None:
        if moment == "storing" and key.startswith(TRANSCRIPTS):
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
    # What was being written when time ran out is whole; what was not begun is not there.
    assert workplace.texts == (["a.srt", "a.txt", "a.vtt"] if moment == "storing" else [])
    workplace.queue.change_visibility(delivery, 0)  # accepted, as it would have been then
    again = received(workplace.queue)
    workplace.worker(engine)._handle(again, lease_clock())
    assert workplace.is_empty()
    assert engine.n_calls == (1 if moment == "storing" else 2)


def test_the_heartbeat_begins_before_the_model_is_loaded(workplace: Workplace) -> None:
    """Loading may take longer than the visibility timeout, and so may a network share."""
    theirs = other_queue(workplace)
    worker = workplace.worker(Dictated())
    ready = worker.transcriber_for
    loading, loaded = threading.Event(), threading.Event()

    def load_slowly(options: Any) -> Any:
        loading.set()
        assert loaded.wait(20)
        return ready(options)

    worker.transcriber_for = load_slowly
    workplace.queue.send([workplace.job("a.wav")], "run")
    with working(worker):
        assert loading.wait(10)
        taken = theirs.receive(wait_s=3)
        loaded.set()
        assert taken is None
        wait_until(workplace.is_empty, what="the job to be done")
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]


def test_a_worker_that_is_told_to_stop_gives_its_job_back_at_once(workplace: Workplace) -> None:
    """With nothing of it stored, and for the next worker to have before its visibility timeout is over."""
    stop = threading.Event()
    worker = workplace.worker(Dictated(before=stop.set))
    worker.stop = stop
    calls = Calls(workplace.queue, EXTEND)
    workplace.queue.send([workplace.job("a.wav")], "run")
    worker.run(until_empty=False)
    assert [arguments["VisibilityTimeout"] for arguments in calls.asked] == [0]
    assert workplace.texts == []
    again = workplace.queue.receive(wait_s=0)
    assert again is not None
    assert again.receive_count == 2
