"""What is missing: recordings compared with records. Pure."""

from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from shared.jobs import Format
from shared.names import output_key
from shared.sources import Recording
from shared.transcript import Failure, Provenance

# A text beside a recording may be anybody's notes; with subtitles of the same name, a tool has transcribed it.
SUBTITLES = frozenset({"vtt", "srt"})


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
    chosen = {path: str(PurePosixPath(path).with_suffix("")) for path in paths}
    while True:
        takers: dict[str, list[str]] = {}
        for path, stem in chosen.items():
            takers.setdefault(stem.casefold(), []).append(path)
        colliding = [path for group in takers.values() if len(group) > 1 for path in group if chosen[path] != path]
        if not colliding:
            return chosen
        # A full name may in turn be another's stem (`a.mp3` beside `a.mp3.flac`), hence the loop.
        chosen.update({path: path for path in colliding})


def missing_formats(stem: str, formats: Iterable[Format], existing: Collection[str]) -> tuple[Format, ...]:
    """The formats of which no file is among the names `existing` in the folder."""
    return tuple(fmt for fmt in formats if PurePosixPath(output_key(stem, fmt)).name not in existing)
