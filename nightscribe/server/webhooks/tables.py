"""Define the tables of webhooks: where to send messages, the messages, and their deliveries."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nightscribe.server.database.tables import Base


class Webhook(Base):
    """A URL to which messages are sent."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]]
    folder: Mapped[str] = mapped_column(Text, default="")
    """Only messages about recordings below this folder; empty for all."""
    secret: Mapped[str] = mapped_column(String(200))
    previous_secret: Mapped[str | None] = mapped_column(String(200))
    """The secret before a rotation, with which messages are also signed until `previous_until`."""
    previous_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(200))
    disabled_at: Mapped[datetime | None]
    disabled_because: Mapped[str] = mapped_column(Text, default="")


class WebhookMessage(Base):
    """Something that has happened, as it is sent."""

    __tablename__ = "webhook_messages"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    type: Mapped[str] = mapped_column(String(40))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(index=True)


class WebhookDelivery(Base):
    """A message on its way to one URL."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("webhook_messages.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    """`pending`, `delivered`, `failed`, or `cancelled` if the webhook was disabled first."""
    n_attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None]
    """When it is due. A server that makes an attempt moves this ahead first, so that no other one makes it as well."""
    last_attempt_at: Mapped[datetime | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str] = mapped_column(Text, default="")

    webhook: Mapped[Webhook] = relationship()
    message: Mapped[WebhookMessage] = relationship()

    __table_args__ = (Index("ix_webhook_deliveries_due", "state", "next_attempt_at"),)
