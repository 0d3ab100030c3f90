"""Make names for uploaded files that are safe on every file system. Pure."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import count

from nightscribe.shared.model.paths import suffix, without_suffix

MOST_BYTES = 180  # records add endings to the name, and file systems take 255 bytes
MOST_SUFFIX = 16
UNNAMED = "recording"
RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")  # names that Windows takes for devices
FORBIDDEN = re.compile(r'[<>:"|?*\\/]')


def clean_name(given: str) -> str:
    """Return a name for a file: one path component that every file system accepts, as close to the given as possible.

    Folders, leading dots, control characters and marks that change the direction of writing are removed.
    """
    name = unicodedata.normalize("NFC", given.encode(errors="replace").decode()).replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    name = " ".join(FORBIDDEN.sub("_", name).split()).strip(". ")
    if not name:
        return UNNAMED
    if RESERVED.match(name):
        name = f"_{name}"
    ending = suffix(name)
    if len(ending.encode()) > MOST_SUFFIX:
        ending = ""
    ending = name[len(name) - len(ending) :] if ending else ""
    stem = name[: len(name) - len(ending)].encode()[: MOST_BYTES - len(ending.encode())].decode(errors="ignore")
    return (stem.rstrip(". ") or UNNAMED) + ending


def clean_folder(given: str) -> str:
    """Return a folder below the source without a slash at its ends; empty for the source itself."""
    parts = (part for part in given.replace("\\", "/").split("/") if part not in ("", ".", ".."))
    return "/".join(clean_name(part) for part in parts)


def numbered(path: str) -> Iterator[str]:
    """Yield a path, then the same with a number before its extension: `talk.mp3`, `talk (2).mp3` and so on."""
    yield path
    stem = without_suffix(path)
    for n in count(2):
        yield f"{stem} ({n}){path[len(stem) :]}"
