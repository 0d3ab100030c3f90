"""Keep and read the log of what users did."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from nightscribe.server.database.tables import LogEntry


class Action(StrEnum):
    """What can be in the log. Other areas add theirs here."""

    UPLOADED = "uploaded"
    RESULT_READ = "result read"
    CORRECTED = "corrected"
    REVIEWED = "reviewed"
    DELETED = "deleted"
    SPEAKER_NAMED = "speaker named"
    SHARED = "shared"
    SHARE_REVOKED = "share revoked"
    RETRIED = "retried"
    LOGGED_IN = "logged in"
    LOGIN_FAILED = "login failed"
    LOGGED_OUT = "logged out"
    TOKEN_CREATED = "token created"  # noqa: S105  no secret
    TOKEN_REVOKED = "token revoked"  # noqa: S105  no secret
    WEBHOOK_CREATED = "webhook created"
    WEBHOOK_CHANGED = "webhook changed"
    WEBHOOK_DELETED = "webhook deleted"


MOST_DETAIL_CHARS = 500


def add(
    session: Session,
    action: Action,
    *,
    actor: str,
    at: datetime,
    credential_id: str | None = None,
    recording: str | None = None,
    address: str | None = None,
    **details: Any,
) -> None:
    """Add an entry in the transaction of what it is about. Details hold no words of a transcript and no secrets."""
    session.add(
        LogEntry(
            at=at,
            actor=actor[:200],
            credential_id=credential_id,
            action=action,
            recording=recording,
            address=address,
            details={
                key: value[:MOST_DETAIL_CHARS] if isinstance(value, str) else value for key, value in details.items()
            },
        )
    )


def entries(
    session: Session,
    *,
    before: int | None = None,
    action: Action | None = None,
    actor: str | None = None,
    recording: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int,
) -> Sequence[LogEntry]:
    """Return entries, the newest first. `before`: only those with a lower number, for the next page."""
    query = select(LogEntry).order_by(LogEntry.id.desc()).limit(limit)
    if before is not None:
        query = query.where(LogEntry.id < before)
    if action is not None:
        query = query.where(LogEntry.action == action)
    if actor is not None:
        query = query.where(LogEntry.actor == actor)
    if recording is not None:
        query = query.where(LogEntry.recording == recording)
    if since is not None:
        query = query.where(LogEntry.at >= since)
    if until is not None:
        query = query.where(LogEntry.at < until)
    return session.scalars(query).all()
