"""Send jobs for the director, and requeue or dead-letter messages for workers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nightscribe.shared.errors import RetryableError
from nightscribe.shared.model.jobs import Job
from nightscribe.shared.queue.connection import RETRY_TIMEOUT_S, QueueConnection
from nightscribe.shared.queue.signing import SIGNATURE_BYTES
from nightscribe.shared.queue.wire import (
    CODE,
    REASON,
    RECORDED,
    RELEASED,
    RUN,
    SIGNATURE,
    TRACE,
    TRACE_BYTES,
    WORKER,
    Delivery,
    Entry,
    Releases,
    batches,
    text_attributes,
)
from nightscribe.shared.telemetry import tracing

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef, SendMessageBatchResultTypeDef


class Producer(QueueConnection):
    """Sends messages to the queue and to its dead-letter queue."""

    def send(self, jobs: Iterable[Job], run: str, *, again: int = 0) -> None:
        """Queue jobs. SQS drops a job that the same `run` sent within five minutes with the same number `again`.

        Raises: RetryableError: if the server did not accept all of them.
        """
        self._send(
            self._url,
            (
                Entry(
                    body := job.to_message(),
                    job.id,
                    job.deduplication_id(f"{run}-{again}"),
                    self._trace_of(job, run),
                    self._signer.sign(body),
                )
                for job in jobs
            ),
            {RUN: run},
        )

    def requeue(
        self, delivery: Delivery, *, releases: Releases | None = None, retry_timeout_s: float | None = None
    ) -> None:
        """Replace a message with a new one whose receive count is zero, so that SQS does not dead-letter it.

        `releases` replaces that of the delivery.
        Raises: LeaseLost: if it is no longer ours. The queue then has it twice, and the second finds the work done.
        """
        signature = self._signature_of(delivery, delivery.body)
        again = Entry(delivery.body, delivery.group, f"{delivery.message_id}-again", delivery.trace, signature)
        count = releases or delivery.releases
        if self._signer.accepts(delivery.body, delivery.signature):
            count = count._replace(signature=self._signer.sign(count.signed_text(delivery.body)))
        attributes = {RUN: delivery.run, RELEASED: count.to_text()}
        self._send(self._url, [again], attributes, retry_timeout_s=retry_timeout_s)
        self._delete(self._url, delivery.receipt_handle, retry_timeout_s=retry_timeout_s)

    def dead_letter(
        self,
        delivery: Delivery,
        body: str,
        reason: str,
        *,
        code: str | None = None,
        worker: str | None = None,
        recorded: bool = False,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
    ) -> None:
        """Send a job that cannot be done (`body`) to the dead-letter queue, then delete the message.

        `recorded`: its failures are on record, so the director need not record them. Each of the two calls is retried
        for half of `retry_timeout_s`.
        """
        signature = self._signature_of(delivery, body)
        letter = Entry(body, delivery.message_id, delivery.message_id, delivery.trace, signature)
        attributes = {
            RUN: delivery.run,
            REASON: reason,
            CODE: code,
            WORKER: worker,
            RECORDED: "yes" if recorded else None,
        }
        self._send(self._dead_url, [letter], attributes, retry_timeout_s=retry_timeout_s / 2)
        self._delete(self._url, delivery.receipt_handle, retry_timeout_s=retry_timeout_s / 2)

    def _signature_of(self, delivery: Delivery, body: str) -> str | None:
        """Return the signature for a message that replaces a received one."""
        return self._signer.renew(delivery.body, delivery.signature, body)

    def _send(
        self,
        url: str,
        entries: Iterable[Entry],
        attributes: dict[str, str | None],
        *,
        retry_timeout_s: float | None = None,
    ) -> None:
        common = text_attributes(attributes)
        fixed_bytes = TRACE_BYTES + SIGNATURE_BYTES
        for batch in batches(entries, fixed_bytes + sum(len(each["StringValue"].encode()) for each in common.values())):
            messages: list[SendMessageBatchRequestEntryTypeDef] = [
                {
                    "Id": str(n),
                    "MessageBody": entry.body,
                    "MessageGroupId": entry.group,
                    "MessageDeduplicationId": entry.deduplication,
                    "MessageAttributes": common | text_attributes({TRACE: entry.trace, SIGNATURE: entry.signature}),
                }
                for n, entry in enumerate(batch)
            ]
            refused = self._send_batch(url, messages, retry_timeout_s).get("Failed")
            if refused:
                first = refused[0]
                raise RetryableError(
                    f"The queue refused {len(refused)} jobs ({first['Code']}: {first.get('Message', '')}).",
                    code="queue_unreachable",
                )

    def _send_batch(
        self, url: str, messages: "list[SendMessageBatchRequestEntryTypeDef]", retry_timeout_s: float | None
    ) -> "SendMessageBatchResultTypeDef":
        def send(sqs: "SQSClient") -> "SendMessageBatchResultTypeDef":
            return sqs.send_message_batch(QueueUrl=url, Entries=messages)

        return self._call("send_message_batch", send, retry_timeout_s=retry_timeout_s)

    def _trace_of(self, job: Job, run: str) -> str | None:
        attributes: tracing.Attributes = {
            "nightscribe.job": job.id,
            "nightscribe.run": run,
            "nightscribe.slices": len(job.slices),
            "nightscribe.recording": job.slices[0].recording,
        }
        return tracing.job_created(self.name, attributes)
