"""Which transcripts without a recording belong to recordings without a transcript."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from director.backlog import Backlog
from shared.abreast import abreast
from shared.errors import NightscribeError
from shared.records import Records
from shared.sources import RecordingSource


def renamed(
    source: RecordingSource, records: Records, orphans: Iterable[str], missing: Backlog
) -> Iterator[tuple[str, int]]:
    """Keys of `orphans` with where in `missing` their recordings stand. Reads only what has the size of an orphan."""
    keys: dict[str, str] = {}
    sizes: set[int] = set()
    for key, look in abreast(records.provenance_at, orphans, records.store.at_once):
        if orphan := look():
            keys.setdefault(orphan.fingerprint, key)
            sizes.add(orphan.size)
    for at, (_, size) in enumerate(missing.sized()):
        if size in sizes:
            with suppress(NightscribeError):  # what is gone meanwhile is nobody's
                fingerprint = source.fingerprint(missing[at].recording)
                if fingerprint in keys:
                    yield keys.pop(fingerprint), at
