"""The queue: SQS through boto3, whichever server speaks it."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from math import ceil
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError

from nightscribe.shared import aws
from nightscribe.shared.errors import LeaseLost, QueueError, RetryableError
from nightscribe.shared.model.jobs import Job
from nightscribe.shared.queue.address import QueueAddress, is_amazons
from nightscribe.shared.queue.inspect import Peeked, peek
from nightscribe.shared.telemetry import tracing

log = structlog.get_logger()

# Message attributes. SQS keeps them when it moves a message to the dead-letter queue by itself.
RUN = "Run"  # of the director that queued it
REASON = "Reason"  # why it was set aside
WORKER = "Worker"  # by whom
RECORDED = "Recorded"  # whether all failures of its recordings were recorded before
TRACE = "traceparent"  # W3C trace context, where traces are asked for
BATCH = 10  # what SQS takes in one call
BATCH_BYTES = 250 * 1024  # of all its messages together; older servers stop at 256 KiB
ATTRIBUTE_NAMES_BYTES = 96  # the names and types of them count as well
TRACE_BYTES = 55
LONGEST_POLL_S = 3.0
READ_TIMEOUT_S = 5.0  # a lease has no time for a server that accepts a call and never answers
RETRY_TIMEOUT_S = 60.0  # how long a call is tried again before its error is raised

# What SQS takes in an attribute; a reason may quote anything, as the name of a file.
_UNSPEAKABLE = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")

# Each means that the message is no longer ours; servers differ in which they say, and in what they put before it.
_GONE = {"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "InvalidIdFormat"}
_NO_QUEUE = {"QueueDoesNotExist", "NonExistentQueue"}


class QueueMissing(RetryableError):
    """The queue itself is gone, as after a restart of a server that forgets: create it and compare again."""


@dataclass(frozen=True)
class Delivery:
    """A received message with the right to work on it."""

    message_id: str
    body: str
    receipt_handle: str
    receive_count: int
    group: str = ""
    """Message group id: the identity of its job."""
    run: str | None = None
    """Which run of a director queued it."""
    reason: str | None = None
    """Why it was set aside, if it was set aside by a worker."""
    worker: str | None = None
    """Who set it aside."""
    recorded: bool = False
    """Whether the failures of all its recordings were recorded before it was set aside."""
    trace: str | None = None
    """W3C trace context of its job."""


@dataclass(frozen=True)
class Counts:
    """How many messages there are, roughly: SQS counts lag by a second or more, and zero is a hint, not a proof."""

    queued: int
    in_flight: int
    made_at: str = ""
    """When the queue was created: another time means another queue, without what was on the first."""


@dataclass(frozen=True)
class _Entry:
    body: str
    group: str
    deduplication: str
    trace: str | None


class JobQueue:
    """One FIFO queue of jobs and its dead-letter queue. Safe to use from several threads."""

    def __init__(
        self,
        client: Any,
        address: str,
        *,
        visibility_timeout_s: float,
        max_receives: int,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
        creates_on_aws: bool = True,
        make_client: Callable[[], Any] | None = None,
    ) -> None:
        """`make_client`: for another client when credentials have expired; see `connect` for the rest."""
        self._client = client
        self._make_client = make_client
        self._retry_timeout_s = retry_timeout_s
        self._creates_on_aws = creates_on_aws
        self.address = address
        place = QueueAddress.parse(address)
        self.name = place.name
        self._owner = place.owner
        self.dead_letter_name = self.name.removesuffix(".fifo") + "-dead.fifo"
        self._visibility_timeout_s = visibility_timeout_s
        self._max_receives = max_receives
        self._url = ""
        self._dead_url = ""

    # Setting up

    def ensure(self) -> None:
        """Find both queues, or create them as `infra/create_queue.json` says.

        Raises: QueueError: if a queue of that name cannot serve. RetryableError: if no server answers; QueueMissing
        among them, if there is none on AWS, which forgets none: a worker that created one there would wait in the
        wrong region for ever.
        """
        if not self._creates_on_aws and self.endpoint is None:
            self.find()
            return
        template: dict[str, str] = json.loads((files("nightscribe.shared.queue") / "create_queue.json").read_text())[
            "Attributes"
        ]
        template["VisibilityTimeout"] = str(ceil(self._visibility_timeout_s))
        redrive = self._redrive()
        if redrive:  # somebody's own queue may have a dead-letter queue of another name
            self.dead_letter_name = redrive["deadLetterTargetArn"].rpartition(":")[2]
        self._dead_url = self._ensure_one(self.dead_letter_name, template)
        if not redrive:
            dead_arn = self._attributes(self._dead_url)["QueueArn"]
            redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": str(self._max_receives)}
        self._url = self._ensure_one(self.name, template | {"RedrivePolicy": json.dumps(redrive)})

    def find(self) -> None:
        """Find both queues as they are, and create neither. Raises: QueueMissing: if there is none of that name."""
        redrive = self._redrive()
        if not redrive:
            raise self._missing()
        self.dead_letter_name = redrive["deadLetterTargetArn"].rpartition(":")[2]
        self._url = self._url_of(self.name)
        self._dead_url = self._url_of(self.dead_letter_name)

    @property
    def endpoint(self) -> str | None:
        """Address of the server; None where it is Amazon's."""
        url: str = self._client.meta.endpoint_url
        return None if is_amazons(url) else url

    def _url_of(self, name: str) -> str:
        asked = {"QueueName": name}
        if self._owner and self.endpoint is None:
            asked["QueueOwnerAWSAccountId"] = self._owner
        url: str = self._call("get_queue_url", retry_timeout_s=None, **asked)["QueueUrl"]
        return url

    def _missing(self) -> "QueueMissing":
        if self.endpoint:
            return QueueMissing(f"There is no queue {self.name!r} on {self.endpoint}.")
        return QueueMissing(
            f"There is no queue {self.name!r} in {self._client.meta.region_name}. The director creates it: start that "
            "first, or set AWS_DEFAULT_REGION to the region where it is."
        )

    def _redrive(self) -> dict[str, str]:
        """The redrive policy of the queue if it exists."""
        try:
            found = self._attributes(self._url_of(self.name))
        except QueueMissing:
            return {}
        if "RedrivePolicy" not in found:
            raise QueueError(
                f"The queue {self.name!r} exists but has no redrive policy, so a job that kills its workers would come "
                f"back for ever. Give it one that points to {self.dead_letter_name!r} (README, 'Your own queue'), "
                "or choose another name with NIGHTSCRIBE_QUEUE_NAME."
            )
        redrive: dict[str, str] = json.loads(found["RedrivePolicy"])
        return redrive

    def _ensure_one(self, name: str, wanted: dict[str, str]) -> str:
        try:
            url = self._url_of(name)
        except QueueMissing:
            created: str = self._call("create_queue", QueueName=name, Attributes=wanted)["QueueUrl"]
            log.info("queue.created", queue=name)
            return created
        found = self._attributes(url)
        for key, value in wanted.items():
            if key != "RedrivePolicy" and found.get(key, "").lower() != value.lower():
                log.warning("queue.attribute_differed", queue=name, attribute=key, found=found.get(key), expected=value)
        return url

    def _attributes(self, url: str) -> dict[str, str]:
        answer = self._call("get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
        attributes: dict[str, str] = answer.get("Attributes", {})
        return attributes

    # Director's side

    def send(self, jobs: Iterable[Job], run: str, *, again: int = 0) -> None:
        """Queue jobs. The same ones of the same `run` queue nothing new for five minutes, unless `again` is another.

        Raises: RetryableError: if the server did not take every one of them.
        """
        self._send(
            self._url,
            (
                _Entry(job.to_message(), job.id, job.deduplication_id(f"{run}-{again}"), self._trace_of(job, run))
                for job in jobs
            ),
            {RUN: run},
        )

    def _trace_of(self, job: Job, run: str) -> str | None:
        about: tracing.Attributes = {
            "nightscribe.job": job.id,
            "nightscribe.run": run,
            "nightscribe.slices": len(job.slices),
            "nightscribe.recording": job.slices[0].recording,
        }
        return tracing.job_created(self.name, about)

    def _send(
        self,
        url: str,
        entries: Iterable["_Entry"],
        attributes: dict[str, str | None],
        *,
        retry_timeout_s: float | None = None,
    ) -> None:
        said = _text_attributes(attributes)
        for batch in _batches(entries, TRACE_BYTES + sum(len(each["StringValue"].encode()) for each in said.values())):
            answer = self._call(
                "send_message_batch",
                retry_timeout_s=retry_timeout_s,
                QueueUrl=url,
                Entries=[
                    {
                        "Id": str(n),
                        "MessageBody": entry.body,
                        "MessageGroupId": entry.group,
                        "MessageDeduplicationId": entry.deduplication,
                        "MessageAttributes": said | _text_attributes({TRACE: entry.trace}),
                    }
                    for n, entry in enumerate(batch)
                ],
            )
            if refused := answer.get("Failed"):
                first = refused[0]
                raise RetryableError(
                    f"The queue refused {len(refused)} jobs ({first['Code']}: {first.get('Message', '')})."
                )

    def counts(self) -> Counts:
        """Messages that wait (those returned with a delay among the ones in flight) and that are worked on."""
        return self._counts(self._url)

    def dead_counts(self) -> Counts:
        """The same of what was set aside."""
        return self._counts(self._dead_url)

    def _counts(self, url: str) -> Counts:
        found = self._attributes(url)
        return Counts(
            queued=int(found.get("ApproximateNumberOfMessages", 0))
            + int(found.get("ApproximateNumberOfMessagesDelayed", 0)),
            in_flight=int(found.get("ApproximateNumberOfMessagesNotVisible", 0)),
            made_at=found.get("CreatedTimestamp", ""),
        )

    def peek(self) -> list[Peeked] | None:
        """Every message without receiving it, where the server shows them; SQS itself does not."""
        return peek(self.endpoint, self._url, timeout_s=READ_TIMEOUT_S) if self.endpoint else None

    def dead_letters(self) -> Iterator[Delivery]:
        """What was set aside, each hidden from others for half a minute: remove it with `bury` once it is recorded."""
        while True:
            received = list(self._receive(self._dead_url, wait_s=0, timeout_s=30, most=BATCH))
            if not received:
                return
            yield from received

    def delete_dead_letter(self, letter: Delivery) -> None:
        """Remove a dead letter."""
        self._call("delete_message", QueueUrl=self._dead_url, ReceiptHandle=letter.receipt_handle)

    # Worker's side

    def receive(self, wait_s: float) -> Delivery | None:
        """One job, hidden from others for the visibility timeout, or None if none came within `wait_s`.

        A call waits for `LONGEST_POLL_S` at most.
        """
        timeout_s = ceil(self._visibility_timeout_s)
        return next(self._receive(self._url, wait_s=wait_s, timeout_s=timeout_s, most=1), None)

    def _receive(self, url: str, *, wait_s: float, timeout_s: int, most: int) -> Iterator[Delivery]:
        answer = self._call(
            "receive_message",
            QueueUrl=url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=round(min(LONGEST_POLL_S, wait_s)),
            VisibilityTimeout=timeout_s,
            AttributeNames=["ApproximateReceiveCount", "MessageGroupId"],
            MessageAttributeNames=[RUN, REASON, WORKER, RECORDED, TRACE],
        )
        for message in answer.get("Messages", []):
            said = {name: value.get("StringValue") for name, value in message.get("MessageAttributes", {}).items()}
            yield Delivery(
                message_id=message["MessageId"],
                body=message["Body"],
                receipt_handle=message["ReceiptHandle"],
                receive_count=int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
                group=message.get("Attributes", {}).get("MessageGroupId", message["MessageId"]),
                run=said.get(RUN),
                reason=said.get(REASON),
                worker=said.get(WORKER),
                recorded=RECORDED in said,
                trace=said.get(TRACE),
            )

    def change_visibility(self, delivery: Delivery, timeout_s: float, *, retry_timeout_s: float | None = None) -> None:
        """Hide the message for `timeout_s` from now; 0 gives it back at once.

        Raises: LeaseLost: if it is no longer ours. RetryableError: if the server did not answer within `patience_s`.
        """
        self._call(
            "change_message_visibility",
            retry_timeout_s=retry_timeout_s,
            QueueUrl=self._url,
            ReceiptHandle=delivery.receipt_handle,
            VisibilityTimeout=ceil(timeout_s),  # never shorter than the lease that counts on it,
        )

    def requeue(self, delivery: Delivery, *, retry_timeout_s: float | None = None) -> None:
        """Give a message back as one that was never received, which the next receive does not make a dead letter.

        Raises: LeaseLost: if it is no longer ours; it is then there twice, and the second finds the work done.
        """
        again = _Entry(delivery.body, delivery.group, f"{delivery.message_id}-again", delivery.trace)
        self._send(self._url, [again], {RUN: delivery.run}, retry_timeout_s=retry_timeout_s)
        self.delete(delivery, retry_timeout_s=retry_timeout_s)

    def delete(self, delivery: Delivery, *, retry_timeout_s: float | None = None) -> None:
        """Remove a job that is done. Raises: LeaseLost: if it is no longer ours."""
        handle = delivery.receipt_handle
        self._call("delete_message", retry_timeout_s=retry_timeout_s, QueueUrl=self._url, ReceiptHandle=handle)

    def dead_letter(
        self,
        delivery: Delivery,
        body: str,
        reason: str,
        *,
        worker: str | None = None,
        recorded: bool = False,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
    ) -> None:
        """Put what cannot be done (`body`) on the dead-letter queue; only then is the message deleted.

        `recorded`: its failures were recorded before, so that nobody is to record them again. Each of the two is tried
        for half of `patience_s`.
        """
        letter = _Entry(body, delivery.message_id, delivery.message_id, delivery.trace)
        attributes = {RUN: delivery.run, REASON: reason, WORKER: worker, RECORDED: "yes" if recorded else None}
        self._send(self._dead_url, [letter], attributes, retry_timeout_s=retry_timeout_s / 2)
        self.delete(delivery, retry_timeout_s=retry_timeout_s / 2)

    # The wire

    def _call(self, operation: str, *, retry_timeout_s: float | None = None, **arguments: Any) -> dict[str, Any]:
        def translated(code: str, _message: str) -> Exception | None:
            if code in _NO_QUEUE:
                return self._missing()
            if "ReceiptHandle" in arguments and code in _GONE:
                return LeaseLost(f"The message is no longer ours ({code}).")
            return None

        answer: dict[str, Any] = aws.persist(
            lambda: getattr(self._client, operation)(**arguments),
            _subject(self.name),
            operation=operation,
            retry_timeout_s=self._retry_timeout_s if retry_timeout_s is None else retry_timeout_s,
            renew=self._renew,
            translated=translated,
            is_final=lambda error: isinstance(error, QueueMissing),
        )
        return answer

    def _renew(self) -> None:
        if self._make_client:
            self._client = self._make_client()


def _text_attributes(texts: dict[str, str | None]) -> dict[str, dict[str, str]]:
    """Message attributes of those that say something."""
    return {
        name: {"DataType": "String", "StringValue": _UNSPEAKABLE.sub("\N{REPLACEMENT CHARACTER}", text)}
        for name, text in texts.items()
        if text
    }


def _batches(entries: Iterable[_Entry], attribute_bytes: int) -> Iterator[list[_Entry]]:
    """As many messages as one call takes, of their number and of their size."""
    batch: list[_Entry] = []
    n_bytes = 0
    for entry in entries:
        entry_bytes = len(entry.body.encode()) + attribute_bytes + ATTRIBUTE_NAMES_BYTES
        if batch and (len(batch) == BATCH or n_bytes + entry_bytes > BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(entry)
        n_bytes += entry_bytes
    if batch:
        yield batch


def connect(
    address: str,
    *,
    visibility_timeout_s: float,
    max_receives: int,
    retry_timeout_s: float = RETRY_TIMEOUT_S,
    creates_on_aws: bool = True,
) -> JobQueue:
    """The queue of that name on the server that the environment names (see `aws.client`), or at that URL.

    Nothing is sent yet. Raises: QueueError: if the address is not complete, or not that of a FIFO queue.
    """
    try:
        place = QueueAddress.parse(address)
    except ValueError as error:
        raise QueueError(f"The queue {address!r} cannot be used: {error}.") from None
    timeout_s = min(READ_TIMEOUT_S, retry_timeout_s)

    def make() -> Any:
        return aws.client("sqs", timeout_s=timeout_s, region=place.region, endpoint=place.endpoint)

    try:
        client = make()
    except (BotoCoreError, ValueError, RuntimeError) as error:
        raise aws.incomplete(error, _subject(place.name)) from error
    return JobQueue(
        client,
        address,
        visibility_timeout_s=visibility_timeout_s,
        max_receives=max_receives,
        retry_timeout_s=retry_timeout_s,
        creates_on_aws=creates_on_aws,
        make_client=make,
    )


def _subject(name: str) -> aws.Subject:
    return aws.Subject(f"queue {name!r}", QueueError, "AWS_ENDPOINT_URL_SQS")
