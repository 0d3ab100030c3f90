"""What others have left on the queue and among the records: said once, never obeyed, never in the way."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, Wrapped, WrappedStore, working

from nightscribe.director.backlog import Settled
from nightscribe.shared.destination.keys import failure_key, transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.queue.wire import CODE, REASON, RUN
from nightscribe.shared.storage.folder.store import FolderStore

NEWER = b'{"version": 3, "words": "in another shape"}'


def newer_job(workplace: Workplace) -> str:
    """As a later release may queue it."""
    return workplace.job("a.wav").to_message().replace('"version":1', '"version":3')


def dead_letter(workplace: Workplace, body: str, **said: str) -> None:
    """Put a letter on the dead-letter queue."""
    workplace.queue._client.send_message(
        QueueUrl=workplace.queue._dead_url,
        MessageBody=body,
        MessageGroupId="theirs",
        MessageDeduplicationId=str(hash(body)),
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in said.items()},
    )


class Looks:
    """Goes between a queue and its client, and knows which messages were received."""

    def __init__(self, workplace: Workplace) -> None:
        self._queue, self._client = workplace.queue, workplace.queue._client
        self._seen: list[dict[str, str]] = []
        workplace.queue._client = Wrapped(self._client, "receive_message", self._receive)

    def _receive(self, receive: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        answer = receive(**arguments)
        self._seen += answer.get("Messages", [])
        return answer

    def taken_back(self) -> list[str]:
        """Make the dead letters visible again, as they would be in half a minute, and return their bodies."""
        seen, self._seen = self._seen, []
        for message in seen:
            self._client.change_message_visibility(
                QueueUrl=self._queue._dead_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        return [message["Body"] for message in seen]


def test_a_dead_letter_that_is_not_ours_stays_and_is_logged_once(workplace: Workplace, clips: list[Path]) -> None:
    """However often a director looks: a line for each look would fill the log of a night."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    bodies = ["not JSON at all", '{"Records": [{"eventSource": "aws:s3"}]}', newer_job(workplace)]
    for body in bodies:
        dead_letter(workplace, body)
    director = workplace.director()
    looks = Looks(workplace)
    with capture_logs() as logs:
        for _ in range(3):
            director.record_dead_letters()
            assert sorted(looks.taken_back()) == sorted(bodies)
    assert [entry["event"] for entry in logs] == ["dead_letter.not_ours"] * len(bodies)
    assert sum("not a job of this version of nightscribe" in entry["why"] for entry in logs) == 2
    assert sum("a job of a newer nightscribe (version 3 " in entry["why"] for entry in logs) == 1
    assert len({entry["message"] for entry in logs}) == len(bodies)
    assert list(workplace.records.store.walk("")) == []


def test_a_dead_letter_that_is_not_ours_is_logged_with_the_reason_it_carries(workplace: Workplace) -> None:
    """Whoever made it a dead letter knew more than whoever finds it."""
    dead_letter(workplace, "?", **{RUN: "run 7", REASON: "The tape was wet."})
    with capture_logs() as logs:
        workplace.director().record_dead_letters()
    assert [entry["why"] for entry in logs] == ["The tape was wet."]


@pytest.mark.parametrize("what", [transcript_key, failure_key], ids=["transcript", "failure"])
def test_a_dead_letter_about_what_a_newer_version_has_settled_is_deleted(
    workplace: Workplace, clips: list[Path], what: Callable[[str], str]
) -> None:
    """What came of its recording is on record, if not for us to read."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.records.store.put(what("a.wav"), NEWER)
    dead_letter(workplace, workplace.job("a.wav").to_message())
    workplace.director().record_dead_letters()
    assert workplace.dead_letters() == []
    assert workplace.records.store.get(what("a.wav")) == NEWER


def test_what_a_newer_version_finished_meanwhile_is_left_alone(workplace: Workplace, clips: list[Path]) -> None:
    """By a worker, who goes on with the rest, and by a director, who says so and ends."""
    for name in ("a.wav", "b.wav"):
        shutil.copy(clips[0], workplace.source / name)
    missing = workplace.scan().missing
    workplace.records.store.put(transcript_key("a.wav"), NEWER)
    engine = Dictated()
    with working(workplace.worker(engine)):
        steps = [step for step in workplace.director().direct(missing, follow=True) if isinstance(step, Settled)]
        wait_until(workplace.is_empty, 20, "the job to be done")
    results = {step.missing.recording.path: step.result for step in steps}
    told = results.pop("a.wav")
    assert isinstance(told, Unreadable)
    assert "Update nightscribe." in told.reason
    assert results == {"b.wav": workplace.records.provenance("b.wav")}
    assert engine.n_calls == 1
    assert workplace.records.store.get(transcript_key("a.wav")) == NEWER
    assert workplace.texts == ["b.srt", "b.txt", "b.vtt"]
    assert workplace.dead_letters() == []


def test_a_dead_letter_whose_reason_cannot_be_recorded_stays_until_it_can(
    workplace: Workplace, clips: list[Path]
) -> None:
    """The disk is full: the run reports the reason, and the dead letter is there for the next run."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    dead_letter(workplace, workplace.job("a.wav").to_message(), **{REASON: "The tape was wet.", CODE: "not_readable"})

    def full(_key: str) -> None:
        raise RetryableError("No space left on device.")

    looks = Looks(workplace)
    director = workplace.director()
    director._dead_letters.records = Records(WrappedStore(FolderStore(workplace.dest), full))
    [step] = [step for step in director.direct(workplace.scan().missing, follow=True) if isinstance(step, Settled)]
    assert isinstance(step.result, Failure)
    assert step.result.reason == "The tape was wet."
    assert workplace.records.failure("a.wav") is None
    assert len(looks.taken_back()) == 1
    workplace.director().record_dead_letters()
    failure = workplace.records.failure("a.wav")
    assert failure is not None
    assert (failure.reason, failure.code) == ("The tape was wet.", "not_readable")
    assert workplace.dead_letters() == []
