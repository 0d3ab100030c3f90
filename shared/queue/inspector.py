"""Looking at a queue without receiving: SQS counts messages, and servers for one machine list them as well."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from nightscribe.shared.queue.connection import READ_TIMEOUT_S, QueueConnection

AT_MOST_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Peeked:
    """A message that was listed and not received."""

    message_id: str
    body: str
    receive_count: int
    is_visible: bool
    """Whether it can be received now; if not, a worker holds it or it waits to be retried."""


@dataclass(frozen=True)
class Counts:
    """How many messages there are, roughly: SQS counts lag by a second or more, and zero is a hint, not a proof."""

    queued: int
    in_flight: int
    made_at: str = ""
    """When the queue was created: another time means another queue, without the messages of the first."""


class Inspector(QueueConnection):
    """Counts and lists the messages of the queue, and takes none."""

    def counts(self) -> Counts:
        """Return how many messages wait and how many are being worked on, with those that wait to be retried."""
        return self._counts(self._url)

    def dead_counts(self) -> Counts:
        """Return how many dead letters there are."""
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
        """Return every message without receiving it, or None if this server lists none, as SQS itself."""
        return peek(self.endpoint, self._url, timeout_s=READ_TIMEOUT_S) if self.endpoint else None


def peek(endpoint: str, queue_url: str, *, timeout_s: float) -> list[Peeked] | None:
    """Return every message on the queue, or None if this server lists none. It receives, hides and counts nothing."""
    query = {"QueueUrl": queue_url}
    for path, more, read in (
        ("/_ministack/sqs/messages", {}, from_ministack),
        ("/_aws/sqs/messages", {"ShowInvisible": "1", "ShowDelayed": "1"}, from_localstack),
    ):
        answer = _get(endpoint, f"{path}?{urlencode(query | more)}", timeout_s)
        try:
            if answer is not None:
                return list(read(json.loads(answer)))
        except (ValueError, LookupError, TypeError, AttributeError):  # a server that answers any request
            continue
    return None


def from_ministack(answer: Any) -> Iterator[Peeked]:
    """Read the answer of ministack, whose messages are grouped by account, region and queue."""
    for regions in answer["messages"].values():
        for queues in regions.values():
            for messages in queues.values():
                for each in messages:
                    yield Peeked(each["MessageId"], each["Body"], int(each["ReceiveCount"]), bool(each["IsVisible"]))


def from_localstack(answer: Any) -> Iterator[Peeked]:
    """Read the answer of LocalStack, which has the form of that to ReceiveMessage."""
    for each in _listed((answer["ReceiveMessageResponse"]["ReceiveMessageResult"] or {}).get("Message")):
        said = {attribute["Name"]: attribute["Value"] for attribute in _listed(each["Attribute"])}
        is_visible = said["IsVisible"] == "true" and said["IsDelayed"] == "false"
        yield Peeked(each["MessageId"], each["Body"], int(said["ApproximateReceiveCount"]), is_visible)


def _listed(value: Any) -> list[Any]:
    """Return a list: the answer was XML before, where a single element stands without one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _get(endpoint: str, path: str, timeout_s: float) -> bytes | None:
    """Return the body of a successful answer, unless it is too long."""
    server = urlsplit(endpoint)
    kind = HTTPSConnection if server.scheme == "https" else HTTPConnection
    connection = kind(server.hostname or "", server.port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        content = answer.read(AT_MOST_BYTES + 1)
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return content if answer.status == 200 and len(content) <= AT_MOST_BYTES else None
