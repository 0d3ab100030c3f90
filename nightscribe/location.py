"""SOURCE and DEST: each is a folder or a bucket."""

from pathlib import Path

from nightscribe.shared.errors import SetupError
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.s3.block_cache import Blocks
from nightscribe.shared.storage.s3.client import Bucket, objects_of
from nightscribe.shared.storage.s3.source import BucketSource
from nightscribe.shared.storage.s3.store import BucketStore
from nightscribe.shared.storage.source import FolderSource, RecordingSource
from nightscribe.shared.storage.store import FolderStore, TranscriptStore

Location = Path | Bucket


def place(text: str) -> Location:
    """What a user names. Raises: SetupError: if it is nothing, or an address, but none of a bucket."""
    if not text:
        raise SetupError("An empty argument names no folder. Is a variable not set? A dot names this folder.")
    scheme, colon, _ = text.partition(":/")
    if colon and scheme.casefold() == "s3":
        return Bucket.parse(text)
    if colon and text.startswith("://", len(scheme)):
        raise SetupError(f"{text!r} is no place that nightscribe knows; give a folder or s3://bucket/prefix.")
    return Path(text)


def open_source(source: Location, settings: Settings, *, leave_out: Location | None = None) -> RecordingSource:
    """The recordings of a place; `leave_out` is the destination, which may lie in it.

    Raises: BucketError: if the address of the bucket's server is not complete.
    """
    if isinstance(source, Path):
        others = leave_out if isinstance(leave_out, Path) else None
        return FolderSource(source, leave_out=others, follow_links=settings.follow_links)
    return BucketSource(
        objects_of(source, payer=settings.s3_requester_pays),
        Blocks(round(settings.cache_gb * 2**30)),
        leave_out=leave_out if isinstance(leave_out, Bucket) else None,
    )


def open_store(dest: Location, settings: Settings) -> TranscriptStore:
    """The transcripts and records of a place. Raises: BucketError: if its server's address is not complete."""
    if isinstance(dest, Path):
        return FolderStore(dest)
    return BucketStore(objects_of(dest), settings.s3_encryption)
