"""Find out what the words of `nightscribe run SOURCE… [DEST]` mean: folders, files, names from a pipe, addresses."""

import mimetypes
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightscribe.shared.errors import SetupError
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.folder.chosen import ChosenLocation
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.registry import parse_location

PIPE = "-"
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class Sources:
    """What is to be transcribed, and where to."""

    source: Location
    dest: Location
    addresses: tuple[str, ...] = ()
    """Addresses whose recordings are to be downloaded into the source first."""


def resolve(words: Sequence[str], dest: str = "", *, names: Callable[[], str] = str) -> Sources:
    """Return the source and the destination that these words name.

    The last word is DEST unless it is a file or the only word; without DEST, texts are put beside the recordings.
    Args: dest: the destination if the words do not name it, "" for none. names: reads what the pipe holds, for `-`.
    Raises: SetupError: if the words contradict each other, or something does not exist.
    """
    words = list(words)
    if not all(words):
        raise SetupError("An empty argument names no folder; perhaps a variable is not set. Use a dot for this folder.")
    piped = _lines(names()) if PIPE in words else []
    if len(words) > 1 and not _is_recording(words[-1], others=words[:-1]):
        dest = words.pop()
    given = [each for word in words for each in (piped if word == PIPE else [word])]
    if not given:
        raise SetupError("The pipe holds no names; give one path or address on each line.")
    addresses = tuple(each for each in given if _ADDRESS.match(each))
    if not addresses:
        source = _place(given)
        return Sources(source, parse_location(dest) if dest else source.root)
    if len(addresses) < len(given):
        other = next(each for each in given if each not in addresses)
        raise SetupError(f"{other!r} is no address, and {addresses[0]!r} is one. Transcribe them by two commands.")
    if not dest:
        raise SetupError("Give DEST after the addresses: the folder for the recordings and their transcripts.")
    place = parse_location(dest)
    if place.local_path is None:
        raise SetupError(f"DEST {dest!r} is no folder of this machine; recordings are downloaded to a folder.")
    return Sources(place, place, addresses)


def _lines(text: str) -> list[str]:
    """Return the names in the output of a program such as `find`, also of `find -print0`."""
    return [line for line in (text.split("\0") if "\0" in text else text.splitlines()) if line.strip()]


def _is_recording(word: str, others: Sequence[str]) -> bool:
    """Return whether the last word is one more source, and not DEST.

    The name of a recording that does not exist is one, too, because nobody names a new folder so.
    """
    if word == PIPE or _ADDRESS.match(word):
        return True
    if "://" in word:
        return False
    looks_so = (mimetypes.guess_type(word)[0] or "").startswith(("audio/", "video/"))
    return not os.path.isdir(word) and (looks_so or (_is_file(word) and all(map(_is_file, others))))  # noqa: PTH112


def _is_file(word: str) -> bool:
    return os.path.isfile(word)  # noqa: PTH113  unlike Path, it raises nothing


def _place(given: Iterable[str]) -> Location:
    """Return one folder or bucket as it is, and anything else as a choice below the folder that holds all of it."""
    given = list(given)
    if len(given) == 1 and not _is_file(given[0]):
        return parse_location(given[0])
    if len(given) == 1 and (table := parse_location(given[0])).local_path is None:
        return table  # such as a table, which is a file as well
    paths = []
    for each in given:
        if "://" in each:
            raise SetupError(f"{each!r} cannot be combined with other sources; transcribe it by a command of its own.")
        path = Path(os.path.abspath(each))  # noqa: PTH100  resolving links would put texts beside their targets
        if not os.path.exists(path):  # noqa: PTH110  unlike Path, it raises nothing
            raise SetupError(f"SOURCE {each!r} does not exist; give a recording or a folder with recordings.")
        paths.append(path)
    root = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths]))
    names = [path.relative_to(root).as_posix() + ("/" if path.is_dir() else "") for path in paths]
    if "./" in names:  # one of the folders holds all the others
        return FolderLocation(root)
    return ChosenLocation(FolderLocation(root), tuple(dict.fromkeys(names)))
