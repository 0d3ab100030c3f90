"""The hash of a recording's whole content. A fingerprint covers its two ends only, which other recordings may share."""

import hashlib
from typing import Protocol, runtime_checkable

from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import RecordingSource

CHUNK_BYTES = 2**20


@runtime_checkable
class StatesHashes(Protocol):
    """A source that may know the hash of a recording without reading it."""

    def stated_sha256(self, path: str) -> str | None:
        """Return the SHA-256 of the whole recording as the storage states it, in hexadecimal digits, or None."""
        ...


def content_sha256(source: RecordingSource, path: str) -> str:
    """Return the SHA-256 of a recording, in hexadecimal digits; read all of it unless the storage states its hash.

    Raises: PermanentError: if it is gone or may not be read. RetryableError: if reading fails.
    """
    if isinstance(source, StatesHashes) and (stated := source.stated_sha256(path)):
        return stated
    digest = hashlib.sha256()
    with source.local(path) as recording, recording.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            report_alive()
    return digest.hexdigest()
