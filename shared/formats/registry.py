"""Find formats by name: the built-in ones, those of installed packages, and those registered in this process.

A format is imported only when it is used. One that cannot be imported does not affect the others.
"""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint

from nightscribe.shared.errors import ExtraMissing, FormatError, ValueRefused
from nightscribe.shared.formats.format import Format
from nightscribe.shared.model.corrections import corrected
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
    "rttm": "rttm",
    "paragraphs": "paragraphs",
    "md": "markdown",
    "html": "html_file",
    "docx": "docx_file",
    "pdf": "pdf_file",
    "whisper-json": "whisper_json",
}
BUILT_IN = {
    name: EntryPoint(name, f"nightscribe.shared.formats.{module}:FORMAT", GROUP) for name, module in _MODULES.items()
}

_loaded: dict[FormatName, Format] = {}
_unusable: dict[FormatName, str] = {}  # why each format cannot be used, by name


@cache
def _installed() -> dict[FormatName, EntryPoint]:
    """Return the entry points of other packages by name, except those named like a built-in format."""
    return {name: entry for name, entry in plugins(GROUP).items() if name not in BUILT_IN}


def format_names() -> tuple[FormatName, ...]:
    """Return the names that `--formats` accepts, built-in ones first, without importing a format."""
    return tuple(dict.fromkeys((*BUILT_IN, *_installed(), *_loaded)))


def get_format(name: FormatName) -> Format | None:
    """Return the format with this name, or None if it does not exist or cannot be imported."""
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
    """Raise `ValueError` if the format's files could be mistaken for another format's, or for recordings."""
    from nightscribe.shared.audio.probe import MEDIA_SUFFIXES

    if new.suffix.rpartition(".")[2] in MEDIA_SUFFIXES:
        raise ValueError(f"its suffix {new.suffix} belongs to recordings")
    known = [format_ for name in (*BUILT_IN, *_loaded) if (format_ := get_format(name))]
    if taken := [other.name for other in known if other.suffix == new.suffix and other.name != new.name]:
        raise ValueError(f"its suffix {new.suffix} belongs to the format {taken[0]}")


def register_format(new: Format) -> None:
    """Register a format in this process; worker processes find formats only through entry points.

    Raises: ValueRefused: if a built-in format has the same name, or another format the same suffix.
    """
    try:
        if new.name in BUILT_IN:
            raise ValueError("a built-in format has its name")  # noqa: TRY301
        _require_free_suffix(new)
    except ValueError as error:
        raise ValueRefused(f"Format {new.name!r} cannot be registered: {error}.") from None
    _loaded[new.name] = new
    _unusable.pop(new.name, None)


def check_formats(given: str | Iterable[str]) -> tuple[FormatName, ...]:
    """Return the names in a list such as `txt,srt`, each once.

    Raises: ValueRefused: if one is unknown, cannot be imported or lacks a package, or none is given. ExtraMissing: if
        the packages that one lacks are an extra of nightscribe.
    """
    listed = given.split(",") if isinstance(given, str) else given
    names = tuple(dict.fromkeys(name.strip().lower().removeprefix(".") for name in listed if name.strip()))
    for name in names:
        if found := get_format(name):
            if found.lacking and found.extra:
                raise ExtraMissing(f"The format {name!r} needs packages that are not installed.", found.extra)
            if found.lacking:
                raise ValueRefused(found.lacking)
        else:
            if name in _unusable:
                raise ValueRefused(
                    f"Format {name!r} cannot be used ({_unusable[name]}). Repair the package that provides it, or "
                    "leave the format out."
                )
            raise ValueRefused(f"Unknown format {name!r}. Choose from: {_listing()}")
    if not names:
        raise ValueRefused(f"No format is given. Choose from: {_listing()}")
    return names


def _listing() -> str:
    """Return a sentence that lists the formats, and why an installed one cannot be used."""
    usable = [name for name in format_names() if get_format(name)]
    broken = [f"{name} ({why})" for name, why in _unusable.items()]
    return ", ".join(usable) + "." + (f" Installed but not usable: {'; '.join(broken)}." if broken else "")


def render(transcript: Transcript, name: FormatName) -> bytes:
    """Return the content of a transcript's file in one format, with its corrections.

    Raises: FormatError: if the format is not installed here, or fails.
    """
    if not (format_ := get_format(name)):
        why = f" ({_unusable[name]})" if name in _unusable else ""
        raise FormatError(f"The format {name!r} is not installed here{why}. Install it, or choose other formats.")
    if format_.lacking:
        raise FormatError(format_.lacking)
    try:
        return format_.render(corrected(transcript))
    except (FormatError, MemoryError):
        raise
    except Exception as error:
        raise FormatError(
            f"The format {name!r} could not write this transcript ({type(error).__name__}: {error})."
        ) from error


def is_same(content: bytes, transcript: Transcript, name: FormatName) -> bool:
    """Return whether a file says what the transcript does; False if that is unknown, so that the file is kept."""
    format_ = get_format(name)
    try:
        return format_ is not None and format_.is_same(content, corrected(transcript))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  a damaged file of a binary format may fail in any way
        return False


def suffix_of(name: FormatName) -> str:
    """Return the suffix of a format's files, or the likely one if the format is not installed here."""
    format_ = get_format(name)
    return format_.suffix if format_ else f".{name}"


def is_subtitle(name: FormatName) -> bool:
    """Return whether players show files of this format in time with the sound."""
    format_ = get_format(name)
    return format_ is not None and format_.is_subtitle


def content_type_of(file_name: str) -> str | None:
    """Return the media type of a text file, or None if no built-in or loaded format has its suffix."""
    known = (get_format(name) for name in (*BUILT_IN, *_loaded))
    found = [format_ for format_ in known if format_ and file_name.endswith(format_.suffix)]
    return max(found, key=lambda format_: len(format_.suffix)).content_type if found else None
