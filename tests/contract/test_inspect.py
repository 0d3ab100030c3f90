"""A look at a queue shows what is on it and leaves it as it was, with every server that can be looked into."""

import uuid

import pytest
from support.servers import SqsServer

from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.queue.connection import QueueMissing
from nightscribe.shared.queue.inspector import peek

LONG_S = 120


def job(recording: str) -> Job:
    """A job for one whole recording."""
    whole = Slice(recording=recording, fingerprint="1-0", size=1, stem=recording)
    return Job(slices=(whole,), options=Options(engine="auto", model="tiny.en"), formats=("txt",))


def named(name: str) -> JobQueue:
    """The queue of that name on the server of the environment, there or not."""
    return connect(name, visibility_timeout_s=LONG_S, max_receives=3)


@pytest.fixture
def queue(sqs_environment: dict[str, str]) -> JobQueue:
    """A new queue."""
    made = named(f"peek-{uuid.uuid4().hex}.fifo")
    made.ensure()
    return made


def seen(queue: JobQueue) -> dict[str, tuple[int, bool]]:
    """How often each recording's job was received, and whether it can be received now."""
    peeked = queue.peek()
    assert peeked is not None
    return {Job.from_message(each.body).slices[0].recording: (each.receive_count, each.is_visible) for each in peeked}


def test_an_empty_queue_is_seen_to_be_empty(queue: JobQueue) -> None:
    assert queue.peek() == []


@pytest.mark.parametrize("n", [1, 25])
def test_everything_that_waits_is_seen(queue: JobQueue, n: int) -> None:
    """One alone too, which stands in no list where an answer was XML once."""
    queue.send([job(f"{number}.wav") for number in range(n)], "run")
    assert seen(queue) == {f"{number}.wav": (0, True) for number in range(n)}


def test_what_is_taken_or_waits_to_be_tried_again_is_seen_as_such(queue: JobQueue) -> None:
    queue.send([job("a.wav"), job("b.wav"), job("c.wav")], "run")
    first, second = queue.receive(wait_s=5), queue.receive(wait_s=5)
    assert first
    assert second
    queue.change_visibility(second, 60)
    assert sorted(seen(queue).values()) == [(0, True), (1, False), (1, False)]
    peeked = queue.peek()
    assert peeked
    assert {each.message_id for each in peeked if not each.is_visible} == {first.message_id, second.message_id}


def test_a_look_receives_nothing_hides_nothing_and_counts_nothing(queue: JobQueue) -> None:
    queue.send([job("a.wav"), job("b.wav")], "run")
    taken = queue.receive(wait_s=5)
    assert taken
    before = seen(queue)
    for _ in range(5):
        assert seen(queue) == before
    other = queue.receive(wait_s=0)
    assert other, "it can be received at once"
    assert other.receive_count == 1
    assert queue.receive(wait_s=0) is None, "what was taken stays hidden"
    queue.delete(taken)
    queue.delete(other)
    assert queue.peek() == []


def test_a_queue_is_found_only_if_it_is_there_and_is_not_made_by_looking(
    queue: JobQueue, sqs_server: SqsServer
) -> None:
    found = named(queue.name)
    found.find()
    assert (found.dead_letter_name, found.endpoint) == (queue.dead_letter_name, sqs_server.endpoint_url)
    for counts in (found.counts(), found.dead_counts()):
        assert (counts.queued, counts.in_flight) == (0, 0)
    missing = named(f"peek-{uuid.uuid4().hex}.fifo")
    for _ in range(2):
        with pytest.raises(QueueMissing, match="There is no queue 'peek-"):
            missing.find()


def test_what_was_set_aside_is_counted(queue: JobQueue) -> None:
    queue.send([job("a.wav")], "run")
    delivery = queue.receive(wait_s=5)
    assert delivery
    queue.dead_letter(delivery, delivery.body, "It holds text, not sound.")
    assert queue.dead_counts().queued == 1
    assert queue.counts().queued == 0


def test_a_server_that_shows_no_messages_or_is_not_there_is_no_error(queue: JobQueue, sqs_server: SqsServer) -> None:
    assert peek(f"{sqs_server.endpoint_url}", "no address of a queue", timeout_s=5) in (None, [])
    sqs_server.stop()
    assert peek(sqs_server.endpoint_url, "http://anywhere/000000000000/a.fifo", timeout_s=5) is None


def test_amazons_queue_is_never_asked_for_more_than_sqs_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no such address, and nothing is sent to it here."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setattr("nightscribe.shared.queue.inspector.peek", lambda *_, **__: pytest.fail("it was asked"))
    queue = named("any.fifo")
    assert queue.endpoint is None
    assert queue.peek() is None
