"""Compute fingerprints of recordings, which are cheap on a network share and survive a rename."""

import hashlib
from collections.abc import Callable

FINGERPRINT_BYTES = 64 * 1024


def covers_all(size: int) -> bool:
    """Return whether the fingerprint of a recording of this size is a hash of its whole content."""
    return size <= 2 * FINGERPRINT_BYTES


def fingerprint(size: int, read: Callable[[int, int], bytes]) -> str:
    """Return the size of a recording and a hash of its first and last 64 KiB.

    `read(first, n)` returns `n` bytes from offset `first`, or fewer at the end of the recording.
    """
    digest = hashlib.sha256(read(0, FINGERPRINT_BYTES))
    if size > FINGERPRINT_BYTES:
        digest.update(read(max(FINGERPRINT_BYTES, size - FINGERPRINT_BYTES), FINGERPRINT_BYTES))
    return f"{size}-{digest.hexdigest()[:32]}"
