"""Leave recordings alone that always fail, so that a clean night ends with exit code 0."""

from collections.abc import Sequence
from dataclasses import dataclass

from nightscribe.shared.destination.ignored import Ignored, is_meant
from nightscribe.shared.destination.records import Records
from nightscribe.shared.storage.base import Location, StorageOptions


@dataclass(frozen=True)
class Ignoring:
    """What is ignored in a destination, and what was changed."""

    patterns: tuple[str, ...]
    n_failures: int = 0
    """Failures that are no longer listed."""
    unknown: tuple[str, ...] = ()
    """Patterns to be taken back that were not there."""


def ignore(dest: Location, patterns: Sequence[str], *, undo: bool, options: StorageOptions) -> Ignoring:
    """Ignore recordings from now on and remove their failures, or with `undo` transcribe them again from now on."""
    store = dest.open_store(options)
    records, ignored = Records(store), Ignored(store)
    if undo:
        unknown = tuple(each for each in patterns if each not in ignored.patterns)
        ignored.remove(patterns)
        return Ignoring(ignored.patterns, unknown=unknown)
    if not patterns:
        return Ignoring(ignored.patterns)
    ignored.add(patterns)
    failed = [each.recording for each in records.failures()]
    meant = [each for each in failed if any(is_meant(each, pattern) for pattern in patterns)]
    for recording in meant:
        records.forgive(recording)
    return Ignoring(ignored.patterns, n_failures=len(meant))
