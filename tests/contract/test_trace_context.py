"""The trace context of a job stays with its message, on every SQS server at hand."""

import uuid

import pytest
from opentelemetry.sdk.trace import TracerProvider
from support.waiting import wait_until
from support.workplace import received, unhurried

from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.telemetry import tracing


@pytest.fixture
def queue(sqs_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> JobQueue:
    """A queue of its own."""
    unhurried(monkeypatch)
    made = connect(f"traces-{uuid.uuid4().hex}.fifo", visibility_timeout_s=300, max_receives=9)
    made.ensure()
    return made


def jobs(n: int) -> list[Job]:
    """So many of one recording each."""
    slices = [Slice(recording=f"{number}.wav", fingerprint="1-0", size=1, stem=str(number)) for number in range(n)]
    return [Job(slices=(slice_,), options=Options(engine="auto", model="base"), formats=("txt",)) for slice_ in slices]


def test_each_message_carries_the_context_of_its_job(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is put back as a new message, and when it is set aside."""
    monkeypatch.setattr(tracing, "_tracer", TracerProvider(shutdown_on_exit=False).get_tracer("test"))
    queue.send(jobs(3), "run")
    found = [received(queue) for _ in range(3)]
    contexts = [each.trace for each in found]
    assert all(context and context.startswith("00-") for context in contexts)
    assert len(set(contexts)) == 3

    queue.requeue(found[0])
    again = received(queue)
    assert again.body == found[0].body
    assert again.trace == contexts[0]
    queue.dead_letter(again, again.body, "It is not a recording.", worker="me")
    letter = wait_until(lambda: next(iter(queue.dead_letters()), None), what="the dead letter")
    assert (letter.trace, letter.reason, letter.run) == (contexts[0], "It is not a recording.", "run")


def test_a_message_without_a_context_is_as_good(queue: JobQueue) -> None:
    queue.send(jobs(1), "run")
    delivery = received(queue)
    assert delivery.trace is None
    queue.requeue(delivery)
    assert received(queue).trace is None
