"""Choose the stems of a recording's text files. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import cache
from itertools import chain, count

from nightscribe.shared.destination.keys import output_key
from nightscribe.shared.formats.registry import BUILT_IN, is_subtitle, suffix_of
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.paths import without_suffix


def stems(paths: Iterable[str]) -> dict[str, str]:
    """Return the stem of each recording's text files for one folder: its path without extension, if that is unique.

    Recordings that differ only in their extension (or, for file systems that ignore it, in their case) all use
    their full names, so that no name depends on which recording was there first. So does `talk.whisper.mp3`, whose
    `talk.whisper.json` could be another format of `talk.mp3`.
    """
    chosen = {path: without_suffix(path) for path in paths}
    inner = _inner_suffixes()
    chosen.update((path, path) for path, stem in chosen.items() if stem.casefold().endswith(inner))
    while True:
        takers = Counter(map(str.casefold, chosen.values()))
        if len(takers) == len(chosen):
            return chosen
        # A full name may in turn be another's stem (`a.mp3` beside `a.mp3.flac`), hence the loop.
        colliding = [path for path, stem in chosen.items() if stem != path and takers[stem.casefold()] > 1]
        if not colliding:
            return chosen
        chosen.update(zip(colliding, colliding, strict=True))


@cache
def _inner_suffixes() -> tuple[str, ...]:
    """Return what precedes the last extension in the suffixes of formats, such as `.whisper`."""
    return tuple(inner for fmt in BUILT_IN if (inner := suffix_of(fmt).rpartition(".")[0]))


def missing_formats(stem: str, formats: Iterable[FormatName], existing: Collection[str]) -> tuple[FormatName, ...]:
    """Return the formats that have no file yet; `existing` holds the names in the folder."""
    if not existing:
        return tuple(formats)
    name = stem.rpartition("/")[2]
    return tuple(fmt for fmt in formats if output_key(name, fmt) not in existing)


def free_stem(
    path: str,
    usual: str,
    formats: Collection[FormatName],
    existing: Collection[str],
    *,
    claimed: str | None,
    is_ours: Callable[[str], bool],
) -> str | None:
    """Return the first stem that would not overwrite a file of another program.

    Args:
        path: the recording's path, which is the second choice.
        usual: the first choice, see `stems`.
        existing: names in the folder of the text files.
        claimed: the stem at which an unfinished attempt may have left text files of ours.
        is_ours: whether the text files of a stem belong to a transcript of ours; called only where all exist.
    Returns: None if another tool has made all formats, subtitles among them.
    """
    for candidate in chain((usual, path), (f"{path} ({n})" for n in count(2))):
        lacking = missing_formats(candidate, formats, existing)
        if len(lacking) == len(formats) or candidate == claimed:
            return candidate
        # A text alone may be a person's notes; with subtitles of the same name, a tool has transcribed the recording.
        if not lacking and any(map(is_subtitle, formats)) and not is_ours(candidate):
            return None
    raise AssertionError("there is always a free name")
