"""Connect to a queue and its dead-letter queue: find or create both, and retry calls."""

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from math import ceil
from typing import TYPE_CHECKING, TypeVar

import structlog

from nightscribe.shared import aws
from nightscribe.shared.errors import LeaseLost, QueueError, RetryableError
from nightscribe.shared.queue.address import QueueAddress, is_amazons
from nightscribe.shared.queue.signing import Signer

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.literals import QueueAttributeNameType
    from types_boto3_sqs.type_defs import GetQueueUrlResultTypeDef

T = TypeVar("T")

log = structlog.get_logger()

# Without it, a lease could expire while we wait for a server that accepts a call but never responds.
READ_TIMEOUT_S = 5.0
RETRY_TIMEOUT_S = 60.0  # how long a call is retried before its error is raised

# Each means that the message is no longer ours. Servers differ in which one they send, and in its prefix.
_GONE = {"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "InvalidIdFormat"}
_NO_QUEUE = {"QueueDoesNotExist", "NonExistentQueue"}


class QueueMissing(RetryableError):
    """The queue does not exist, for example after a server without persistence restarted: create it and scan again."""

    code = "queue_unreachable"


class QueueConnection:
    """One FIFO queue and its dead-letter queue on one server. Safe to use from several threads."""

    def __init__(
        self,
        client: "SQSClient",
        address: str,
        *,
        visibility_timeout_s: float,
        max_receives: int,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
        creates_on_aws: bool = True,
        make_client: "Callable[[], SQSClient] | None" = None,
        secrets: Sequence[str] = (),
    ) -> None:
        """See `connect`. `make_client` makes a new client when the credentials have expired."""
        self._client = client
        self._make_client = make_client
        self._retry_timeout_s = retry_timeout_s
        self._creates_on_aws = creates_on_aws
        self._signer = Signer(secrets)
        self.address = address
        parsed = QueueAddress.parse(address)
        self.name = parsed.name
        self._owner = parsed.owner
        self.dead_letter_name = self.name.removesuffix(".fifo") + "-dead.fifo"
        self._visibility_timeout_s = visibility_timeout_s
        self._max_receives = max_receives
        self._url = ""
        self._dead_url = ""

    @property
    def endpoint(self) -> str | None:
        """Return the address of the server, or None if it is AWS."""
        url = self._client.meta.endpoint_url
        return None if is_amazons(url) else url

    def ensure(self) -> None:
        """Find both queues, or create them as `infra/create_queue.json` describes.

        Raises: QueueError: if the queue exists but is unsuitable. RetryableError: if the server does not respond.
        QueueMissing: if a worker finds none on AWS. AWS never loses a queue, so the region is probably wrong, and a
        queue created there would stay empty for ever.
        """
        if not self._creates_on_aws and self.endpoint is None:
            self.find()
            return
        template: dict[QueueAttributeNameType, str] = json.loads(
            (files("nightscribe.shared.queue") / "create_queue.json").read_text()
        )["Attributes"]
        template["VisibilityTimeout"] = str(ceil(self._visibility_timeout_s))
        redrive = self._redrive()
        if redrive:  # a queue that the user created may have a dead-letter queue with another name
            self.dead_letter_name = redrive["deadLetterTargetArn"].rpartition(":")[2]
        self._dead_url = self._ensure_one(self.dead_letter_name, template)
        if not redrive:
            dead_arn = self._attributes(self._dead_url)["QueueArn"]
            redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": str(self._max_receives)}
        self._url = self._ensure_one(self.name, {**template, "RedrivePolicy": json.dumps(redrive)})

    def find(self) -> None:
        """Find both queues without creating them. Raises: QueueMissing: if the queue does not exist."""
        redrive = self._redrive()
        if not redrive:
            raise self._missing()
        self.dead_letter_name = redrive["deadLetterTargetArn"].rpartition(":")[2]
        self._url = self._url_of(self.name)
        self._dead_url = self._url_of(self.dead_letter_name)

    def _ensure_one(self, name: str, wanted: "dict[QueueAttributeNameType, str]") -> str:
        try:
            url = self._url_of(name)
        except QueueMissing:
            created = self._call("create_queue", lambda sqs: sqs.create_queue(QueueName=name, Attributes=wanted))
            log.info("queue.created", queue=name)
            return created["QueueUrl"]
        found = self._attributes(url)
        for key, value in wanted.items():
            if key != "RedrivePolicy" and found.get(key, "").lower() != value.lower():
                log.warning("queue.attribute_differed", queue=name, attribute=key, found=found.get(key), expected=value)
        return url

    def _url_of(self, name: str) -> str:
        owner = self._owner if self.endpoint is None else None

        def get_url(sqs: "SQSClient") -> "GetQueueUrlResultTypeDef":
            if owner:
                return sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=owner)
            return sqs.get_queue_url(QueueName=name)

        return self._call("get_queue_url", get_url)["QueueUrl"]

    def _redrive(self) -> dict[str, str]:
        """Return the redrive policy of the queue, or an empty one if the queue does not exist."""
        try:
            found = self._attributes(self._url_of(self.name))
        except QueueMissing:
            return {}
        if "RedrivePolicy" not in found:
            raise QueueError(
                f"The queue {self.name!r} has no redrive policy, so a job that kills its workers would return "
                f"for ever. Give it one that points to {self.dead_letter_name!r} (docs/reference.md), "
                "or choose another name with NIGHTSCRIBE_QUEUE_NAME."
            )
        redrive: dict[str, str] = json.loads(found["RedrivePolicy"])
        return redrive

    def _attributes(self, url: str) -> "dict[QueueAttributeNameType, str]":
        return self._call(
            "get_queue_attributes", lambda sqs: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        ).get("Attributes", {})

    def _missing(self) -> QueueMissing:
        if self.endpoint:
            return QueueMissing(f"There is no queue {self.name!r} on {self.endpoint}.")
        return QueueMissing(
            f"There is no queue {self.name!r} in {self._client.meta.region_name}. Start the director first, which "
            "creates it, or set AWS_DEFAULT_REGION to the region of the queue."
        )

    def _delete(self, url: str, receipt_handle: str, *, retry_timeout_s: float | None = None) -> None:
        self._call(
            "delete_message",
            lambda sqs: sqs.delete_message(QueueUrl=url, ReceiptHandle=receipt_handle),
            retry_timeout_s=retry_timeout_s,
            holds_receipt=True,
        )

    def _call(
        self,
        operation: str,
        call: "Callable[[SQSClient], T]",
        *,
        retry_timeout_s: float | None = None,
        holds_receipt: bool = False,
    ) -> T:
        """Return the result of one SQS call, retrying it for up to `retry_timeout_s` where that may help.

        `call` must return the whole response, because `aws.persist` recognizes a proxy's page by the metadata.
        `operation` names the call in errors. Set `holds_receipt` if it concerns a message that may no longer be ours.
        Raises: LeaseLost, QueueMissing, QueueError, RetryableError: see `aws.persist`.
        """

        def translated(code: str, _message: str) -> Exception | None:
            if code in _NO_QUEUE:
                return self._missing()
            if holds_receipt and code in _GONE:
                return LeaseLost(f"The message is no longer ours ({code}).")
            return None

        return aws.persist(
            lambda: call(self._client),
            queue_subject(self.name),
            operation=operation,
            retry_timeout_s=self._retry_timeout_s if retry_timeout_s is None else retry_timeout_s,
            renew=self._renew,
            translated=translated,
            is_final=lambda error: isinstance(error, QueueMissing),
        )

    def _renew(self) -> None:
        if self._make_client:
            self._client = self._make_client()


def queue_subject(name: str) -> aws.Subject:
    """Return the name and the error class of a queue for error messages."""
    return aws.Subject(f"queue {name!r}", QueueError, "AWS_ENDPOINT_URL_SQS")
