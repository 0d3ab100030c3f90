"""A request that the network delivers late changes nothing that another worker has stored in the meantime."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from chaos.event_log import EventLog
from chaos.network import HOLD, LOSE_RESPONSE, Network
from structlog.testing import capture_logs
from support.buckets import TestBucket, refused
from support.servers import SqsServer
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, Wrapped, received

from nightscribe.shared.destination.keys import failure_key, parts_folder
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import LeaseLost, RetryableError
from nightscribe.shared.storage.s3.objects import Objects
from nightscribe.shared.storage.s3.store import BucketStore
from nightscribe.worker.fenced_store import MAX_CONFLICTS, FencedStore

FOR_EVER_S = 600.0


class Successor(Dictated):
    """An engine that hears other words."""

    TEXT = "It was the worst of times."


@dataclass
class Ended:
    """A lease that a test ends."""

    held: bool = True


@dataclass
class Far:
    """A bucket on the other side of a network that a test controls."""

    bucket: TestBucket
    network: Network
    events: EventLog
    faults: list[str] = field(default_factory=list)

    def store(self, wrapped: Callable[[Any], Any] = lambda client: client) -> BucketStore:
        """The bucket as somebody sees it who is reached by that network."""
        client = wrapped(self.client())
        return BucketStore(Objects(self.bucket.at("out/"), lambda: client))

    def client(self) -> Any:
        """One that waits for as long as the network lets it."""
        import boto3

        config = Config(retries={"total_max_attempts": 1}, read_timeout=FOR_EVER_S)
        return boto3.client("s3", endpoint_url=self.network.address("store"), config=config)

    def met(self, fault: str) -> bool:
        """Whether a request has met that fault."""
        self.faults += [event.fields["fault"] for event in self.events.new()]
        return fault in self.faults

    def hold(self, match: str) -> None:
        """Hold up the next such request until `network.release`."""
        self.network.inject("store", HOLD, match=match, delay_s=FOR_EVER_S)

    @property
    def near(self) -> BucketStore:
        """The bucket without that network."""
        return BucketStore(self.bucket.objects("out/"))


@pytest.fixture(scope="module")
def link(ministack: SqsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Path]]:
    """A network with one link, and its event log."""
    events = tmp_path_factory.mktemp("network") / "events.jsonl"
    with Network({"store": ministack.port}, events) as network:
        yield network, events


@pytest.fixture
def far(bucket: TestBucket, link: tuple[Network, Path]) -> Iterator[Far]:
    """An empty bucket."""
    network, path = link
    events = EventLog(path)
    list(events.new())  # of other tests
    yield Far(bucket, network, events)
    network.release()


def fenced(store: BucketStore, lease: Ended) -> FencedStore:
    """The store of a worker with that lease."""
    return FencedStore(store, lease, worker="worker", message_id="message")  # type: ignore[arg-type]


def held_up(far: Far, lease: Ended, change: Callable[[], object], meanwhile: Callable[[], object]) -> None:
    """Let the network hold up the request of a change, while another worker gets the job and does something.

    The first worker then notices that it may not write any more.
    """
    caught: list[BaseException] = []

    def do() -> None:
        try:
            change()
        except LeaseLost as error:
            caught.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    wait_until(lambda: far.met(HOLD), what="the request")
    lease.held = False
    meanwhile()
    far.network.release()
    thread.join()
    assert caught, "it took the late request for a timely one"


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "read before"])
@pytest.mark.parametrize("name", ["put", "put_new"])
def test_a_put_that_arrives_late_overwrites_nothing(far: Far, name: str, is_there: bool) -> None:
    """Neither where there was nothing before, nor where the other worker has replaced what was."""
    lease = Ended()
    store = fenced(far.store(), lease)
    if is_there:
        far.near.put("a", b"before")
        if name == "put":
            assert store.get("a") == b"before"
    far.hold("PUT")
    held_up(far, lease, lambda: getattr(store, name)("a", b"late"), lambda: far.near.put("a", b"theirs"))
    assert far.near.get("a") == b"theirs"


@pytest.mark.parametrize("key", [failure_key("a.wav"), f"{parts_folder('a.wav')}0-0{CLAIM_SUFFIX}"])
def test_a_note_that_is_created_too_late_is_taken_back(far: Far, key: str) -> None:
    """Nobody else would: the other worker has ended, and removed what it had begun."""
    lease = Ended()
    store = fenced(far.store(), lease)
    far.hold("PUT")

    def meanwhile() -> None:
        far.near.put(key, b"theirs")
        far.near.delete(key)

    held_up(far, lease, lambda: store.put(key, b"late"), meanwhile)
    assert far.bucket.keys == []


def test_a_result_that_nobody_has_replaced_is_kept_although_it_is_late(far: Far) -> None:
    """The next worker finds it done."""
    lease = Ended()
    store = fenced(far.store(), lease)
    key = f"{parts_folder('a.wav')}0-0.json"
    far.hold("PUT")
    thread = threading.Thread(target=store.put, args=(key, b"words"))
    thread.start()
    wait_until(lambda: far.met(HOLD), what="the request")
    lease.held = False
    far.network.release()
    thread.join()
    assert far.near.get(key) == b"words"


def test_a_deletion_that_arrives_late_leaves_what_has_been_replaced(far: Far) -> None:
    lease = Ended()
    store = fenced(far.store(), lease)
    store.put("a", b"ours")
    far.hold("DELETE")
    held_up(far, lease, lambda: store.delete("a"), lambda: far.near.put("a", b"theirs"))
    assert far.near.get("a") == b"theirs"


def test_a_response_that_is_lost_costs_nothing(far: Far) -> None:
    """The second try finds what the first one did, and takes it for its own."""
    store = fenced(far.store(), Ended())
    for change in (
        lambda: store.put("a", b"one"),
        lambda: store.put("a", b"two"),
        lambda: store.put_new("b", b"three"),
        lambda: store.delete("a"),
    ):
        far.network.inject("store", LOSE_RESPONSE)
        change()
        assert far.met(LOSE_RESPONSE)
        far.faults.clear()
    assert {key: far.bucket.get(key) for key in far.bucket.keys} == {"out/b": b"three"}


def test_what_another_process_changed_is_replaced_while_the_lease_is_held(far: Far) -> None:
    """A director marks a transcript, or a file is there that nobody looked for. If that never ends, it is an error."""
    store = fenced(far.store(), Ended())
    far.near.put("a", b"there")
    store.put("a", b"ours")
    far.near.put("a", b"marked")
    store.put("a", b"ours again")
    far.near.put("a", b"marked")
    store.delete("a")
    assert far.near.get("a") is None
    assert not store.put_new("b", b"words") or far.near.get("b") == b"words"
    far.near.put("b", b"notes")
    assert not store.put_new("b", b"words")

    def contest(put: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        far.near.put("c", str(len(tries)).encode())
        tries.append(arguments)
        return put(**arguments)

    tries: list[Any] = []
    contested = fenced(far.store(lambda client: Wrapped(client, "put_object", contest)), Ended())
    with pytest.raises(RetryableError, match="keep changing 'c'"):
        contested.put("c", b"ours")
    assert len(tries) == MAX_CONFLICTS


def test_a_record_that_appeared_since_the_attempt_began_is_read_before_it_is_replaced(far: Far) -> None:
    """To spare a request, its absence is believed once; a new file that is there all the same is then looked at."""
    store = fenced(far.store(), Ended())
    assert store.ends("a", 10, 2) is None
    far.near.put("a", b"with corrections")
    assert store.get("a") is None
    assert not store.put_new("a", b"words")
    assert store.get("a") == b"with corrections"
    assert store.put_if_same("a", b"words with corrections", b"with corrections")


def test_a_server_without_conditional_requests_is_written_to_all_the_same(far: Far) -> None:
    """It is asked once for each kind of request."""
    refusals: list[str] = []

    def without(operation: str) -> Callable[[Callable[..., Any], dict[str, Any]], Any]:
        def call(real: Callable[..., Any], arguments: dict[str, Any]) -> Any:
            if {"IfMatch", "IfNoneMatch"} & set(arguments):
                refusals.append(operation)
                raise refused("NotImplemented", 501, "A header you provided implies functionality that is not there")
            return real(**arguments)

        return call

    store = far.store(
        lambda client: Wrapped(Wrapped(client, "put_object", without("put")), "delete_object", without("delete"))
    )
    worker = fenced(store, Ended())
    worker.put("a", b"one")
    worker.put("a", b"two")
    assert worker.put_new("b", b"three")
    assert far.near.get("a") == b"two"
    worker.delete("a")
    worker.delete("b")
    assert far.bucket.keys == []
    assert refusals == ["put", "delete"]


@pytest.mark.parametrize("held", ["out/a.txt", "transcripts/a.wav.json"], ids=["text", "record"])
def test_a_worker_whose_request_is_late_overwrites_nothing_of_its_successor(
    workplace: Workplace, far: Far, speech: Path, held: str
) -> None:
    """The network holds up its request for an hour after the lease was checked; another worker does the job."""
    now_s = 1000.0
    workplace.queue.send([workplace.job("a.wav")], "run")
    delivery = received(workplace.queue)
    worker = workplace.worker(Dictated(), name="late", store=far.store(), clock=lambda: now_s)
    far.hold(held)
    with capture_logs() as logs:
        thread = threading.Thread(target=worker._handle, args=(delivery, now_s))
        thread.start()
        wait_until(lambda: far.met(HOLD), what="the request")
        now_s += 3600
        workplace.queue.change_visibility(delivery, 0)
        successor = workplace.worker(Successor(), name="successor", store=far.near)
        successor._handle(received(workplace.queue), successor.clock())
        assert workplace.is_empty()
        far.network.release()
        thread.join()
    assert "job.abandoned" in [entry["event"] for entry in logs]
    made = Records(far.near).transcript("a.wav")
    assert made is not None
    assert [segment.text.strip() for segment in made.segments] == [Successor.TEXT]
    assert all(Successor.TEXT in far.bucket.get(f"out/a.{suffix}").decode() for suffix in ("txt", "vtt", "srt"))
    stray = [key for key in far.bucket.keys if "/parts/" in key or "/failures/" in key]
    assert stray == []
