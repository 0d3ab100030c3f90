"""Which transcripts without a recording belong to recordings without a transcript, and what a move of one has left."""

from collections.abc import Callable, Iterable, Iterator

import structlog

from nightscribe.director.backlog import Backlog
from nightscribe.director.outage import is_everywhere
from nightscribe.shared.destination.keys import transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError, PermanentError
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import RecordingSource

log = structlog.get_logger()


def end_renames(
    source: RecordingSource, records: Records, recordings: Iterable[str], may_be_there: Callable[[str], bool]
) -> None:
    """Finish what a director did that was killed, where these recordings got their transcripts from other names.

    `may_be_there`: whether the recording of a transcript's key may be where nobody can look now; the next run may know.
    """
    for recording, look in map_concurrently(records.renamed_from, recordings, records.store.max_concurrency):
        report_alive()
        try:
            before = look()
            if before is None or may_be_there(transcript_key(before)):  # work of another kind
                continue
            records.end_rename(recording, before, is_gone=_is_gone(source, before))
            log.info("recording.renamed", recording=recording, before=before)
        except NightscribeError as error:
            if is_everywhere(error, max(source.max_concurrency, records.store.max_concurrency)):
                raise
            log.warning("rename.unfinished", recording=recording, why=str(error))


def _is_gone(source: RecordingSource, recording: str) -> bool:
    try:
        source.stat(recording)
    except PermanentError:
        return True
    return False


def renamed(
    source: RecordingSource, records: Records, orphans: Iterable[str], missing: Backlog
) -> Iterator[tuple[str, int]]:
    """Keys of `orphans` with where in `missing` their recordings stand. Reads only what has the size of an orphan."""
    keys: dict[str, str] = {}
    sizes: set[int] = set()
    for key, look in map_concurrently(records.provenance_at, orphans, records.store.max_concurrency):
        report_alive()
        if orphan := look():  # a share that does not answer now ends the look: what moved must not be done again
            keys.setdefault(orphan.fingerprint, key)
            sizes.add(orphan.size)
    for at, (_, size) in enumerate(missing.sized()):
        if size in sizes:
            report_alive()
            try:
                fingerprint = source.fingerprint(missing[at].recording)
            except PermanentError:  # what is gone meanwhile is nobody's
                continue
            except NightscribeError as error:
                if is_everywhere(error, source.max_concurrency):
                    raise
                continue
            if fingerprint in keys:
                yield keys.pop(fingerprint), at
