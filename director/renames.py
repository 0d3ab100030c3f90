"""Which transcripts without a recording belong to recordings without a transcript, and what a move of one has left."""

from collections.abc import Iterable, Iterator

import structlog

from director.backlog import Backlog
from shared.abreast import abreast
from shared.buckets.bucket import Denied
from shared.errors import NightscribeError, PermanentError
from shared.pulse import beat
from shared.records import Records
from shared.sources import RecordingSource

log = structlog.get_logger()


def end_renames(source: RecordingSource, records: Records, recordings: Iterable[str]) -> None:
    """Finish what a director did that was killed, where these recordings got their transcripts from other names."""
    for recording, look in abreast(records.renamed_from, recordings, records.store.at_once):
        beat()
        if (before := look()) is None:  # work of another kind
            continue
        try:
            source.stat(before)
            is_gone = False
        except PermanentError:
            is_gone = True
        except NightscribeError:  # the next run may know
            continue
        records.end_rename(recording, is_gone=is_gone)
        log.info("recording.renamed", recording=recording, before=before)


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
