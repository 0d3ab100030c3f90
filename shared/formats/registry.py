"""Find formats by name: the built-in ones, those of installed packages, and those registered in this process.

A format is imported only when it is used. One that cannot be imported is left out; the others work.
"""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint

from nightscribe.shared.errors import FormatError, ValueRefused
from nightscribe.shared.formats.format import Format
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.process.plugins import PluginBroken, load_plugin, plugins

GROUP = "nightscribe.formats"
_MODULES = {
    "txt": "txt",
    "vtt": "vtt",
    "srt": "srt",
    "json": "canonical_json",
    "tsv": "tsv",
    "ass": "ass",
    "lrc": "lrc",
}
BUILT_IN = {
    name: EntryPoint(name, f"nightscribe.shared.formats.{module}:FORMAT", GROUP) for name, module in _MODULES.items()
}

_loaded: dict[FormatName, Format] = {}
_unusable: dict[FormatName, str] = {}  # and why


@cache
def _installed() -> dict[FormatName, EntryPoint]:
    """Return the entry points of other packages by name; none takes the name of a built-in format."""
    return {name: entry for name, entry in plugins(GROUP).items() if name not in BUILT_IN}


def format_names() -> tuple[FormatName, ...]:
    """Return what `--formats` takes, the built-in ones first. Imports no format."""
    return tuple(dict.fromkeys((*BUILT_IN, *_installed(), *_loaded)))


def get_format(name: FormatName) -> Format | None:
    """Return the format of that name; None if there is none, or it cannot be imported."""
    if name not in _loaded and name not in _unusable:
        entry = BUILT_IN.get(name) or _installed().get(name)
        if entry:
            try:
                _loaded[name] = _load(entry)
            except PluginBroken as error:
                _unusable[name] = str(error)
            except (TypeError, ValueError) as error:
                _unusable[name] = f"{type(error).__name__}: {error}"
    return _loaded.get(name)


def _load(entry: EntryPoint) -> Format:
    found = load_plugin(entry)
    if not isinstance(found, Format):
        raise TypeError(f"{entry.value} is not a nightscribe Format")
    if found.name != entry.name:
        raise ValueError(f"its entry point is called {entry.name!r}, and the format itself {found.name!r}")
    if entry.name not in BUILT_IN:
        _require_free_suffix(found)
    return found


def _require_free_suffix(new: Format) -> None:
    """Raise `ValueError` if its files could be taken for those of another format, or for recordings."""
    from nightscribe.shared.audio.probe import MEDIA_SUFFIXES

    if new.suffix.rpartition(".")[2] in MEDIA_SUFFIXES:
        raise ValueError(f"its suffix {new.suffix} is one of recordings")
    known = [format_ for name in (*BUILT_IN, *_loaded) if (format_ := get_format(name))]
    if taken := [other.name for other in known if other.suffix == new.suffix and other.name != new.name]:
        raise ValueError(f"its suffix {new.suffix} is that of the format {taken[0]}")


def register_format(new: Format) -> None:
    """Make a format known to this process. Worker processes find formats by entry points only.

    Raises: ValueRefused: if its name is that of a built-in format, or its suffix is taken.
    """
    try:
        if new.name in BUILT_IN:
            raise ValueError("its name is that of a built-in format")  # noqa: TRY301
        _require_free_suffix(new)
    except ValueError as error:
        raise ValueRefused(f"Format {new.name!r} cannot be registered: {error}.") from None
    _loaded[new.name] = new
    _unusable.pop(new.name, None)


def check_formats(given: str | Iterable[str]) -> tuple[FormatName, ...]:
    """Return the names in a list such as `txt,srt`, each once.

    Raises: ValueRefused: if one is unknown or cannot be imported, or none is given.
    """
    listed = given.split(",") if isinstance(given, str) else given
    names = tuple(dict.fromkeys(name.strip().lower().removeprefix(".") for name in listed if name.strip()))
    for name in names:
        if not get_format(name):
            if name in _unusable:
                raise ValueRefused(
                    f"Format {name!r} cannot be used ({_unusable[name]}). Repair the package that brings it, or leave "
                    "the format out."
                )
            raise ValueRefused(f"Unknown format {name!r}. There are: {_listing()}")
    if not names:
        raise ValueRefused(f"No format is asked for. Give some of: {_listing()}")
    return names


def _listing() -> str:
    """Say which formats there are, and why one that is installed cannot be used."""
    usable = [name for name in format_names() if get_format(name)]
    broken = [f"{name} ({why})" for name, why in _unusable.items()]
    return ", ".join(usable) + "." + (f" Installed but not usable: {'; '.join(broken)}." if broken else "")


def render(transcript: Transcript, name: FormatName) -> bytes:
    """Return the content of a transcript's file in one format.

    Raises: FormatError: if this installation does not have the format, or it fails.
    """
    if not (format_ := get_format(name)):
        why = f" ({_unusable[name]})" if name in _unusable else ""
        raise FormatError(f"The format {name!r} is not installed here{why}: install it, or ask for other formats.")
    try:
        return format_.render(transcript)
    except MemoryError:
        raise
    except Exception as error:
        raise FormatError(
            f"The format {name!r} could not write this transcript ({type(error).__name__}: {error})."
        ) from error


def is_same(content: bytes, transcript: Transcript, name: FormatName) -> bool:
    """Return whether a file says what the transcript does; False where that cannot be known, so that it is kept."""
    format_ = get_format(name)
    try:
        return format_ is not None and format_.is_same(content, transcript)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  a damaged file of a binary format may fail in any way
        return False


def suffix_of(name: FormatName) -> str:
    """Return how the files of a format end; of one that is not installed here, what it most likely is."""
    format_ = get_format(name)
    return format_.suffix if format_ else f".{name}"


def is_subtitle(name: FormatName) -> bool:
    """Return whether players show files of this format in time with the sound."""
    format_ = get_format(name)
    return format_ is not None and format_.is_subtitle


def content_type_of(file_name: str) -> str | None:
    """Return the media type of a text file; None if no built-in format and none used so far has its suffix."""
    known = (get_format(name) for name in (*BUILT_IN, *_loaded))
    found = [format_ for format_ in known if format_ and file_name.endswith(format_.suffix)]
    return max(found, key=lambda format_: len(format_.suffix)).content_type if found else None
