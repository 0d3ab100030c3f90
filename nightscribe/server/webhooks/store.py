"""Keep webhooks, messages and deliveries in the database. Every function works in the transaction of its session."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, joinedload

from nightscribe.server.ids import recording_id
from nightscribe.server.webhooks.attempts import Decision, Outcome, Verdict
from nightscribe.server.webhooks.events import EventType, body_of, new_message_id
from nightscribe.server.webhooks.signing import new_secret
from nightscribe.server.webhooks.tables import Webhook, WebhookDelivery, WebhookMessage

PENDING, DELIVERED, FAILED, CANCELLED = "pending", "delivered", "failed", "cancelled"
ROTATION = timedelta(hours=24)
"""How long messages are also signed with the secret before a rotation."""
CLAIM = timedelta(seconds=60)
"""After this time, an attempt whose server has died is made again. Longer than any attempt takes."""
KEPT = timedelta(days=30)
"""How long deliveries that are over are listed."""


@dataclass(frozen=True)
class Due:
    """What is needed for one attempt."""

    delivery_id: int
    message_id: str
    url: str
    secrets: tuple[str, ...]
    body: str
    n_attempts: int
    """Attempts made before this one."""


def create(
    session: Session,
    url: str,
    events: Sequence[str],
    *,
    folder: str,
    secret: str,
    by: str,
    at: datetime,
) -> Webhook:
    """Add a webhook and return it. `secret`: empty for a new one."""
    webhook = Webhook(
        id=f"wh_{secrets.token_hex(10)}",
        url=url,
        events=list(events),
        folder=folder,
        secret=secret or new_secret(),
        previous_secret=None,
        previous_until=None,
        created_at=at,
        created_by=by[:200],
        disabled_at=None,
        disabled_because="",
    )
    session.add(webhook)
    return webhook


def webhooks(session: Session) -> Sequence[Webhook]:
    """Return all webhooks, oldest first."""
    return session.scalars(select(Webhook).order_by(Webhook.created_at, Webhook.id)).all()


def rotate(webhook: Webhook, at: datetime, secret: str = "") -> None:
    """Give a webhook a new secret; the one that it had is valid for another day."""
    webhook.previous_secret, webhook.previous_until = webhook.secret, at + ROTATION
    webhook.secret = secret or new_secret()


def disable(session: Session, webhook: Webhook, at: datetime, because: str) -> None:
    """Send nothing more to a webhook, and cancel what is on its way."""
    webhook.disabled_at, webhook.disabled_because = at, because
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.state == PENDING)
        .values(state=CANCELLED, next_attempt_at=None)
    )


def enable(webhook: Webhook) -> None:
    """Send messages to a webhook again, beginning with the next one."""
    webhook.disabled_at, webhook.disabled_because = None, ""


def emit_recording(session: Session, event: EventType, at: datetime, recording: str) -> int:
    """Queue a message about the recording with this path, as `emit` does."""
    return emit(session, event, at, about=recording, id=recording_id(recording), recording=recording)


def emit(session: Session, event: EventType, at: datetime, *, about: str = "", **data: str | int) -> int:
    """Queue a message for every webhook that wants it, and return how many do.

    Call it in the transaction that stores what has happened: then both are stored, or neither.

    Args:
        about: path of the recording that it is about, which decides who may hear of it; empty for all recordings.
        data: what the message states.
    """
    wanted = [
        each
        for each in session.scalars(select(Webhook).where(Webhook.disabled_at.is_(None)))
        if event.value in each.events and _is_below(about, each.folder)
    ]
    if wanted:
        message = _message(session, event, at, **data)
        for webhook in wanted:
            _queue(session, webhook, message, at)
    return len(wanted)


def emit_test(session: Session, webhook: Webhook, at: datetime) -> WebhookDelivery:
    """Queue a message that only tells this webhook that it works."""
    return _queue(session, webhook, _message(session, EventType.TEST, at, id=webhook.id), at)


def replay(session: Session, delivery: WebhookDelivery, at: datetime) -> WebhookDelivery:
    """Queue the message of a delivery again, with the same id, so that a receiver that has it ignores it."""
    return _queue(session, delivery.webhook, delivery.message, at)


def deliveries(
    session: Session, webhook_id: str, *, state: str = "", before: int | None = None, limit: int = 50
) -> Sequence[WebhookDelivery]:
    """Return the deliveries of a webhook with their messages, newest first. `before`: only those with a lower id."""
    query = select(WebhookDelivery).options(joinedload(WebhookDelivery.message)).order_by(WebhookDelivery.id.desc())
    query = query.where(WebhookDelivery.webhook_id == webhook_id).limit(limit)
    if state:
        query = query.where(WebhookDelivery.state == state)
    if before is not None:
        query = query.where(WebhookDelivery.id < before)
    return session.scalars(query).all()


def claim(session: Session, now: datetime, limit: int) -> list[Due]:
    """Return deliveries that are due, and reserve them for `CLAIM`."""
    query = (
        select(WebhookDelivery)
        .options(joinedload(WebhookDelivery.message), joinedload(WebhookDelivery.webhook))
        .where(WebhookDelivery.state == PENDING, WebhookDelivery.next_attempt_at <= now)
        .order_by(WebhookDelivery.next_attempt_at, WebhookDelivery.id)
        .limit(limit)
        .with_for_update(of=WebhookDelivery, skip_locked=True)
    )
    found = session.scalars(query).all()
    for each in found:
        each.next_attempt_at = now + CLAIM
    return [_due(each, now) for each in found]


def claim_one(delivery: WebhookDelivery, now: datetime) -> Due:
    """Reserve one delivery for `CLAIM`, and return it."""
    delivery.next_attempt_at = now + CLAIM
    return _due(delivery, now)


def next_due(session: Session) -> datetime | None:
    """Return when the next attempt is due, or None if nothing is on its way."""
    query = select(WebhookDelivery.next_attempt_at).where(WebhookDelivery.state == PENDING)
    return session.scalars(query.order_by(WebhookDelivery.next_attempt_at).limit(1)).first()


def settle(session: Session, delivery_id: int, outcome: Outcome, decision: Decision, now: datetime) -> None:
    """Record an attempt. A webhook whose receiver is gone, or has failed at all attempts of a message, is disabled."""
    delivery = session.get(WebhookDelivery, delivery_id)
    if delivery is None:  # the webhook was deleted meanwhile
        return
    delivery.n_attempts += 1
    delivery.last_attempt_at, delivery.last_status, delivery.last_error = now, outcome.status, outcome.error[:500]
    if delivery.state != PENDING and decision.verdict is not Verdict.DELIVERED:
        return  # the webhook was disabled meanwhile
    delivery.next_attempt_at = None
    match decision.verdict:
        case Verdict.DELIVERED:
            delivery.state = DELIVERED
        case Verdict.RETRY:
            delivery.next_attempt_at = now + timedelta(seconds=decision.delay_s)
        case Verdict.GONE:
            delivery.state = FAILED
            disable(session, delivery.webhook, now, "The receiver responded with 410 (gone).")
        case Verdict.FAILED:
            delivery.state = FAILED
            disable(session, delivery.webhook, now, f"All {delivery.n_attempts} attempts to deliver a message failed.")


def prune(session: Session, now: datetime) -> None:
    """Delete messages that are older than `KEPT` and no longer on their way."""
    pending = select(WebhookDelivery.message_id).where(WebhookDelivery.state == PENDING)
    session.execute(
        delete(WebhookDelivery).where(
            WebhookDelivery.state != PENDING,
            WebhookDelivery.message_id.in_(select(WebhookMessage.id).where(WebhookMessage.created_at < now - KEPT)),
        )
    )
    session.execute(
        delete(WebhookMessage).where(WebhookMessage.created_at < now - KEPT, WebhookMessage.id.not_in(pending))
    )


def _due(delivery: WebhookDelivery, now: datetime) -> Due:
    return Due(
        delivery_id=delivery.id,
        message_id=delivery.message_id,
        url=delivery.webhook.url,
        secrets=_secrets(delivery.webhook, now),
        body=delivery.message.body,
        n_attempts=delivery.n_attempts,
    )


def _secrets(webhook: Webhook, now: datetime) -> tuple[str, ...]:
    if webhook.previous_secret and webhook.previous_until and now < webhook.previous_until:
        return (webhook.secret, webhook.previous_secret)
    return (webhook.secret,)


def _message(session: Session, event: EventType, at: datetime, **data: str | int) -> WebhookMessage:
    message = WebhookMessage(id=new_message_id(), type=event.value, body=body_of(event, at, **data), created_at=at)
    session.add(message)
    return message


def _queue(session: Session, webhook: Webhook, message: WebhookMessage, at: datetime) -> WebhookDelivery:
    delivery = WebhookDelivery(
        webhook=webhook,
        message=message,
        state=PENDING,
        n_attempts=0,
        next_attempt_at=at,
        last_attempt_at=None,
        last_status=None,
        last_error="",
    )
    session.add(delivery)
    session.flush()
    return delivery


def _is_below(recording: str, folder: str) -> bool:
    return not folder or recording == folder or recording.startswith(folder.rstrip("/") + "/")
