"""Name recordings in addresses: the id of a recording is its path in base64, which needs no table. Pure."""

import base64
import binascii

from nightscribe.shared.audio.probe import MEDIA_SUFFIXES
from nightscribe.shared.model.jobs import is_inside
from nightscribe.shared.model.paths import suffix

MOST_CHARS = 6000  # a path has at most 4096 bytes


def recording_id(path: str) -> str:
    """Return the id of a recording, of letters, digits, `-` and `_`."""
    return base64.urlsafe_b64encode(path.encode(errors="surrogateescape")).decode().rstrip("=")


def path_of(id_: str) -> str | None:
    """Return the path of a recording from its id, or None if it is not the id of a path below a source.

    Hidden files and folders, in which there may be anything, are no recordings.
    """
    try:
        path = base64.b64decode(id_ + "=" * (-len(id_) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    if recording_id(path) != id_ or not is_inside(path):
        return None
    return None if any(part.startswith(".") or not part for part in path.split("/")) else path


def is_media(path: str) -> bool:
    """Return whether a file has a name like a recording."""
    return suffix(path).removeprefix(".") in MEDIA_SUFFIXES
