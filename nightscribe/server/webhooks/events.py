"""Name the events that webhooks report, and write them as messages. Pure."""

import json
import secrets
from datetime import UTC, datetime
from enum import StrEnum

MAX_BODY_BYTES = 20_000


class EventType(StrEnum):
    """What has happened."""

    FINISHED = "recording.finished"
    FAILED = "recording.failed"
    CHANGED = "recording.changed"  # its words, its speakers or its name
    DELETED = "recording.deleted"
    RUN_FINISHED = "run.finished"
    TEST = "webhook.test"


SUBSCRIBABLE = tuple(each for each in EventType if each is not EventType.TEST)


def new_message_id() -> str:
    """Return an id that is the same in all attempts, so that a receiver recognizes a message that it already has."""
    return f"msg_{secrets.token_hex(12)}"


def body_of(event: EventType, at: datetime, **data: str | int) -> str:
    """Return a message as JSON. It says what has changed, not how: the receiver reads that with its own token.

    `data`: such as the id of the recording.
    """
    stated = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": event.value, "timestamp": stated, "data": data}, ensure_ascii=False)
    if len(body.encode()) > MAX_BODY_BYTES:  # a path of 4 KiB is the longest that a source may have
        raise ValueError(f"A message of {len(body.encode())} bytes is too large.")
    return body
