"""Uploads that can be resumed: what is known about them lies in the database, what has arrived in their files."""

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, update

from nightscribe.server.database.database import Database
from nightscribe.server.jobs.model import NoSuchJob, Refused
from nightscribe.server.jobs.spool import Spool, Upload, unwritable
from nightscribe.server.jobs.tables import JobRow, UploadRow
from nightscribe.shared.storage.folder.source import sync_folder

MOST_OPEN = 100  # uploads of one owner


class NoSuchUpload(NoSuchJob):
    """There is no upload with this id that the caller may see."""


@dataclass(frozen=True)
class Resumable:
    """An upload as it was when it was read."""

    id: str
    owner: str
    name: str
    size: int
    offset: int
    """Bytes that have arrived."""
    request: dict[str, Any]
    path: Path
    expires_at: datetime
    job_id: str | None = None
    """Its job, once it was complete."""

    @property
    def is_complete(self) -> bool:
        """Return whether all bytes have arrived."""
        return self.offset == self.size


class Uploads:
    """Creates, continues and removes uploads. Its methods block."""

    def __init__(self, database: Database, spool: Spool, *, keep_s: float) -> None:
        """`keep_s`: seconds after which an upload that was not continued is removed."""
        self._database = database
        self._spool = spool
        self._keep_s = keep_s

    def create(self, owner: str, name: str, size: int, request: dict[str, Any]) -> Resumable:
        """Begin an upload. Raises: Refused, MachineError: see `Spool.require_room`. Refused: if too many are open."""
        self._spool.require_room(size)
        with self._database.read() as session:
            query = select(func.count()).where(UploadRow.owner == owner, UploadRow.job_id.is_(None))
            if (session.scalar(query) or 0) >= MOST_OPEN:
                raise Refused("You have too many unfinished uploads; finish or delete some.", code="too_many_uploads")
        upload_id = secrets.token_hex(16)
        path = self._spool.path_of(upload_id, name)
        try:
            path.touch(exist_ok=False)
            sync_folder(path.parent)
        except OSError as error:
            raise unwritable(error) from error
        now = datetime.now(UTC)
        row = UploadRow(
            id=upload_id,
            owner=owner,
            name=name,
            size=size,
            request=request,
            created_at=now,
            expires_at=now + timedelta(seconds=self._keep_s),
        )
        with self._database.write() as session:
            session.add(row)
        return self._read(row)

    def get(self, upload_id: str, owner: str | None) -> Resumable:
        """Return an upload. `owner`: whose it must be; None for anybody's. Raises: NoSuchUpload."""
        with self._database.read() as session:
            row = session.get(UploadRow, upload_id)
            if row and not row.job_id and session.get(JobRow, row.id):
                row.job_id = row.id  # the server was killed before it could note that
        if row is None or (owner is not None and row.owner != owner):
            raise NoSuchUpload("There is no such upload.")
        return self._read(row)

    def exists(self, upload_id: str) -> bool:
        """Return whether there is an upload with this id."""
        with self._database.read() as session:
            return session.get(UploadRow, upload_id) is not None

    def write(self, upload: Resumable, offset: int, data: bytes) -> None:
        """Write bytes at an offset. Raises: Refused: if they would be too many. MachineError: if the disk is full."""
        if offset + len(data) > upload.size:
            raise Refused("The file is longer than was said at the beginning of the upload.", code="too_large")
        self._spool.require_room(0)
        try:
            with upload.path.open("r+b", buffering=0) as file:
                file.seek(offset)
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
        except FileNotFoundError:
            raise NoSuchUpload("There is no such upload.") from None
        except OSError as error:
            raise unwritable(error) from error

    def extend(self, upload: Resumable) -> datetime:
        """Count the time until the upload is removed from now on; return when it is."""
        expires_at = datetime.now(UTC) + timedelta(seconds=self._keep_s)
        with self._database.write() as session:
            session.execute(update(UploadRow).where(UploadRow.id == upload.id).values(expires_at=expires_at))
        return expires_at

    def finish(self, upload: Resumable) -> Upload:
        """Return the complete file. Raises: MachineError: if it cannot be made durable."""
        try:
            with upload.path.open("r+b") as file:
                os.fsync(file.fileno())
        except FileNotFoundError:
            raise NoSuchUpload("There is no such upload.") from None
        except OSError as error:
            raise unwritable(error) from error
        return Upload(upload.path, upload.name, upload.size)

    def accepted(self, upload: Resumable, job_id: str) -> None:
        """Note the job of a complete upload, for a client that did not see the response."""
        with self._database.write() as session:
            session.execute(update(UploadRow).where(UploadRow.id == upload.id).values(job_id=job_id))

    def remove(self, upload: Resumable) -> None:
        """Remove an upload and its file."""
        upload.path.unlink(missing_ok=True)
        with self._database.write() as session:
            session.execute(delete(UploadRow).where(UploadRow.id == upload.id))

    def remove_expired(self) -> None:
        """Remove uploads that nobody has continued, and their files."""
        with self._database.read() as session:
            expired = list(session.scalars(select(UploadRow).where(UploadRow.expires_at < datetime.now(UTC))))
        for row in expired:
            self.remove(self._read(row))

    def _read(self, row: UploadRow) -> Resumable:
        path = self._spool.path_of(row.id, row.name)
        if row.job_id:
            offset = row.size
        else:
            try:
                offset = min(path.stat().st_size, row.size)
            except OSError:
                offset = 0
        return Resumable(row.id, row.owner, row.name, row.size, offset, row.request, path, row.expires_at, row.job_id)
