"""The whole queue as one object: producer, consumer and inspector on one connection."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from nightscribe.shared import aws
from nightscribe.shared.errors import QueueError
from nightscribe.shared.queue.address import QueueAddress
from nightscribe.shared.queue.connection import READ_TIMEOUT_S, RETRY_TIMEOUT_S, queue_subject
from nightscribe.shared.queue.consumer import Consumer
from nightscribe.shared.queue.inspector import Inspector
from nightscribe.shared.queue.producer import Producer

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient


class JobQueue(Producer, Consumer, Inspector):
    """One FIFO queue of jobs and its dead-letter queue. Safe to use from several threads."""


def connect(
    address: str,
    *,
    visibility_timeout_s: float,
    max_receives: int,
    retry_timeout_s: float = RETRY_TIMEOUT_S,
    creates_on_aws: bool = True,
    secrets: Sequence[str] = (),
    local: str | None = None,
) -> JobQueue:
    """Return the queue with this name on the server that the environment names (see `aws.client`), or at this URL.

    `secrets` sign jobs and check them (see `Signer`). `local`: address of a server that a run started, to use instead.
    It sends nothing yet.

    Raises: QueueError: if the address is incomplete or does not name a FIFO queue.
    """
    try:
        parsed = QueueAddress.parse(address)
    except ValueError as error:
        raise QueueError(f"The queue {address!r} cannot be used: {error}.") from None
    timeout_s = min(READ_TIMEOUT_S, retry_timeout_s)

    def make() -> "SQSClient":
        return aws.client("sqs", timeout_s=timeout_s, region=parsed.region, endpoint=parsed.endpoint, local=local)

    try:
        client = make()
    except (BotoCoreError, ValueError, RuntimeError) as error:
        raise aws.incomplete(error, queue_subject(parsed.name)) from error
    return JobQueue(
        client,
        address,
        visibility_timeout_s=visibility_timeout_s,
        max_receives=max_receives,
        retry_timeout_s=retry_timeout_s,
        creates_on_aws=creates_on_aws,
        make_client=make,
        secrets=secrets,
    )
