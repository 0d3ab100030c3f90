"""A server's jobs without HTTP: a source, a destination, a database, both queues and workers on them."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nightscribe.server.database.database import Database, open_database
from nightscribe.server.jobs.lane import Lane
from nightscribe.server.jobs.model import JobRequest
from nightscribe.server.jobs.service import Jobs, Limits
from nightscribe.server.jobs.spool import Spool, Upload
from nightscribe.shared.destination.records import Records
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore
from support.workplace import OPTIONS, Workplace

REQUEST = JobRequest(options=OPTIONS, formats=("txt", "srt"), owner="me")
ASKED = replace(REQUEST, interactive=True, ephemeral=True)


@dataclass
class Desk:
    """Where recordings are handed in."""

    batch: Workplace
    interactive: Workplace
    spool: Spool
    database: Database

    @classmethod
    def at(cls, folder: Path) -> "Desk":
        """Make one; the queues exist on the server to which the environment leads."""
        source, dest = folder / "source", folder / "dest"
        source.mkdir()
        dest.mkdir()
        settings = Settings(visibility_timeout_s=300, heartbeat_s=10, retry_delay_s=0, max_receives=2)
        name = f"desk-{uuid.uuid4().hex[:16]}"
        batch, interactive = (
            Workplace(source, dest, _queue(f"{name}{kind}.fifo", settings), settings) for kind in ("", "-interactive")
        )
        spool = Spool(FolderSource(source, leave_out=dest), folder / "spool", most_bytes=2**30)
        return cls(batch, interactive, spool, open_database(FolderLocation(dest)))

    @property
    def records(self) -> Records:
        """The records of the destination."""
        return self.batch.records

    def upload(self, content: bytes | Path, name: str = "clip.wav") -> Upload:
        """A file that has arrived."""
        data = content.read_bytes() if isinstance(content, Path) else content
        incoming = self.spool.begin(name, len(data))
        incoming.write(data)
        return incoming.finish()

    @contextmanager
    def open(self, **limits: Any) -> Iterator[Jobs]:
        """Serve until the context ends."""
        settings = self.batch.settings
        with Jobs(
            source=FolderSource(self.batch.source, leave_out=self.batch.dest),
            records=Records(FolderStore(self.batch.dest)),
            database=self.database,
            batch=Lane(lambda: self.batch.queue, self.records, max_receives=settings.max_receives),
            interactive=Lane(lambda: self.interactive.queue, self.records, max_receives=settings.max_receives),
            spool=self.spool,
            limits=Limits(**limits),
        ) as jobs:
            yield jobs

    def files(self) -> list[str]:
        """Everything in the source, hidden files as well."""
        source = self.batch.source
        return sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())


def _queue(name: str, settings: Settings) -> JobQueue:
    queue = connect(
        name, visibility_timeout_s=settings.visibility_timeout_s, max_receives=settings.max_receives, retry_timeout_s=3
    )
    queue.ensure()
    return queue
