"""A look at the messages of a queue that takes none of them: SQS has no such thing, servers for one machine do."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

AT_MOST_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Peeked:
    """A message that was seen and not received."""

    message_id: str
    body: str
    receive_count: int
    is_visible: bool
    """Whether it can be received now; if not, somebody has it or it waits to be tried again."""


def peek(endpoint: str, queue_url: str, *, timeout_s: float) -> list[Peeked] | None:
    """Every message on the queue, or None if this server shows none; nothing is received, hidden or counted by it."""
    asked = {"QueueUrl": queue_url}
    for path, more, read in (
        ("/_ministack/sqs/messages", {}, from_ministack),
        ("/_aws/sqs/messages", {"ShowInvisible": "1", "ShowDelayed": "1"}, from_localstack),
    ):
        answer = _get(endpoint, f"{path}?{urlencode(asked | more)}", timeout_s)
        try:
            if answer is not None:
                return list(read(json.loads(answer)))
        except (ValueError, LookupError, TypeError, AttributeError):  # a server that answers whatever it is asked
            continue
    return None


def from_ministack(answer: Any) -> Iterator[Peeked]:
    """Its messages stand below accounts, regions and queues."""
    for regions in answer["messages"].values():
        for queues in regions.values():
            for messages in queues.values():
                for each in messages:
                    yield Peeked(each["MessageId"], each["Body"], int(each["ReceiveCount"]), bool(each["IsVisible"]))


def from_localstack(answer: Any) -> Iterator[Peeked]:
    """It answers as to ReceiveMessage."""
    for each in _listed((answer["ReceiveMessageResponse"]["ReceiveMessageResult"] or {}).get("Message")):
        said = {attribute["Name"]: attribute["Value"] for attribute in _listed(each["Attribute"])}
        is_visible = said["IsVisible"] == "true" and said["IsDelayed"] == "false"
        yield Peeked(each["MessageId"], each["Body"], int(said["ApproximateReceiveCount"]), is_visible)


def _listed(value: Any) -> list[Any]:
    """What was XML before: one of a thing may stand without its list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _get(endpoint: str, path: str, timeout_s: float) -> bytes | None:
    """The body of a good answer of bearable length."""
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
