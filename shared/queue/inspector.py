"""Inspect a queue without receiving: SQS counts its messages, and some local servers list them as well."""

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
    """A message that was listed but not received."""

    message_id: str
    body: str
    receive_count: int
    is_visible: bool
    """True if it can be received now; otherwise a worker holds it, or it waits to be retried."""


@dataclass(frozen=True)
class Counts:
    """Approximate numbers of messages. SQS's counts lag by a second or more, so zero is a hint, not a proof."""

    queued: int
    in_flight: int
    made_at: str = ""
    """When the queue was created. A different time means a different queue, without the messages of the first."""


class Inspector(QueueConnection):
    """Counts and lists the messages of the queue without receiving any."""

    def counts(self) -> Counts:
        """Return how many messages wait, and how many are in progress or wait to be retried."""
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
        """Return every message without receiving it, or None if the server cannot list messages, like SQS itself."""
        return peek(self.endpoint, self._url, timeout_s=READ_TIMEOUT_S) if self.endpoint else None


def peek(endpoint: str, queue_url: str, *, timeout_s: float) -> list[Peeked] | None:
    """Return every message on the queue without hiding it or counting a receive; None if the server cannot list."""
    query = {"QueueUrl": queue_url}
    for path, more, read in (
        ("/_ministack/sqs/messages", {}, from_ministack),
        ("/_aws/sqs/messages", {"ShowInvisible": "1", "ShowDelayed": "1"}, from_localstack),
    ):
        body = _get(endpoint, f"{path}?{urlencode(query | more)}", timeout_s)
        try:
            if body is not None:
                return list(read(json.loads(body)))
        except (ValueError, LookupError, TypeError, AttributeError):  # other servers may respond to any path
            continue
    return None


def from_ministack(response: Any) -> Iterator[Peeked]:
    """Read ministack's response, which groups messages by account, region and queue."""
    for regions in response["messages"].values():
        for queues in regions.values():
            for messages in queues.values():
                for each in messages:
                    yield Peeked(each["MessageId"], each["Body"], int(each["ReceiveCount"]), bool(each["IsVisible"]))


def from_localstack(response: Any) -> Iterator[Peeked]:
    """Read LocalStack's response, which has the form of a ReceiveMessage response."""
    for each in _listed((response["ReceiveMessageResponse"]["ReceiveMessageResult"] or {}).get("Message")):
        attributes = {attribute["Name"]: attribute["Value"] for attribute in _listed(each["Attribute"])}
        is_visible = attributes["IsVisible"] == "true" and attributes["IsDelayed"] == "false"
        yield Peeked(each["MessageId"], each["Body"], int(attributes["ApproximateReceiveCount"]), is_visible)


def _listed(value: Any) -> list[Any]:
    """Return a list even for one element, because JSON converted from XML does not wrap a single element in a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _get(endpoint: str, path: str, timeout_s: float) -> bytes | None:
    """Return the body of a successful response, or None if the call failed or the body is too long."""
    server = urlsplit(endpoint)
    kind = HTTPSConnection if server.scheme == "https" else HTTPConnection
    connection = kind(server.hostname or "", server.port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        content = response.read(AT_MOST_BYTES + 1)
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return content if response.status == 200 and len(content) <= AT_MOST_BYTES else None
