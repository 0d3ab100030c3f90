"""A server that forgets the queue, and says of how many messages it holds what was true a second ago."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.servers import SqsServer
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, Wrapped, received, working, working_until_empty

from nightscribe.director.backlog import Settled
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.queue.inspector import Counts

ASK = "get_queue_attributes"
NOTHING = {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"}


def test_a_director_ends_when_the_store_has_everything_whatever_the_queue_says(workplace: Workplace) -> None:
    """It says at every look that nothing is left, when nothing is done yet; nor is anything sent twice for that."""
    client, sent = workplace.queue._client, []

    def noted(send: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        sent.append(arguments)
        return send(**arguments)

    missing = workplace.scan().missing
    director = workplace.director()
    director.queue = connect(workplace.queue.name, visibility_timeout_s=30, max_receives=3)
    director.queue.ensure()
    blind = Wrapped(client, ASK, lambda _ask, _arguments: {"Attributes": NOTHING})
    director.queue._client = Wrapped(blind, "send_message_batch", noted)
    steps = director.direct(missing, follow=True)
    assert [next(steps) for _ in range(10)] == [None] * 10
    assert len(sent) == 1
    with working(workplace.worker(Dictated())):
        settled = [step for step in steps if isinstance(step, Settled)]
    assert [step.result for step in settled] == [workplace.records.provenance("a.wav")]
    assert settled[0].result is not None


def test_a_worker_that_is_to_end_with_the_work_asks_twice_whether_there_is_none(workplace: Workplace) -> None:
    """The first answer is a second old: from before another worker gave its job back."""
    workplace.queue.send([workplace.job("a.wav")], "run")
    others = received(workplace.queue)
    # Nobody but this test gives it back.
    workplace.queue.change_visibility(others, 600)
    client, n_asked = workplace.queue._client, 0
    asked_again = threading.Event()

    def late(ask: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        nonlocal n_asked
        n_asked += 1
        if n_asked == 1:
            return {"Attributes": NOTHING}
        asked_again.set()
        return ask(**arguments)

    engine = Dictated()
    queue = connect(workplace.queue.name, visibility_timeout_s=30, max_receives=9)
    queue.ensure()
    queue._client = Wrapped(client, ASK, late)
    worker = workplace.worker(engine, queue=queue)
    with working_until_empty(worker) as running:
        wait_until(lambda: asked_again.is_set() or not running.is_alive(), 30, "it to ask a second time")
        assert running.is_alive(), "it believed the first answer"
        workplace.queue.change_visibility(others, 0)
    assert engine.n_calls == 1
    assert workplace.is_empty()


def test_a_worker_makes_the_queues_anew_that_its_server_has_forgotten(
    workplace: Workplace, sqs_server: SqsServer
) -> None:
    """With no director there to do it: the next one finds them, and a worker that waits."""

    def counts() -> Counts | None:
        try:
            return workplace.queue.counts()
        except RetryableError:
            return None

    with working(workplace.worker(Dictated())):
        sqs_server.kill()
        sqs_server.start()
        wait_until(counts, 60, "the queue to be there again")
        workplace.queue.send([workplace.job("a.wav")], "run")
        wait_until(workplace.is_empty, 60, "the job to be done")
    assert workplace.texts == ["a.srt", "a.txt", "a.vtt"]


def test_a_server_that_is_away_again_while_its_queues_are_made_anew_ends_nothing(
    workplace: Workplace, sqs_server: SqsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died twice in a row; neither the director nor the worker takes that for the end of the night."""
    monkeypatch.setattr("nightscribe.director.lost_jobs.STALLED_S", 1.0)
    missing = workplace.scan().missing
    troubles = {"worker": [RetryableError("It is away again.")], "director": [RetryableError("It is away again.")]}

    def unlucky(queue: JobQueue, whose: str) -> JobQueue:
        ensure = queue.ensure

        def sometimes() -> None:
            if troubles[whose]:
                raise troubles[whose].pop()
            ensure()

        monkeypatch.setattr(queue, "ensure", sometimes)
        return queue

    director = workplace.director()
    director.queue = unlucky(connect(workplace.queue.name, visibility_timeout_s=30, max_receives=3), "director")
    director.queue.find()
    sqs_server.kill()
    sqs_server.start()
    steps = director.direct(missing, follow=True)
    while troubles["director"]:
        assert next(steps) is None
    sqs_server.kill()
    sqs_server.start()
    with working(workplace.worker(Dictated(), queue=unlucky(workplace.queue, "worker"))):
        wait_until(lambda: not troubles["worker"], what="the worker to miss the queue")
        settled = [step for step in steps if isinstance(step, Settled)]
    assert [step.missing.recording.path for step in settled] == ["a.wav"]
