"""Bring an index up to date with the records of a destination, which alone decide what it holds."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from nightscribe.search.base import Batch, Entry, Passage, SearchIndex, Summary
from nightscribe.search.sqlite_index import SqliteIndex
from nightscribe.shared.destination.keys import FAILURES, TRANSCRIPTS
from nightscribe.shared.formats.speakers import shown_names
from nightscribe.shared.model.corrections import corrected
from nightscribe.shared.model.doubt import doubtful
from nightscribe.shared.model.failure import Failure
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


def update_failures(store: TranscriptStore, index: SqliteIndex) -> None:
    """Bring the failures in the list of recordings up to date.

    Raises: RetryableError: if the store is unreachable. IndexDamaged: if the index cannot be read.
    """
    seen = index.failed_folders()
    gone = set(seen)
    for folder in folders_of(store, FAILURES, seen):
        report_alive()
        gone.discard(folder.path)
        if folder.files is None:
            continue
        known = index.known_failures(folder.path)
        revisions = {folder.path + name: each for name, each in folder.files.items() if name.endswith(".json")}
        changed = [key for key, revision in revisions.items() if known.get(key) != revision]
        found = dict[str, tuple[str, Failure]]()
        for key, read in map_concurrently(lambda key: store.get(FAILURES + key), changed, store.max_concurrency):
            with suppress(ValidationError):
                if content := read():
                    found[key] = revisions[key], Failure.model_validate_json(content)
        if found or known.keys() - revisions.keys() or folder.state != seen.get(folder.path):
            index.put_failures(folder.path, folder.state, found, known.keys() - revisions.keys())
    for path in gone:
        index.remove_failed_folder(path)


class _Update:
    def __init__(self, store: TranscriptStore, index: SearchIndex, report_progress: Callable[[int], None]) -> None:
        self._store, self._index, self._report_progress = store, index, report_progress
        self._n_read = self._n_changed = self._n_removed = self._n_unreadable = 0
        self._batch = Batch()

    def update(self) -> Updated:
        seen = self._index.folders()
        gone, compared = set(seen), dict[str, str]()
        for folder in folders_of(self._store, TRANSCRIPTS, seen):
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
        language=transcript.options.translate_to if transcript.options.task == "translate" else transcript.language,
        recorded_at=recorded_at,
        duration_s=transcript.decoded_s,
        passages=tuple(_passages(transcript)),
        summary=Summary(
            finished_at=transcript.finished_at,
            model=transcript.options.model,
            speakers=tuple(name for name in shown_names(transcript).values()),
            flags=tuple(transcript.flags),
            n_doubtful=len(doubtful(transcript)),
            n_corrections=len(transcript.corrections),
            is_reviewed=transcript.reviewed is not None,
        ),
    )


LATEST_S = 253_402_300_000  # the year 9999, beyond which Python has no dates


def _passages(transcript: Transcript) -> Iterator[Passage]:
    names = {each.label: each.name for each in transcript.speakers if each.name}
    for each in corrected(transcript).segments:
        if text := " ".join(each.text.split()):
            yield Passage(each.start_s, each.end_s, text, names.get(each.speaker or "", each.speaker))


def folders_of(store: TranscriptStore, top: str, seen: Mapping[str, str]) -> Iterable[FolderRevisions]:
    """Yield the folders of records below `top`, with the states by which changes are noticed."""
    if isinstance(store, Revisions):
        return store.revisions(top, seen)
    return _read_all(store, top)


def _read_all(store: TranscriptStore, top: str) -> Iterator[FolderRevisions]:
    """Yield the folders of a store without revisions: the hash of each record serves as one."""
    folders: dict[str, dict[str, str]] = {"": {}}
    for key, read in map_concurrently(store.get, store.walk(top), store.max_concurrency):
        if (content := read()) is not None:
            folder, slash, name = key[len(top) :].rpartition("/")
            folders.setdefault(folder + slash, {})[name] = hashlib.sha256(content).hexdigest()
    for path, files in folders.items():
        yield FolderRevisions(path, "", files)
