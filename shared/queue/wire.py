"""Define the attributes of SQS messages, and batch messages to fit one call. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import MessageAttributeValueTypeDef, MessageTypeDef

# Message attributes. SQS keeps them when it moves a message to the dead-letter queue by itself.
RUN = "Run"  # id of the director's run that queued it
REASON = "Reason"  # the reason why a worker dead-lettered it
CODE = "Code"  # the kind of that failure
WORKER = "Worker"  # which worker did so
RECORDED = "Recorded"  # present if all failures of its recordings were recorded first
RELEASED = "Released"  # how often workers released it as a new message because of their machines, and since when
SIGNATURE = "Signature"  # signature of the body, if director and workers share a secret
TRACE = "traceparent"  # W3C trace context, where traces are exported
BATCH = 10  # messages that SQS accepts in one call
BATCH_BYTES = 250 * 1024  # size of all messages in one call; older servers accept 256 KiB
ATTRIBUTE_NAMES_BYTES = 138  # SQS counts the names and types of attributes as well
TRACE_BYTES = 55

# SQS refuses these characters in an attribute, but a reason may quote anything, for example a file name.
_FORBIDDEN = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


class Releases(NamedTuple):
    """A count of how often workers released a job as a new message because of their machines."""

    n: int = 0
    since_s: float = 0.0
    """Unix time of the first of these releases."""
    signature: str | None = None
    """Signature of the count for the body of its message, if director and workers share a secret."""

    @classmethod
    def from_text(cls, text: str | None) -> "Releases":
        """Parse the message attribute; treat an invalid one as missing."""
        found = re.fullmatch(r"([0-9]{1,9}) ([0-9]{1,12})(?: (\S{1,100}))?", text or "")
        return cls(int(found[1]), float(found[2]), found[3]) if found else cls()

    def one_more(self, now_s: float) -> "Releases":
        """Return the count after another release; a start time in the future counts as now."""
        return Releases(self.n + 1, min(self.since_s, now_s) if self.n else now_s)

    def signed_text(self, body: str) -> str:
        """Return what the signature of the count covers; it cannot be taken for a job."""
        return f"{self.n} {self.since_s:.0f}\n{body}"

    def to_text(self) -> str | None:
        """Return the message attribute, or None if there were no releases."""
        if not self.n:
            return None
        return f"{self.n} {self.since_s:.0f}" + (f" {self.signature}" if self.signature else "")


@dataclass(frozen=True)
class Delivery:
    """A received message, and the right to work on it."""

    message_id: str
    body: str
    receipt_handle: str
    receive_count: int
    group: str = ""
    """Message group id, which is the identity of its job."""
    run: str | None = None
    """Id of the director's run that queued it."""
    reason: str | None = None
    """Why a worker dead-lettered it; None if SQS did."""
    code: str | None = None
    """Kind of that failure."""
    worker: str | None = None
    """Name of the worker that dead-lettered it."""
    recorded: bool = False
    """True if the failures of all its recordings were recorded before it was dead-lettered."""
    trace: str | None = None
    """W3C trace context of its job."""
    signature: str | None = None
    """Signature of the body (see `signing`)."""
    releases: Releases = field(default_factory=Releases)
    """Releases so far because of the workers' machines."""

    @classmethod
    def of(cls, message: "MessageTypeDef") -> "Delivery":
        """Read a message as ReceiveMessage returns it."""
        ours = {name: value.get("StringValue") for name, value in message.get("MessageAttributes", {}).items()}
        system = message.get("Attributes", {})
        return cls(
            message_id=message["MessageId"],
            body=message["Body"],
            receipt_handle=message["ReceiptHandle"],
            receive_count=int(system.get("ApproximateReceiveCount", 1)),
            group=system.get("MessageGroupId", message["MessageId"]),
            run=ours.get(RUN),
            reason=ours.get(REASON),
            code=ours.get(CODE),
            worker=ours.get(WORKER),
            recorded=RECORDED in ours,
            trace=ours.get(TRACE),
            signature=ours.get(SIGNATURE),
            releases=Releases.from_text(ours.get(RELEASED)),
        )


@dataclass(frozen=True)
class Entry:
    """A message to send."""

    body: str
    group: str
    deduplication: str
    trace: str | None
    signature: str | None


def text_attributes(texts: Mapping[str, str | None]) -> dict[str, "MessageAttributeValueTypeDef"]:
    """Return message attributes for the texts that are not empty, with characters that SQS refuses replaced."""
    return {
        name: {"DataType": "String", "StringValue": _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)}
        for name, text in texts.items()
        if text
    }


def batches(entries: Iterable[Entry], attribute_bytes: int) -> Iterator[list[Entry]]:
    """Yield batches that one call accepts, by number and by size; `attribute_bytes` is added for each message."""
    batch: list[Entry] = []
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
