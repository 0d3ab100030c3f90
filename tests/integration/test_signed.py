"""Signed messages: a worker with a secret does nothing that somebody without it asks for."""

import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, received, working

from nightscribe.director.dead_letters import DeadLetters
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.queue.signing import Signer
from nightscribe.shared.queue.wire import Releases

OLD, NEW, OTHER = "the old secret of ours", "the new secret of ours", "a secret of another"
TEXTS = ["a.srt", "a.txt", "a.vtt"]


@pytest.fixture(autouse=True)
def recording(workplace: Workplace, clips: list[Path]) -> None:
    """One recording in the source."""
    shutil.copy(clips[0], workplace.source / "a.wav")


def queue_with(workplace: Workplace, secrets: Sequence[str]) -> JobQueue:
    """The queue as somebody with these secrets sees it."""
    queue = connect(workplace.queue.name, visibility_timeout_s=300, max_receives=3, secrets=secrets)
    queue.ensure()
    return queue


def send(workplace: Workplace, *secrets: str) -> None:
    """Queue the job of the recording."""
    queue_with(workplace, secrets).send([workplace.job("a.wav")], "run")


@pytest.mark.parametrize("secrets", [(OLD,), (NEW, OLD), (OLD, NEW)])
def test_a_job_that_is_signed_with_a_known_secret_is_done(workplace: Workplace, secrets: tuple[str, ...]) -> None:
    """Any of several, so that secrets can be changed one process after the other."""
    send(workplace, OLD)
    with working(workplace.worker(Dictated(), queue=queue_with(workplace, secrets))):
        wait_until(workplace.is_empty, what="the job to be done")
    assert workplace.texts == TEXTS


@pytest.mark.parametrize("secrets", [(), (OTHER,), (OTHER, OLD)])
def test_a_job_that_is_not_signed_so_is_a_dead_letter_and_no_failure(
    workplace: Workplace, secrets: tuple[str, ...]
) -> None:
    """The worker says why and goes on. Whoever sent it must not be able to write failure records either."""
    send(workplace, *secrets)
    with working(workplace.worker(Dictated(), queue=queue_with(workplace, [NEW, OLD]))):
        wait_until(workplace.is_empty, what="the job to be refused")
    [letter] = workplace.dead_letters()
    assert (letter.reason or "").startswith("The message is not signed with a secret")
    assert workplace.texts == []
    with capture_logs() as logs:
        DeadLetters(queue_with(workplace, [NEW, OLD]), workplace.records, "run", 3).record()
    assert [entry["event"] for entry in logs if entry["event"].startswith("dead_letter")] == ["dead_letter.not_ours"]
    assert workplace.records.failure("a.wav") is None


def test_a_signature_holds_for_one_body_only(workplace: Workplace) -> None:
    """It cannot be put on another message."""
    send(workplace, OLD)
    signed = received(workplace.queue)
    signer = Signer([OLD])
    assert signer.accepts(signed.body, signed.signature)
    assert not signer.accepts(signed.body + " ", signed.signature)
    assert not signer.accepts(signed.body, "é")
    assert not signer.accepts(signed.body, None)


def test_a_job_that_is_released_as_a_new_message_is_still_signed(workplace: Workplace) -> None:
    """With the first secret, so that the old one can be taken away soon."""
    send(workplace, OLD)
    queue = queue_with(workplace, [NEW, OLD])
    queue.requeue(received(queue))
    again = received(queue)
    assert again.receive_count == 1
    assert Signer([NEW]).accepts(again.body, again.signature)


def test_a_count_of_releases_is_believed_only_with_the_signature_of_a_known_secret(workplace: Workplace) -> None:
    """Otherwise whoever sends a signed message again could make its job fail as one that wears out machines."""
    send(workplace, OLD)
    queue = queue_with(workplace, [NEW, OLD])
    queue.requeue(received(queue), releases=Releases(3, 1.7e9))
    again = received(queue)
    assert (again.releases.n, again.releases.since_s) == (3, 1.7e9)
    forged = replace(again, releases=again.releases._replace(n=99)).releases
    for count in (Releases(99, 1.0), forged):
        attributes = {"Released": count.to_text(), "Signature": again.signature}
        queue._client.send_message(
            QueueUrl=queue._url,
            MessageBody=again.body,
            MessageGroupId=str(count),
            MessageDeduplicationId=str(hash(count)),
            MessageAttributes={name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()},
        )
        found = received(queue)
        assert queue.is_trusted(found)
        assert found.releases == Releases()
        queue.delete(found)


def test_a_dead_letter_of_some_slices_is_still_signed(workplace: Workplace) -> None:
    """Its body is another than that of the job; the director believes it, and retry queues its recording again."""
    (workplace.source / "b.wav").write_text("no sound at all")
    queue = queue_with(workplace, [OLD])
    queue.send([workplace.job("a.wav", "b.wav")], "run")
    with working(workplace.worker(Dictated(), queue=queue)):
        wait_until(workplace.is_empty, what="the job to be done")
    [letter] = workplace.dead_letters()
    assert letter.body == workplace.job("b.wav").to_message()
    assert Signer([OLD]).accepts(letter.body, letter.signature)


def test_what_a_worker_does_not_trust_is_not_signed_by_it(workplace: Workplace) -> None:
    """Or a message could get its signature by being refused or released."""
    send(workplace)
    queue = queue_with(workplace, [OLD])
    queue.requeue(received(queue))
    again = received(queue)
    assert again.signature is None
    queue.dead_letter(again, "another body", "Because.")
    assert [letter.signature for letter in workplace.dead_letters()] == [None]


def test_no_event_of_a_worker_holds_the_secret(workplace: Workplace) -> None:
    """Not even where something fails."""
    send(workplace, OLD)
    stop = threading.Event()

    def fail() -> None:
        stop.set()
        raise RetryableError("The share is away.", code="storage_unreachable")

    queue = queue_with(workplace, [OLD])
    worker = workplace.worker(Dictated(before=fail), queue=queue)
    with capture_logs() as logs, working(worker):
        wait_until(stop.is_set, what="the job to fail")
    assert OLD not in repr(logs) + repr(queue) + repr(queue._signer)
