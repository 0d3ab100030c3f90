"""Links by which somebody without a login may read one transcript for some days."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from sqlalchemy import String, Text, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from nightscribe.server.api.media import media_of
from nightscribe.server.auth import Principal, Writer, add_to_log
from nightscribe.server.context import Context, Serving
from nightscribe.server.database.credentials import digest
from nightscribe.server.database.log import Action
from nightscribe.server.database.tables import Base
from nightscribe.server.errors import ApiError
from nightscribe.server.pages.passages import Reading
from nightscribe.server.pages.recording import chunk_of, peaks_of, read, view
from nightscribe.server.pages.site import bounded, page, part
from nightscribe.shared.formats.registry import render as rendered

router = APIRouter(include_in_schema=False)
TOKEN_BYTES = 24
MOST_DAYS = 366


class Share(Base):
    """A link to one transcript."""

    __tablename__ = "shares"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 of the token in the link, in hex. The link itself is kept nowhere."""
    recording: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime]


class New(BaseModel):
    """How long a link works."""

    days: int = Field(ge=1, le=MOST_DAYS)


@router.get("/parts/shares/{recording:path}")
def listed(recording: str, principal: Writer, context: Serving) -> HTMLResponse:
    """Show the links to a transcript that still work."""
    bounded(principal, recording)
    with context.database.read() as session:
        return part("_shares.html", shares=_of(session, recording))


@router.post("/parts/shares/{recording:path}")
def create(recording: str, given: New, request: Request, principal: Writer, context: Serving) -> dict[str, str]:
    """Make a link. It is shown once."""
    read(request, bounded(principal, recording))
    token, now = secrets.token_urlsafe(TOKEN_BYTES), datetime.now(UTC)
    with context.database.write() as session:
        session.execute(delete(Share).where(Share.expires_at < now))
        session.add(
            Share(
                id=secrets.token_hex(8),
                token_hash=digest(token),
                recording=recording,
                created_at=now,
                created_by=principal.name,
                expires_at=now + timedelta(days=given.days),
            )
        )
        add_to_log(session, principal, Action.SHARED, recording=recording, days=given.days)
    return {"url": f"/s/{token}"}


@router.delete("/parts/shares/{recording:path}")
def revoke(
    recording: str, principal: Writer, context: Serving, share: Annotated[str, Query(alias="id", max_length=32)]
) -> dict[str, str]:
    """Make a link invalid."""
    bounded(principal, recording)
    with context.database.write() as session:
        session.execute(delete(Share).where(Share.id == share, Share.recording == recording))
        add_to_log(session, principal, Action.SHARE_REVOKED, recording=recording)
    return {}


def _of(session: Session, recording: str) -> list[Share]:
    now = datetime.now(UTC)
    query = select(Share).where(Share.recording == recording, Share.expires_at > now).order_by(Share.created_at)
    return list(session.scalars(query))


# What the link leads to


@router.get("/s/{token}")
def shared(token: str, request: Request, context: Serving, chunk: int | None = None) -> HTMLResponse:
    """Show a transcript to whoever has the link, to read and to listen only."""
    share, found = _opened(request, context, token)
    if chunk is not None:
        return chunk_of(found, max(0, chunk), may_edit=False)
    nobody: Principal | None = None
    return page(
        request, "recording.html", nobody, failure=None, crumbs=[], review=False, following=None, urls={}, formats=[],
        export_url="", expires_at=share.expires_at, **view(context, found, is_open=False, prefix=f"/s/{token}"),
    )  # fmt: skip


@router.get("/s/{token}/media")
def shared_media(token: str, request: Request, context: Serving) -> Response:
    """Return the recording itself."""
    return media_of(context, _opened(request, context, token)[0].recording)


@router.get("/s/{token}/peaks")
def shared_peaks(token: str, request: Request, context: Serving) -> Response:
    """Return the waveform."""
    return peaks_of(request, _opened(request, context, token)[1])


@router.get("/s/{token}/subtitles")
def shared_subtitles(token: str, request: Request, context: Serving) -> Response:
    """Return the subtitles of a film."""
    return Response(rendered(_opened(request, context, token)[1].transcript, "vtt"), media_type="text/vtt")


def _opened(request: Request, context: Context, token: str) -> tuple[Share, Reading]:
    with context.database.read() as session:
        share = session.scalar(select(Share).where(Share.token_hash == digest(token)))
    if share is None or share.expires_at <= datetime.now(UTC):
        raise ApiError(
            404, "not_found", "This link does not work any more.", "Ask the person who sent it to you for a new one."
        )
    return share, read(request, share.recording)
