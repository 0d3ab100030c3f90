"""The queue does what the rest relies on, with every SQS server at hand: nothing else may be between two workers."""

import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.servers import HOST, REGION, SqsServer
from support.waiting import wait_until
from support.workplace import Wrapped, received, unhurried

from nightscribe.shared.errors import LeaseLost, QueueError, RetryableError
from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.queue.connection import QueueMissing
from nightscribe.shared.queue.wire import Delivery

TEMPLATE = Path(__file__).parents[2] / "infra" / "create_queue.json"

ministack_only = pytest.mark.parametrize("sqs_server", ["ministack"], indirect=True)


def job(recording: str = "a.wav") -> Job:
    """A job for one whole recording."""
    whole = Slice(recording=recording, fingerprint="1-0", size=1, stem=recording)
    return Job(slices=(whole,), options=Options(engine="auto", model="tiny.en"), formats=("txt",))


def new_name() -> str:
    """A queue name that no other test has."""
    return f"contract-{uuid.uuid4().hex}.fifo"


def opened(name: str, *, visibility_timeout_s: float = 30, max_receives: int = 3) -> JobQueue:
    """The queue of that name on the server of the environment, set up."""
    queue = connect(name, visibility_timeout_s=visibility_timeout_s, max_receives=max_receives)
    queue.ensure()
    return queue


def give_back(queue: JobQueue, delivery: Delivery) -> None:
    """Make a message visible again at once."""
    queue.change_visibility(delivery, 0)


def attributes(server: SqsServer, name: str) -> dict[str, str]:
    """What the server says of a queue."""
    client = server.client()
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    found: dict[str, str] = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found


@pytest.fixture
def queue(sqs_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> JobQueue:
    """A new queue whose messages stay hidden for half a minute."""
    unhurried(monkeypatch)
    return opened(new_name())


@contextmanager
def answering(status: int, code: str, unless: Callable[[str], bool] = lambda _: False) -> Iterator[str]:
    """A server that answers every call with one error, in AWS's own wire format; gives its address.

    `unless` is told by whom each call is signed, and may have it taken.
    """

    class Refusal(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            taken = unless(self.headers["Authorization"])
            said = {} if taken else {"__type": f"com.amazonaws.sqs#{code}", "message": "as scripted"}
            body = json.dumps(said).encode()
            self.send_response(200 if taken else status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("x-amzn-query-error", f"{code};Sender")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((HOST, 0), Refusal)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def refusing_to_send(queue: JobQueue) -> Iterator[None]:
    """Its server takes every call, and none of the messages in it."""
    client = queue._client

    def refuse(_send: Callable[..., Any], _arguments: dict[str, Any]) -> dict[str, Any]:
        return {"Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": False}]}

    queue._client = Wrapped(client, "send_message_batch", refuse)
    try:
        yield
    finally:
        queue._client = client


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], JobQueue]:
    """A queue at the address given, with credentials, that was never set up."""

    def lead_to(address: str) -> JobQueue:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", address)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        queue = connect("any.fifo", visibility_timeout_s=30, max_receives=3)
        queue._url = f"{address}/000000000000/any.fifo"
        return queue

    return lead_to


# Setting up


def test_both_queues_are_created_as_the_file_says(sqs_server: SqsServer, sqs_environment: dict[str, str]) -> None:
    """Each attribute of infra/create_queue.json arrives; only the visibility timeout is the setting's."""
    queue = opened(new_name(), visibility_timeout_s=45, max_receives=4)
    wanted = json.loads(TEMPLATE.read_text())["Attributes"] | {"VisibilityTimeout": "45"}
    main, dead = attributes(sqs_server, queue.name), attributes(sqs_server, queue.dead_letter_name)
    for found in (main, dead):
        assert {key: found[key].lower() for key in wanted} == {key: value.lower() for key, value in wanted.items()}
    redrive = json.loads(main["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead["QueueArn"]
    assert int(redrive["maxReceiveCount"]) == 4
    assert "RedrivePolicy" not in dead


def test_setting_up_again_changes_nothing(sqs_server: SqsServer, queue: JobQueue) -> None:
    """A second process finds the queue, with what is on it, and has nothing to warn of."""
    before = attributes(sqs_server, queue.name)
    queue.send([job()], "run")
    with capture_logs() as logs:
        second = opened(queue.name)
    assert logs == []
    after = attributes(sqs_server, queue.name)
    counted = {key for key in after if key.startswith("Approximate")}
    assert {k: v for k, v in after.items() if k not in counted} == {k: v for k, v in before.items() if k not in counted}
    assert received(second).body == job().to_message()


def test_a_queue_with_other_attributes_is_used_and_its_difference_told(
    sqs_server: SqsServer, sqs_environment: dict[str, str]
) -> None:
    """Somebody's own queue is theirs: it is not changed, and the log says what is unlike ours."""
    name, client = new_name(), sqs_server.client()
    dead_url = client.create_queue(QueueName=f"theirs-{name}", Attributes={"FifoQueue": "true"})["QueueUrl"]
    dead_arn = client.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "7"})
    theirs = {"FifoQueue": "true", "VisibilityTimeout": "77", "RedrivePolicy": redrive}
    client.create_queue(QueueName=name, Attributes=theirs)
    with capture_logs() as logs:
        queue = opened(name)
    [told] = [entry for entry in logs if entry.get("attribute") == "VisibilityTimeout"]
    assert told["event"] == "queue.attribute_differed"
    assert (told["queue"], told["found"], told["expected"]) == (name, "77", "30")
    assert attributes(sqs_server, name)["VisibilityTimeout"] == "77"
    queue.send([job()], "run")
    assert received(queue).body == job().to_message()


def test_a_queue_without_a_redrive_policy_is_refused(sqs_server: SqsServer, sqs_environment: dict[str, str]) -> None:
    """A job that kills its workers would come back for ever; the sentence says so, and what to do."""
    name = new_name()
    sqs_server.client().create_queue(QueueName=name, Attributes={"FifoQueue": "true"})
    with pytest.raises(QueueError, match=r"no redrive policy.*NIGHTSCRIBE_QUEUE_NAME") as raised:
        opened(name)
    assert name in str(raised.value)


def test_a_standard_queue_is_refused(sqs_server: SqsServer, sqs_environment: dict[str, str]) -> None:
    """Without message groups nothing keeps two workers from one job."""
    name = new_name().removesuffix(".fifo")
    sqs_server.client().create_queue(QueueName=name)
    with pytest.raises(QueueError, match="standard queue"):
        opened(name)


def test_a_queue_is_found_by_its_url(sqs_server: SqsServer, sqs_environment: dict[str, str]) -> None:
    """As a console shows it; the server that it names is asked, whatever the environment says."""
    name = opened(new_name()).name
    url = sqs_server.client().get_queue_url(QueueName=name)["QueueUrl"]
    queue = opened(url)
    queue.send([job()], "run")
    assert received(queue).body == job().to_message()
    assert (queue.name, queue.address) == (name, url)


@ministack_only
def test_a_worker_on_aws_waits_for_no_queue_of_its_own_making(
    sqs_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it would be in the wrong region; elsewhere servers forget queues, and whoever comes first makes them."""
    name = new_name()
    queue = connect(name, visibility_timeout_s=30, max_receives=3, creates_on_aws=False)
    with monkeypatch.context() as patched:
        patched.setattr("nightscribe.shared.queue.connection.is_amazons", lambda _url: True)
        with pytest.raises(QueueMissing, match=f"no queue '{name}' in {REGION}. Start the director first"):
            queue.ensure()
    queue.ensure()
    assert queue.counts().queued == 0


# The queue is the lock


def test_a_job_queued_by_two_directors_is_worked_on_by_one_worker_at_a_time(queue: JobQueue) -> None:
    """While the first message is in flight the second of the same job stays where it is; deleted, it comes."""
    queue.send([job()], "one")
    queue.send([job()], "two")
    first = received(queue)
    assert queue.receive(wait_s=0) is None
    queue.delete(first)
    second = received(queue)
    assert second.body == first.body
    assert second.message_id != first.message_id


def test_a_message_given_back_frees_its_job(queue: JobQueue) -> None:
    """It is the one given back that comes again, and still only one."""
    queue.send([job()], "one")
    queue.send([job()], "two")
    first = received(queue)
    give_back(queue, first)
    again = received(queue)
    assert (again.message_id, again.receive_count) == (first.message_id, 2)
    assert queue.receive(wait_s=0) is None


def test_different_jobs_are_received_in_parallel(queue: JobQueue) -> None:
    """A job in flight keeps no other job from its worker."""
    names = ["a.wav", "b.wav", "c.wav"]
    queue.send([job(name) for name in names], "run")
    deliveries = [received(queue) for _ in names]
    assert sorted(d.body for d in deliveries) == sorted(job(name).to_message() for name in names)
    assert queue.receive(wait_s=0) is None


def test_a_dead_workers_job_comes_back_while_an_older_one_is_worked_on(sqs_environment: dict[str, str]) -> None:
    """Some servers hide it until every older message in flight is done with: for ever, beside one heartbeat."""
    queue = opened(new_name(), visibility_timeout_s=1)
    queue.send([job("older.wav"), job("a.wav")], "run")
    older = received(queue)
    queue.change_visibility(older, 600)
    dead_workers = received(queue)
    again = received(queue)
    assert (again.message_id, again.receive_count) == (dead_workers.message_id, 2)


ALLOWED = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
"""What AWS takes as the id of a group and for deduplication; other servers take more."""
SPEAKABLE = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
"""And in an attribute."""


@ministack_only
@pytest.mark.parametrize("name", ["a b", "räksmörgås 🎤", "日" * 60, "x" * 200, "tab\tand\nline", "\x7f\ufffe\x01"])
def test_what_is_sent_is_what_aws_takes(queue: JobQueue, name: str) -> None:
    """Whatever a recording is called; a server for one machine would not complain."""
    client, sent = queue._client, []

    def noted(send: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        sent.extend(arguments["Entries"])
        return send(**arguments)

    queue._client = Wrapped(client, "send_message_batch", noted)
    queue.send([job(f"{name}/{name}.wav")], name)
    queue.requeue(received(queue))
    delivery = received(queue)
    queue.dead_letter(delivery, delivery.body, f"{name} \ud800 is not what it says. " * 100, worker=name)
    assert len(sent) == 3
    for entry in sent:
        assert ALLOWED.fullmatch(entry["MessageGroupId"])
        assert ALLOWED.fullmatch(entry["MessageDeduplicationId"])
        assert entry["MessageBody"].isascii()
        assert entry["MessageBody"].isprintable()
        for said in entry["MessageAttributes"].values():
            assert SPEAKABLE.fullmatch(said["StringValue"])


def test_a_job_sent_twice_in_one_run_is_queued_once(queue: JobQueue) -> None:
    """Even after it was done: an answer lost on the way makes a director send again."""
    queue.send([job()], "run")
    queue.send([job()], "run")
    assert queue.counts().queued == 1
    queue.delete(received(queue))
    queue.send([job()], "run")
    assert queue.receive(wait_s=0) is None


def test_a_job_sent_in_another_run_is_queued_again(queue: JobQueue) -> None:
    """A deliberate redo is never swallowed."""
    queue.send([job()], "one")
    queue.delete(received(queue))
    queue.send([job()], "two")
    assert received(queue).body == job().to_message()


def test_more_jobs_than_a_batch_holds_all_arrive(queue: JobQueue) -> None:
    """SQS takes ten at a time; what is counted is what was sent."""
    sent = [job(f"{n}.wav") for n in range(23)]
    queue.send(sent, "run")
    wait_until(lambda: queue.counts().queued == 23, what="all to be counted")
    bodies = [received(queue).body for _ in sent]
    assert sorted(bodies) == sorted(each.to_message() for each in sent)
    wait_until(lambda: (queue.counts().queued, queue.counts().in_flight) == (0, 23), what="all to be in flight")


# Visibility


def test_a_message_comes_back_by_itself_when_its_worker_is_silent(sqs_environment: dict[str, str]) -> None:
    """After the visibility timeout and not before."""
    queue = opened(new_name(), visibility_timeout_s=1)
    queue.send([job()], "run")
    began = time.monotonic()
    first = received(queue)
    again = received(queue)
    assert time.monotonic() - began >= 0.9
    assert (again.message_id, again.receive_count) == (first.message_id, 2)


@ministack_only
def test_a_message_is_hidden_for_at_least_as_long_as_was_asked(sqs_environment: dict[str, str]) -> None:
    """SQS knows whole seconds; rounded down, a worker would hold a lease that the server has ended."""
    queue = opened(new_name(), visibility_timeout_s=1.4)
    queue.send([job()], "run")
    began = time.monotonic()
    received(queue)
    received(queue)
    assert time.monotonic() - began >= 1.4


def test_a_visibility_timeout_of_zero_gives_a_message_back_at_once(queue: JobQueue) -> None:
    """The next worker has it in far less than the half minute it was hidden for."""
    queue.send([job()], "run")
    first = received(queue)
    began = time.monotonic()
    give_back(queue, first)
    assert received(queue).message_id == first.message_id
    assert time.monotonic() - began < 25


def test_an_extension_keeps_a_message_hidden(sqs_environment: dict[str, str]) -> None:
    """Beyond the timeout it was received with."""
    queue = opened(new_name(), visibility_timeout_s=1)
    queue.send([job()], "run")
    queue.change_visibility(received(queue), 30)
    assert queue.receive(wait_s=2) is None


# Dead letters


def test_a_job_received_too_often_becomes_a_dead_letter(sqs_environment: dict[str, str]) -> None:
    """After `max_receives` the next receive gets nothing, and the letter holds the job and no reason."""
    queue = opened(new_name(), max_receives=2)
    queue.send([job()], "run")
    for count in (1, 2):
        delivery = received(queue)
        assert delivery.receive_count == count
        give_back(queue, delivery)
    assert queue.receive(wait_s=1) is None
    [letter] = queue.dead_letters()
    assert (letter.body, letter.run, letter.reason, letter.worker) == (job().to_message(), "run", None, None)


def test_what_is_set_aside_carries_its_reason(queue: JobQueue) -> None:
    """On the dead-letter queue, with the body given, and no longer among the jobs."""
    queue.send([job()], "run 7")
    delivery = received(queue)
    assert (delivery.run, delivery.reason) == ("run 7", None)
    queue.dead_letter(delivery, "what is left of it", "The tape was wet: 100 % naß.", worker="here-1")
    assert (queue.counts().queued, queue.counts().in_flight) == (0, 0)
    [letter] = queue.dead_letters()
    assert (letter.body, letter.reason) == ("what is left of it", "The tape was wet: 100 % naß.")
    assert (letter.run, letter.worker) == ("run 7", "here-1")


def test_a_job_put_back_counts_as_never_received(sqs_environment: dict[str, str]) -> None:
    """And is the same job all the same: another message of it still waits for this one."""
    queue = opened(new_name(), max_receives=1)
    queue.send([job()], "run 7")
    for _ in range(3):
        delivery = received(queue)
        assert (delivery.receive_count, delivery.group, delivery.run) == (1, job().id, "run 7")
        queue.requeue(delivery)
    received(queue)
    queue.send([job()], "run 8")
    assert queue.receive(wait_s=0) is None
    assert list(queue.dead_letters()) == []


def test_a_job_that_cannot_be_put_back_stays_where_it_is(queue: JobQueue) -> None:
    """It is deleted only once the queue has it a second time."""
    queue.send([job()], "run")
    delivery = received(queue)
    with refusing_to_send(queue), pytest.raises(RetryableError):
        queue.requeue(delivery, retry_timeout_s=1)
    give_back(queue, delivery)
    assert received(queue).message_id == delivery.message_id


def test_large_jobs_are_sent_in_as_many_calls_as_they_need(queue: JobQueue) -> None:
    """Ten of them are more than a call takes."""
    large = [job(f"{n}{'x' * 100_000}.wav") for n in range(6)]
    queue.send(large, "run")
    assert {received(queue).body for _ in large} == {each.to_message() for each in large}


def test_a_job_sent_again_on_purpose_is_queued_again_in_the_same_run(queue: JobQueue) -> None:
    """As when a server has lost it and still knows that it was sent."""
    queue.send([job()], "run")
    queue.delete(received(queue))
    queue.send([job()], "run")
    assert queue.receive(wait_s=1) is None
    queue.send([job()], "run", again=1)
    assert received(queue).run == "run"


def test_what_cannot_be_set_aside_stays_on_the_queue(queue: JobQueue) -> None:
    """It is deleted only once the dead-letter queue has it."""
    queue.send([job()], "run")
    delivery = received(queue)
    with refusing_to_send(queue), pytest.raises(RetryableError):
        queue.dead_letter(delivery, delivery.body, "no reason")
    give_back(queue, delivery)
    assert received(queue).message_id == delivery.message_id


def test_dead_letters_are_all_shown_once_and_stay_until_buried(queue: JobQueue) -> None:
    """More than one call brings; buried, they are gone for good."""
    names = [f"{n}.wav" for n in range(12)]
    queue.send([job(name) for name in names], "run")
    for _ in names:
        delivery = received(queue)
        queue.dead_letter(delivery, delivery.body, "spoilt")
    letters = list(queue.dead_letters())
    assert sorted(letter.body for letter in letters) == sorted(job(name).to_message() for name in names)
    assert list(queue.dead_letters()) == []
    for letter in letters[1:]:
        queue.delete_dead_letter(letter)
    queue._client.change_message_visibility(
        QueueUrl=queue._dead_url, ReceiptHandle=letters[0].receipt_handle, VisibilityTimeout=0
    )
    assert [letter.body for letter in queue.dead_letters()] == [letters[0].body]


# Handles that are no longer ours


@pytest.mark.parametrize("operation", ["extend", "give back", "delete"])
@pytest.mark.parametrize("handle", ["of a message that is another's", "of a deleted message", "of no message"])
def test_a_handle_that_is_no_longer_ours_is_a_lost_lease_or_nothing(
    sqs_environment: dict[str, str], handle: str, operation: str
) -> None:
    """Servers differ in what they say, and some in whether they say anything: never is it another exception."""
    queue = opened(new_name(), visibility_timeout_s=1)
    queue.send([job()], "run")
    delivery = received(queue)
    if handle == "of a message that is another's":
        assert received(queue).message_id == delivery.message_id
    elif handle == "of a deleted message":
        queue.delete(delivery)
    else:
        delivery = Delivery("no-such-message", "", "no-such-handle", 1)
    with suppress(LeaseLost):
        if operation == "delete":
            queue.delete(delivery)
        else:
            queue.change_visibility(delivery, 30 if operation == "extend" else 0, retry_timeout_s=1)


@pytest.mark.parametrize(
    "code",
    [
        "ReceiptHandleIsInvalid",
        "InvalidParameterValue",
        "MessageNotInflight",
        "InvalidIdFormat",
        # As AWS itself writes it.
        "AWS.SimpleQueueService.MessageNotInflight",
    ],
)
def test_every_word_for_a_stale_handle_is_a_lost_lease(at: Callable[[str], JobQueue], code: str) -> None:
    """AWS, and each server that imitates it, has its own."""
    with answering(400, code) as address:
        queue = at(address)
        delivery = Delivery("message", "", "handle", 1)
        with pytest.raises(LeaseLost):
            queue.change_visibility(delivery, 30, retry_timeout_s=1)
        with pytest.raises(LeaseLost):
            queue.delete(delivery)


# Servers that are gone, forget, or refuse


def test_a_server_that_forgot_the_queue_says_so_and_setting_up_mends_it(sqs_server: SqsServer, queue: JobQueue) -> None:
    """Killed and started again, it knows no queue: that is a thing of its own, not a lost lease."""
    queue.send([job()], "run")
    delivery = received(queue)
    sqs_server.kill()
    sqs_server.start()
    for call in (
        lambda: queue.receive(wait_s=0),
        lambda: queue.send([job()], "run"),
        queue.counts,
        lambda: queue.change_visibility(delivery, 30),
        lambda: queue.delete(delivery),
        lambda: list(queue.dead_letters()),
    ):
        with pytest.raises(QueueMissing):
            call()
    queue.ensure()
    queue.send([job()], "run")
    assert received(queue).body == job().to_message()


@ministack_only
def test_a_server_that_is_down_is_waited_for_as_long_as_was_said(sqs_server: SqsServer, queue: JobQueue) -> None:
    """Then it is an error that may pass, with a sentence for the log."""
    queue.send([job()], "run")
    delivery = received(queue)
    sqs_server.kill()
    began = time.monotonic()
    with pytest.raises(RetryableError, match="does not respond") as raised:
        queue.change_visibility(delivery, 30, retry_timeout_s=1)
    assert 0.9 <= time.monotonic() - began < 45
    assert not isinstance(raised.value, QueueMissing)


@ministack_only
def test_a_call_goes_through_once_the_server_is_back(sqs_server: SqsServer, queue: JobQueue) -> None:
    """An outage shorter than our patience is not noticed by anybody."""
    sqs_server.kill()
    caught: list[Exception] = []

    def ask() -> None:
        try:
            queue.counts()
        except Exception as error:  # noqa: BLE001  looked at below
            caught.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(0.5)
    assert asking.is_alive(), "it gave up at once"
    sqs_server.start()
    asking.join(60)
    assert not asking.is_alive()
    # It came through to the server, which no longer knows the queue.
    assert [type(error) for error in caught] == [QueueMissing]


def test_a_server_that_accepts_and_never_answers_holds_nobody_longer_than_was_said(
    at: Callable[[str], JobQueue],
) -> None:
    """A lease that waits half a minute for one answer has no time for a second try."""
    with socket.create_server((HOST, 0)) as silent:
        queue = at(f"http://{HOST}:{silent.getsockname()[1]}")
        caught: list[Exception] = []

        def extend() -> None:
            try:
                queue.change_visibility(Delivery("message", "", "handle", 1), 30, retry_timeout_s=1)
            except Exception as error:  # noqa: BLE001  looked at below
                caught.append(error)

        extending = threading.Thread(target=extend, daemon=True)
        extending.start()
        extending.join(60)
        stuck = extending.is_alive()
        # Whoever still waits for an answer gets the connection closed, and with it the end of this test.
        silent.settimeout(0.1)
        with suppress(TimeoutError):
            while True:
                silent.accept()[0].close()
    extending.join(10)
    assert not stuck
    assert [type(error) for error in caught] == [RetryableError]


@pytest.mark.parametrize(
    "code",
    ["AccessDenied", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"],
)
def test_refused_credentials_are_named_as_the_cause(at: Callable[[str], JobQueue], code: str) -> None:
    """At once: nothing about them gets better by waiting."""
    with answering(403, code) as address:
        began = time.monotonic()
        with pytest.raises(QueueError, match=r"refuses .*Check the AWS credentials"):
            at(address).ensure()
        assert time.monotonic() - began < 45


def test_credentials_that_expired_are_read_anew(
    at: Callable[[str], JobQueue], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever logs in again while a night is running saves it."""
    file = tmp_path / "credentials"

    def log_in(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=secret\n")

    def is_new(signed_by: str) -> bool:
        log_in("NEW")
        return "Credential=NEW/" in signed_by

    with answering(403, "ExpiredToken", unless=is_new) as address:
        log_in("OLD")
        at(address)  # for the variables that it sets
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        queue = connect("any.fifo", visibility_timeout_s=30, max_receives=3)
        queue.change_visibility(Delivery("message", "", "handle", 1), 30, retry_timeout_s=60)
    assert file.read_text().count("NEW") == 1


def test_credentials_that_have_expired_for_good_end_the_work_with_a_sentence(at: Callable[[str], JobQueue]) -> None:
    """Which says what to do, and that nothing is lost."""
    with answering(403, "ExpiredToken") as address, pytest.raises(QueueError, match=r"expired.*continues where it"):
        at(address).change_visibility(Delivery("message", "", "handle", 1), 30, retry_timeout_s=1)


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "ServiceUnavailable"), (400, "ThrottlingException")]
)
def test_trouble_of_the_server_may_pass(at: Callable[[str], JobQueue], status: int, code: str) -> None:
    """It is tried again within the patience given, and is no fault of the user."""
    with answering(status, code) as address, pytest.raises(RetryableError, match="is overloaded"):
        at(address).change_visibility(Delivery("message", "", "handle", 1), 30, retry_timeout_s=0.5)


def test_a_batch_of_which_some_were_refused_is_not_taken_for_sent(queue: JobQueue) -> None:
    """The answer is a success, and says of one job that it was not taken."""

    def lose_one(send: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = send(**(arguments | {"Entries": arguments["Entries"][1:]}))
        lost = {"Id": "0", "Code": "InternalError", "Message": "try again", "SenderFault": False}
        return answer | {"Failed": [lost]}

    client = queue._client
    queue._client = Wrapped(client, "send_message_batch", lose_one)
    with pytest.raises(RetryableError, match="refused 1 job"):
        queue.send([job("a.wav"), job("b.wav")], "run")
    queue._client = client
    # Sent once more, as the caller will, nothing is there twice and nothing is missing.
    queue.send([job("a.wav"), job("b.wav")], "run")
    bodies = {received(queue).body for _ in range(2)}
    assert bodies == {job("a.wav").to_message(), job("b.wav").to_message()}
    assert queue.receive(wait_s=0) is None


# Finding the server


@pytest.mark.parametrize("variable", ["LOCALSTACK_HOST", "LOCALSTACK_ENDPOINT"])
@pytest.mark.parametrize("sqs_server", ["localstack"], indirect=True)
def test_localstack_is_found_by_its_own_variables(
    sqs_server: SqsServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """With no AWS variable at all: neither region nor credentials matter there."""
    address = f"{HOST}:{sqs_server.port}"
    monkeypatch.setenv(variable, address if variable == "LOCALSTACK_HOST" else f"http://{address}")
    queue = connect(new_name(), visibility_timeout_s=30, max_receives=3)
    assert queue._client.meta.endpoint_url == f"http://{address}"  # else the next line would wait for a minute
    queue.ensure()
    queue.send([job()], "run")
    assert received(queue).body == job().to_message()


@ministack_only
def test_an_address_for_boto3_comes_before_localstack(
    sqs_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever names a server for SQS means it."""
    monkeypatch.setenv("LOCALSTACK_HOST", f"{HOST}:1")
    queue = opened(new_name())
    assert queue.counts().queued == 0


def test_no_region_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says what to set."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(QueueError, match="AWS_DEFAULT_REGION"):
        connect("any.fifo", visibility_timeout_s=30, max_receives=3).ensure()


@ministack_only
def test_no_credentials_are_a_sentence(sqs_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says what to set; none are sent, so the server is not even asked."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", os.devnull)
    with pytest.raises(QueueError, match="AWS_ACCESS_KEY_ID"):
        opened(new_name())


def test_an_address_that_is_none_is_a_sentence(at: Callable[[str], JobQueue]) -> None:
    """A forgotten scheme is the usual one."""
    with pytest.raises(QueueError, match="AWS_ENDPOINT_URL_SQS"):
        at("localhost:4566")


def test_a_localstack_host_that_is_none_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an exception of a library."""
    monkeypatch.setenv("LOCALSTACK_HOST", "localhost:port")
    with pytest.raises(QueueError, match="LOCALSTACK_HOST"):
        connect("any.fifo", visibility_timeout_s=30, max_receives=3)
