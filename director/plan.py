"""In which jobs the missing recordings are queued. Pure."""

from collections.abc import Iterable, Iterator

from director.scan import Missing
from shared.jobs import Format, Job, Options, Slice


def longest_first(missing: Iterable[Missing]) -> list[Missing]:
    """Largest first, so that the night does not end with one worker busy; equals by name, so that plans repeat."""
    return sorted(missing, key=lambda m: (-m.recording.size, m.recording.path))


def jobs(
    missing: Iterable[Missing], options: Options, formats: tuple[Format, ...], *, redo: str | None
) -> Iterator[tuple[Missing, Job]]:
    """One job for each recording, holding it whole."""
    for each in missing:
        whole = Slice(
            recording=each.recording.path, fingerprint=each.fingerprint, size=each.recording.size, stem=each.stem
        )
        yield each, Job(slices=(whole,), options=options, formats=formats, redo=redo)
