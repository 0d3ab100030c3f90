"""Create, change and test webhooks, and list what was sent to them."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy.orm import Session

from nightscribe.server.address_policy import AddressPolicy
from nightscribe.server.auth import Admin, Principal, add_to_log
from nightscribe.server.context import Context, Serving
from nightscribe.server.database.log import Action
from nightscribe.server.errors import ApiError, not_found
from nightscribe.server.outgoing import checked_url, guarded_pool
from nightscribe.server.webhooks import store
from nightscribe.server.webhooks.attempts import Outcome
from nightscribe.server.webhooks.events import SUBSCRIBABLE
from nightscribe.server.webhooks.sender import policy_of, post, settle
from nightscribe.server.webhooks.signing import check_secret
from nightscribe.server.webhooks.tables import Webhook, WebhookDelivery

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

MAX_WEBHOOKS = 100
Id = Annotated[str, Path(pattern="^wh_[0-9a-f]{20}$", description="Id of the webhook.")]
Folder = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]
Event = Literal["recording.finished", "recording.failed", "recording.changed", "recording.deleted", "run.finished"]


class NewWebhook(BaseModel):
    """Where to send messages, and about what."""

    url: Annotated[str, Field(min_length=1, max_length=2000, description="Begins with https://.")]
    events: Annotated[list[Event], Field(min_length=1, max_length=len(SUBSCRIBABLE))] = Field(
        default=[each.value for each in SUBSCRIBABLE]  # type: ignore[misc]
    )
    folder: Folder = Field(default="", description="Only recordings below this folder of the source; empty for all.")
    secret: Annotated[str, Field(max_length=200)] = Field(
        default="", description="`whsec_` and the base64 of 24 to 64 random bytes; empty for a new one."
    )


class ChangedWebhook(BaseModel):
    """What to change; what is left out stays as it is."""

    url: Annotated[str | None, Field(min_length=1, max_length=2000)] = None
    events: Annotated[list[Event] | None, Field(min_length=1, max_length=len(SUBSCRIBABLE))] = None
    folder: Folder | None = None
    enabled: bool | None = Field(default=None, description="false stops it, true starts it again.")


class ShownWebhook(BaseModel):
    """A webhook without its secret."""

    id: str
    url: str
    events: list[str]
    folder: str
    enabled: bool
    disabled_at: AwareDatetime | None
    disabled_because: str
    created_at: AwareDatetime
    created_by: str


class CreatedWebhook(ShownWebhook):
    """A webhook with the secret by which the receiver verifies messages. It is shown only here."""

    secret: str


class NewSecret(BaseModel):
    """A secret to use instead of a new one."""

    secret: Annotated[str, Field(max_length=200)] = ""


class Delivery(BaseModel):
    """A message on its way to a webhook."""

    id: int
    message_id: str
    type: str
    created_at: AwareDatetime
    state: Literal["pending", "delivered", "failed", "cancelled"]
    n_attempts: int
    next_attempt_at: AwareDatetime | None
    last_attempt_at: AwareDatetime | None
    last_status: int | None
    last_error: str
    body: str = Field(description="The message as it is sent, in JSON.")


class Deliveries(BaseModel):
    """Some deliveries, newest first."""

    deliveries: list[Delivery]
    before: int | None = Field(description="Send it as `before` for the next page; null at the end.")


@router.get("")
def list_webhooks(principal: Admin, context: Serving) -> list[ShownWebhook]:
    """List the webhooks, oldest first."""
    with context.database.read() as session:
        return [_shown(each) for each in store.webhooks(session) if principal.may_see(each.folder)]


@router.post("", status_code=201)
def create_webhook(new: NewWebhook, principal: Admin, context: Serving) -> CreatedWebhook:
    """Create a webhook. The response holds its secret, and nothing else ever does."""
    _check_url(new.url, context)
    secret = check_secret(new.secret) if new.secret else ""
    with context.database.write() as session:
        if len(store.webhooks(session)) >= MAX_WEBHOOKS:
            raise ApiError(409, "too_many", f"There are already {MAX_WEBHOOKS} webhooks.", "Delete one first.")
        made = store.create(
            session,
            new.url,
            new.events,
            folder=principal.within(new.folder),
            secret=secret,
            by=principal.name,
            at=datetime.now(UTC),
        )
        add_to_log(session, principal, Action.WEBHOOK_CREATED, id=made.id, url=made.url)
        return CreatedWebhook(**_shown(made).model_dump(), secret=made.secret)


@router.get("/{id}")
def get_webhook(id: Id, principal: Admin, context: Serving) -> ShownWebhook:  # noqa: A002  as the path names it
    """Return a webhook."""
    with context.database.read() as session:
        return _shown(_get(session, id, principal))


@router.patch("/{id}")
def change_webhook(id: Id, changed: ChangedWebhook, principal: Admin, context: Serving) -> ShownWebhook:  # noqa: A002
    """Change a webhook, stop it, or start it again."""
    if changed.url is not None:
        _check_url(changed.url, context)
    with context.database.write() as session:
        webhook = _get(session, id, principal)
        webhook.url = changed.url if changed.url is not None else webhook.url
        webhook.events = list(changed.events) if changed.events is not None else webhook.events
        webhook.folder = principal.within(changed.folder) if changed.folder is not None else webhook.folder
        if changed.enabled is False and webhook.disabled_at is None:
            store.disable(session, webhook, datetime.now(UTC), f"{principal.name} has stopped it.")
        elif changed.enabled:
            store.enable(webhook)
        add_to_log(session, principal, Action.WEBHOOK_CHANGED, id=id)
        return _shown(webhook)


@router.delete("/{id}", status_code=204)
def delete_webhook(id: Id, principal: Admin, context: Serving) -> None:  # noqa: A002
    """Delete a webhook and the list of what was sent to it."""
    with context.database.write() as session:
        session.delete(_get(session, id, principal))
        add_to_log(session, principal, Action.WEBHOOK_DELETED, id=id)


@router.post("/{id}/rotate-secret")
def rotate_secret(id: Id, principal: Admin, context: Serving, given: NewSecret | None = None) -> CreatedWebhook:  # noqa: A002
    """Give a webhook a new secret. For a day, messages are signed with both, so that the receiver can change over."""
    secret = check_secret(given.secret) if given and given.secret else ""
    with context.database.write() as session:
        webhook = _get(session, id, principal)
        store.rotate(webhook, datetime.now(UTC), secret)
        add_to_log(session, principal, Action.WEBHOOK_CHANGED, id=id)
        return CreatedWebhook(**_shown(webhook).model_dump(), secret=webhook.secret)


@router.post("/{id}/test")
def test_webhook(id: Id, principal: Admin, context: Serving) -> Delivery:  # noqa: A002
    """Send a message of the type `webhook.test` now, and return what became of it. If it fails, it is tried again."""
    now = datetime.now(UTC)
    with context.database.write() as session:
        delivery = store.emit_test(session, _get(session, id, principal), now)
        due = store.claim_one(delivery, now)
    outcome = anyio.run(_post_once, policy_of(context), due, now)
    with context.database.write() as session:
        settle(session, due, outcome)
        return _delivery(session.get_one(WebhookDelivery, due.delivery_id))


@router.get("/{id}/deliveries")
def list_deliveries(  # noqa: PLR0917  as FastAPI reads them
    id: Id,  # noqa: A002
    principal: Admin,
    context: Serving,
    state: Literal["pending", "delivered", "failed", "cancelled"] | None = None,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Deliveries:
    """List what was sent to a webhook, newest first. What is over is listed for 30 days."""
    with context.database.read() as session:
        webhook = _get(session, id, principal)
        found = store.deliveries(session, webhook.id, state=state or "", before=before, limit=limit)
        return Deliveries(
            deliveries=[_delivery(each) for each in found], before=found[-1].id if len(found) == limit else None
        )


@router.post("/{id}/deliveries/{delivery_id}/replay", status_code=202)
def replay(
    id: Id,  # noqa: A002
    delivery_id: int,
    principal: Admin,
    context: Serving,
) -> Delivery:
    """Send a message again, with the same id."""
    if not 0 <= delivery_id < 2**62:
        raise not_found("delivery")
    with context.database.write() as session:
        webhook = _get(session, id, principal)
        found = session.get(WebhookDelivery, delivery_id)
        if found is None or found.webhook_id != webhook.id:
            raise not_found("delivery")
        if webhook.disabled_at:
            raise ApiError(409, "disabled", "The webhook is stopped.", 'Start it with PATCH and {"enabled": true}.')
        return _delivery(store.replay(session, found, datetime.now(UTC)))


async def _post_once(policy: AddressPolicy, due: store.Due, now: datetime) -> Outcome:
    async with guarded_pool(policy) as pool:
        return await post(pool, due, now)


def _check_url(url: str, context: Context) -> None:
    """Refuse a URL that could never be sent to. Raises: AddressRefused: see `checked_url`. ApiError: if it is http."""
    parsed = checked_url(url)
    if parsed.scheme != "https" and not policy_of(context).is_exception(parsed.host):
        raise ApiError(
            422, "url_refused", "The URL must begin with https://, so that nobody else reads or changes messages.",
            "For a host of your own network, add it to NIGHTSCRIBE_ALLOWED_ADDRESSES.",
        )  # fmt: skip


def _get(session: Session, id: str, principal: Principal) -> Webhook:  # noqa: A002
    webhook = session.get(Webhook, id)
    if webhook is None or not principal.may_see(webhook.folder):
        raise not_found("webhook")
    return webhook


def _shown(webhook: Webhook) -> ShownWebhook:
    return ShownWebhook(
        id=webhook.id,
        url=webhook.url,
        events=webhook.events,
        folder=webhook.folder,
        enabled=webhook.disabled_at is None,
        disabled_at=webhook.disabled_at,
        disabled_because=webhook.disabled_because,
        created_at=webhook.created_at,
        created_by=webhook.created_by,
    )


def _delivery(delivery: WebhookDelivery) -> Delivery:
    return Delivery(
        id=delivery.id,
        message_id=delivery.message_id,
        type=delivery.message.type,
        created_at=delivery.message.created_at,
        state=delivery.state,  # type: ignore[arg-type]
        n_attempts=delivery.n_attempts,
        next_attempt_at=delivery.next_attempt_at,
        last_attempt_at=delivery.last_attempt_at,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        body=delivery.message.body,
    )
