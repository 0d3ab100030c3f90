"""Find storage by the scheme of a URL; an address without a scheme is a folder.

Storage comes from the table below, from `register_storage`, or from an installed package with an entry point in the
group `nightscribe.storages`: its name is the scheme, and it refers to a function that makes a `Location` from a user's
argument. Nothing is imported before a user names that scheme. See docs/adding-a-storage.md.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import cast

from nightscribe.shared.errors import NightscribeError, SetupError, ValueRefused
from nightscribe.shared.process.plugins import PluginBroken, load_plugin, package_of, plugins
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.table.location import TableLocation, is_table

ENTRY_POINTS = "nightscribe.storages"
Parse = Callable[[str], Location]
"""A function that makes a place from a user's argument. Raises: SetupError: if the argument is not valid."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_FOLDER = EntryPoint("folder", "nightscribe.shared.storage.folder.location:FolderLocation.parse", ENTRY_POINTS)
_BUILT_IN = {
    "s3": EntryPoint("s3", "nightscribe.shared.storage.s3.location:BucketLocation.parse", ENTRY_POINTS),
}
_registered: dict[str, Parse] = {}


@dataclass(frozen=True)
class Storage:
    """A kind of storage that users can name."""

    scheme: str
    provider: str
    """Distribution that provides it."""
    problem: str | None = None
    """Why it cannot be used, in one plain sentence."""


def register_storage(scheme: str, parse: Parse) -> None:
    """Register a storage in this process; child processes find storages only through entry points.

    Raises: ValueRefused: if `scheme` is not valid or is already taken.
    """
    if not _SCHEME.fullmatch(scheme):
        raise ValueRefused(f"{scheme!r} is not a URL scheme; use lower-case letters, digits, '+', '.' or '-'.")
    if scheme in _BUILT_IN or _registered.get(scheme, parse) is not parse:
        raise ValueRefused(f"There is another storage for {scheme}://. Choose another scheme.")
    _registered[scheme] = parse


def parse_location(text: str) -> Location:
    """Return the place that a user names. Raises: SetupError: if no storage is known for it."""
    if not text:
        raise SetupError("An empty argument names no folder; perhaps a variable is not set. Use a dot for this folder.")
    scheme, colon, rest = text.partition(":/")
    if colon and (parse := _parser(scheme.casefold())):
        return _table(text, "/") if is_table(text) else parse(text)
    if colon and rest.startswith("/"):
        raise SetupError(_unknown(text))
    place = _parse_of(_FOLDER)(text)
    return _table(text, "/") if is_table(text) and place.local_path and place.local_path.is_file() else place


def _table(text: str, slash: str) -> Location:
    place, _, name = text.rpartition(slash)
    return TableLocation(parse_location(place or (slash if text.startswith(slash) else ".")), name)


def storages() -> list[Storage]:
    """Return every storage with a scheme, sorted by scheme, including those that cannot be used."""
    found = {scheme: Storage(scheme, "nightscribe") for scheme in _BUILT_IN}
    found |= {scheme: Storage(scheme, parse.__module__.partition(".")[0]) for scheme, parse in _registered.items()}
    for scheme, entry in plugins(ENTRY_POINTS).items():
        found.setdefault(scheme, Storage(scheme, package_of(entry), _problem(entry)))
    return [found[scheme] for scheme in sorted(found)]


def _parser(scheme: str) -> Parse | None:
    if entry := _BUILT_IN.get(scheme):  # avoids searching every installed package
        return _parse_of(entry)
    if parse := _registered.get(scheme):
        return parse
    return _parse_of(entry) if (entry := plugins(ENTRY_POINTS).get(scheme)) else None


def _parse_of(entry: EntryPoint) -> Parse:
    try:
        return cast("Parse", load_plugin(entry))
    except PluginBroken as error:
        raise SetupError(
            f"The storage for {entry.name}://, from the package {package_of(entry)}, cannot be loaded ({error}). "
            "Update or uninstall that package."
        ) from error


def _problem(entry: EntryPoint) -> str | None:
    try:
        _parse_of(entry)
    except NightscribeError as error:
        return str(error)
    return None


def _unknown(text: str) -> str:
    others = [each for each in storages() if each.scheme not in _BUILT_IN]
    usable = "".join(f", {each.scheme}://…" for each in others if not each.problem)
    problems = "".join(f" {each.problem}" for each in others if each.problem)
    return f"{text!r} is not a place that nightscribe knows; give a folder, s3://bucket/prefix{usable}.{problems}"
