"""What is missing: recordings compared with records. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable

from nightscribe.shared.destination.keys import output_key
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.paths import without_suffix
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import Failure, Provenance


def same_at_a_glance(recording: Recording, record: Provenance | Failure) -> bool | None:
    """Whether a record is of the recording as it is now; None where only its fingerprint can tell."""
    if recording.size != record.size:
        return False
    if recording.mtime_ns is not None and recording.mtime_ns == record.mtime_ns:
        return True
    return None


def stems(paths: Iterable[str]) -> dict[str, str]:
    """Where the text files of each recording of one folder go: its path without extension, if no two agree on that.

    Recordings that differ only in their extension (or, for file systems that do not see it, in their case) get their
    full names, every one of them, so that none depends on which was there first.
    """
    chosen = {path: without_suffix(path) for path in paths}
    while True:
        takers = Counter(map(str.casefold, chosen.values()))
        if len(takers) == len(chosen):
            return chosen
        # A full name may in turn be another's stem (`a.mp3` beside `a.mp3.flac`), hence the loop.
        colliding = [path for path, stem in chosen.items() if stem != path and takers[stem.casefold()] > 1]
        if not colliding:
            return chosen
        chosen.update(zip(colliding, colliding, strict=True))


def missing_formats(stem: str, formats: Iterable[FormatName], existing: Collection[str]) -> tuple[FormatName, ...]:
    """The formats of which no file is among the names `existing` in the folder."""
    if not existing:
        return tuple(formats)
    name = stem.rpartition("/")[2]
    return tuple(fmt for fmt in formats if output_key(name, fmt) not in existing)
