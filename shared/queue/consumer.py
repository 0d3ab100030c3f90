"""Receive jobs for workers and dead letters for the director."""

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from nightscribe.shared.queue.connection import QueueConnection
from nightscribe.shared.queue.wire import (
    BATCH,
    CODE,
    REASON,
    RECORDED,
    RELEASED,
    RUN,
    SIGNATURE,
    TRACE,
    WORKER,
    Delivery,
    Releases,
)

LONGEST_POLL_S = 3.0
DEAD_LETTER_HIDDEN_S = 30


class Consumer(QueueConnection):
    """Receives messages from the queue and its dead-letter queue, keeps them invisible and deletes them."""

    def receive(self, wait_s: float) -> Delivery | None:
        """Return one job, hidden from others for the visibility timeout, or None if none arrived within `wait_s`.

        A call waits for at most `LONGEST_POLL_S`.
        """
        timeout_s = ceil(self._visibility_timeout_s)
        return next(self._receive(self._url, wait_s=wait_s, timeout_s=timeout_s, at_most=1), None)

    def is_trusted(self, delivery: Delivery) -> bool:
        """Return whether the message was signed with a secret of the queue; True if the queue has no secret."""
        return self._signer.accepts(delivery.body, delivery.signature)

    def change_visibility(self, delivery: Delivery, timeout_s: float, *, retry_timeout_s: float | None = None) -> None:
        """Hide the message for `timeout_s` from now; 0 releases it at once.

        Raises: LeaseLost: if the message is no longer ours. RetryableError: if the server did not respond within
        `retry_timeout_s`.
        """
        hidden_s = ceil(timeout_s)  # never shorter than the lease that depends on it
        self._call(
            "change_message_visibility",
            lambda sqs: sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=delivery.receipt_handle, VisibilityTimeout=hidden_s
            ),
            retry_timeout_s=retry_timeout_s,
            holds_receipt=True,
        )

    def delete(self, delivery: Delivery, *, retry_timeout_s: float | None = None) -> None:
        """Delete a finished job. Raises: LeaseLost: if it is no longer ours."""
        self._delete(self._url, delivery.receipt_handle, retry_timeout_s=retry_timeout_s)

    def dead_letters(self) -> Iterator[Delivery]:
        """Yield the dead letters, each hidden for half a minute. Call `delete_dead_letter` once one is recorded."""
        while True:
            received = list(self._receive(self._dead_url, wait_s=0, timeout_s=DEAD_LETTER_HIDDEN_S, at_most=BATCH))
            if not received:
                return
            yield from received

    def delete_dead_letter(self, letter: Delivery) -> None:
        """Delete a dead letter."""
        self._delete(self._dead_url, letter.receipt_handle)

    def _receive(self, url: str, *, wait_s: float, timeout_s: int, at_most: int) -> Iterator[Delivery]:
        response = self._call(
            "receive_message",
            lambda sqs: sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=at_most,
                WaitTimeSeconds=round(min(LONGEST_POLL_S, wait_s)),
                VisibilityTimeout=timeout_s,
                AttributeNames=["ApproximateReceiveCount", "MessageGroupId"],
                MessageAttributeNames=[RUN, RELEASED, SIGNATURE, REASON, CODE, WORKER, RECORDED, TRACE],
            ),
        )
        for message in response.get("Messages", []):
            delivery = Delivery.of(message)
            counted = delivery.releases
            if counted.n and not self._signer.accepts(counted.signed_text(delivery.body), counted.signature):
                delivery = replace(delivery, releases=Releases())  # a forged count could make a job fail
            yield delivery
