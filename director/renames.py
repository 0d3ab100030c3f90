"""Which transcripts without a recording belong to recordings without a transcript."""

from collections.abc import Iterable, Iterator

from director.backlog import Backlog
from shared.abreast import abreast
from shared.buckets.bucket import Denied
from shared.errors import NightscribeError, PermanentError
from shared.pulse import beat
from shared.records import Records
from shared.sources import RecordingSource


def renamed(
    source: RecordingSource, records: Records, orphans: Iterable[str], missing: Backlog
) -> Iterator[tuple[str, int]]:
    """Keys of `orphans` with where in `missing` their recordings stand. Reads only what has the size of an orphan."""
    keys: dict[str, str] = {}
    sizes: set[int] = set()
    for key, look in abreast(records.provenance_at, orphans, records.store.at_once):
        beat()
        if orphan := look():
            keys.setdefault(orphan.fingerprint, key)
            sizes.add(orphan.size)
    for at, (_, size) in enumerate(missing.sized()):
        if size in sizes:
            beat()
            try:
                fingerprint = source.fingerprint(missing[at].recording)
            except (PermanentError, Denied):  # what is gone meanwhile is nobody's
                continue
            except NightscribeError:
                if source.at_once > 1:  # a bucket that is away was waited for a minute, and so would each of the others
                    raise
                continue
            if fingerprint in keys:
                yield keys.pop(fingerprint), at
