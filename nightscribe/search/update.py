"""Bring an index up to date with the records of a destination, which alone decide what it holds."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from nightscribe.search.base import Batch, Entry, Passage, SearchIndex
from nightscribe.shared.destination.keys import TRANSCRIPTS
from nightscribe.shared.model.corrections import corrected
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import FolderRevisions, Revisions, TranscriptStore

log = structlog.get_logger()

BATCH_PASSAGES = 20_000
BATCH_RECORDINGS = 1_000


@dataclass(frozen=True)
class Updated:
    """What an update has changed."""

    n_changed: int = 0
    """Recordings that are new in the index, or whose records have changed."""
    n_removed: int = 0
    n_unreadable: int = 0
    """Records that are damaged or of a newer release."""


def update(
    store: TranscriptStore, index: SearchIndex, report_progress: Callable[[int], None] = lambda _: None
) -> Updated:
    """Put changed records into the index, and remove deleted ones; `report_progress` gets the number read so far.

    It can be interrupted at any moment, and several processes may do it: each batch is a transaction, and the folders
    count as compared once everything is stored.

    Raises: RetryableError: if the store is unreachable. IndexDamaged: if the index cannot be read.
    """
    return _Update(store, index, report_progress).update()


class _Update:
    def __init__(self, store: TranscriptStore, index: SearchIndex, report_progress: Callable[[int], None]) -> None:
        self._store, self._index, self._report_progress = store, index, report_progress
        self._n_read = self._n_changed = self._n_removed = self._n_unreadable = 0
        self._batch = Batch()

    def update(self) -> Updated:
        seen = self._index.folders()
        gone, compared = set(seen), dict[str, str]()
        for folder in _folders(self._store, seen):
            report_alive()
            gone.discard(folder.path)
            if folder.files is not None:
                self._compare(folder.path, folder.files)
                if folder.state != seen.get(folder.path):
                    compared[folder.path] = folder.state
        self._put()
        for path in gone:
            self._n_removed += self._index.remove_folder(path)
        # Only now, because the folders below an unchanged one are found by what is noted here.
        self._index.set_folders(compared)
        self._index.set_note("checked_at", datetime.now(UTC).isoformat())
        return Updated(self._n_changed, self._n_removed, self._n_unreadable)

    def _compare(self, folder: str, files: Mapping[str, str]) -> None:
        known = self._index.known(folder)
        revisions = {folder + name: revision for name, revision in files.items() if name.endswith(".json")}
        if removed := known.keys() - revisions.keys():
            self._index.remove(removed)
            self._n_removed += len(removed)
        changed = (key for key, revision in revisions.items() if known.get(key) != revision)
        for key, read in map_concurrently(self._read, changed, self._store.max_concurrency):
            content = read()
            self._n_read += 1
            self._report_progress(self._n_read)
            if content is None:  # deleted since it was listed; the next update notices
                continue
            if (entry := entry_of(key, revisions[key], content)) is None:
                self._n_unreadable += 1
                if key in known:  # what it said before is no longer so
                    self._index.remove([key])
                continue
            self._batch.add(entry)
            if self._batch.n_passages >= BATCH_PASSAGES or len(self._batch.entries) >= BATCH_RECORDINGS:
                self._put()

    def _read(self, key: str) -> bytes | None:
        return self._store.get(TRANSCRIPTS + key)

    def _put(self) -> None:
        report_alive()
        if self._batch.entries:
            self._n_changed += self._index.put(self._batch.entries)
        self._batch = Batch()


def entry_of(key: str, revision: str, content: bytes) -> Entry | None:
    """Return what the index holds of a record, or None if this release cannot read it."""
    try:
        transcript = Transcript.model_validate_json(content)
    except ValidationError:
        log.info("record.not_indexed", key=TRANSCRIPTS + key)
        return None
    recorded_at = (
        transcript.finished_at
        if transcript.mtime_ns is None
        else datetime.fromtimestamp(max(0, min(transcript.mtime_ns / 1e9, LATEST_S)), UTC)
    )
    return Entry(
        key=key,
        revision=revision,
        digest=hashlib.sha256(content).digest()[:16],
        recording=transcript.recording,
        stem=transcript.stem,
        language="en" if transcript.options.task == "translate" else transcript.language,
        recorded_at=recorded_at,
        duration_s=transcript.decoded_s,
        passages=tuple(_passages(transcript)),
    )


LATEST_S = 253_402_300_000  # the year 9999, beyond which Python has no dates


def _passages(transcript: Transcript) -> Iterator[Passage]:
    names = {each.label: each.name for each in transcript.speakers if each.name}
    for each in corrected(transcript).segments:
        if text := " ".join(each.text.split()):
            yield Passage(each.start_s, each.end_s, text, names.get(each.speaker or "", each.speaker))


def _folders(store: TranscriptStore, seen: Mapping[str, str]) -> Iterable[FolderRevisions]:
    if isinstance(store, Revisions):
        return store.revisions(TRANSCRIPTS, seen)
    return _read_all(store)


def _read_all(store: TranscriptStore) -> Iterator[FolderRevisions]:
    """Yield the folders of a store without revisions: the hash of each record serves as one."""
    folders: dict[str, dict[str, str]] = {"": {}}
    for key, read in map_concurrently(store.get, store.walk(TRANSCRIPTS), store.max_concurrency):
        if (content := read()) is not None:
            folder, slash, name = key[len(TRANSCRIPTS) :].rpartition("/")
            folders.setdefault(folder + slash, {})[name] = hashlib.sha256(content).hexdigest()
    for path, files in folders.items():
        yield FolderRevisions(path, "", files)
