"""Define the tables of jobs and of unfinished uploads."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, Float, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from nightscribe.server.database.tables import Base


class JobRow(Base):
    """A job that was accepted. Everything that its messages need is here, so that they can be sent again."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(Text)
    recording: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64))
    size: Mapped[int]
    stem: Mapped[str] = mapped_column(Text)
    join_key: Mapped[str] = mapped_column(String(64), default="")
    """Hash of content, options and owner, by which a repeated upload finds the running job."""
    interactive: Mapped[bool] = mapped_column(Boolean)
    ephemeral: Mapped[bool] = mapped_column(Boolean)
    uploaded: Mapped[bool] = mapped_column(Boolean)
    request: Mapped[dict[str, Any]]
    """Options, formats and layout, as a message has them."""
    plan: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """Cut points, once the recording was looked at; None before."""
    duration_s: Mapped[float | None] = mapped_column(Float)
    error_code: Mapped[str] = mapped_column(String(64), default="")
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)

    __table_args__ = (
        Index("ix_jobs_state_created_at", "state", "created_at"),
        Index("ix_jobs_owner_created_at", "owner", "created_at"),
        Index("ix_jobs_join_key", "join_key"),
    )


class UploadRow(Base):
    """An upload that can be resumed. How much of it is there, its file says."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(Text)
    size: Mapped[int]
    request: Mapped[dict[str, Any]]
    """How the recording is to be transcribed once it is complete."""
    job_id: Mapped[str | None] = mapped_column(String(32))
    """Its job, once it is complete."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
