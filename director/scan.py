"""The source compared with the store: what is finished, what failed before, what is missing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, count

import structlog

from director.backlog import Backlog, Missing
from director.diff import SUBTITLES, missing_formats, same_at_a_glance, stems
from director.renames import renamed
from shared.errors import NightscribeError
from shared.jobs import Format, Layout
from shared.media import MEDIA_SUFFIXES, OTHER_SUFFIXES, probe
from shared.names import FAILURES, PARTS, TRANSCRIPTS, output_key, suffix, with_suffix, without_suffix
from shared.records import Records
from shared.sources import Folder, Recording, RecordingSource, Unreadable
from shared.transcript import Failure, Provenance

log = structlog.get_logger()


@dataclass
class Scan:
    """What a look at source and store has shown."""

    missing: Backlog = field(default_factory=Backlog)
    n_finished: int = 0
    finished_audio_s: float = 0.0
    finished_processing_s: float = 0.0
    n_foreign: int = 0
    """Finished by another tool, and left alone."""
    other_options: int = 0
    """Finished, but with another model, task or language than is asked for now."""
    rewritten: list[str] = field(default_factory=list)
    """Text files written again from their canonical transcripts."""
    renamed: list[tuple[str, str]] = field(default_factory=list)
    being_written: list[str] = field(default_factory=list)
    failed_before: list[Failure] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def n_recordings(self) -> int:
        """Everything in the source that may be a recording."""
        others = self.being_written, self.failed_before, self.unreadable
        return len(self.missing) + self.n_finished + self.n_foreign + sum(len(other) for other in others)


class _Known:
    """What the store has for one folder of the source."""

    def __init__(self, records: Records, folder: str) -> None:
        listing = records.store.listing
        self._records = records
        self._folder = folder
        finished, self.below = listing(TRANSCRIPTS + folder)
        self.finished = set(finished)
        self.failed = set(listing(FAILURES + folder)[0])
        self.begun = set(listing(PARTS + folder)[1])
        self.existing = set(listing(folder)[0])

    def is_finished(self, name: str) -> bool:
        """Whether there is a transcript of the recording of that name, perhaps as it was before it was changed."""
        return bool(self.finished) and with_suffix(name, ".json") in self.finished

    def provenance(self, name: str) -> Provenance | None:
        """Of the finished recording of that name."""
        return self._records.provenance(self._folder + name) if self.is_finished(name) else None

    def failure(self, name: str) -> Failure | None:
        """Of the recording of that name that failed."""
        failed = self.failed and with_suffix(name, ".json") in self.failed
        return self._records.failure(self._folder + name) if failed else None

    def begun_stem(self, name: str) -> str | None:
        """Of the recording of that name whose work has begun."""
        begun = self.begun and with_suffix(name, "") in self.begun
        return self._records.begun_stem(self._folder + name) if begun else None

    def damaged(self, name: str) -> Provenance | None:
        """What is left of the transcript of the recording of that name, which is damaged."""
        return self._records.damaged(self._folder + name) if self.is_finished(name) else None

    @cached_property
    def taken(self) -> set[str]:
        """Stems of text files that are ours; perhaps of recordings that are gone and left only them."""
        keys = (TRANSCRIPTS + self._folder + name for name in self.finished)
        return {done.stem for key in keys if (done := self._records.provenance_at(key))}


@dataclass
class Scanner:
    """Looks at everything once; what it can mend without transcribing (a missing text file, a rename) it mends."""

    source: RecordingSource
    records: Records
    formats: tuple[Format, ...]
    settle_s: float
    layout: Layout = field(default_factory=Layout)
    redo: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    is_current: Callable[[Provenance], bool] = lambda _: True
    """Whether a finished transcript was made with the options asked for now."""
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def scan(self, progress: Callable[[int], None] = lambda _: None) -> Scan:
        """Look at the whole source; `progress` is told how many files were seen."""
        self._scan = Scan()
        self._orphans: list[str] = []
        self._left: list[str] = []
        n_seen = 0
        recent: list[Missing] = []
        for folder in self.source.folders():
            self._scan.unreadable.extend(folder.unreadable)
            for missing in self._missing(folder):
                (recent if self._is_recent(missing.recording) else self._scan.missing).append(missing)
            n_seen += len(folder.recordings) + len(folder.unreadable)
            progress(n_seen)
        self._wait_for(recent)
        # What cannot be looked at now is not gone: its transcript is not to be given away.
        if self._scan.missing and not self._scan.unreadable and not self.redo:
            self._follow_renames()
        return self._scan

    def _is_recent(self, recording: Recording) -> bool:
        # A time in the future is a wrong clock, not a file being written.
        return recording.mtime_ns is not None and 0 <= self.now() - recording.mtime_ns / 1e9 < self.settle_s

    def _wait_for(self, recent: list[Missing]) -> None:
        """Look at recordings changed a moment ago once more: what has been quiet meanwhile is finished being copied."""
        if not recent:
            return
        youngest_s = min(self.now() - (missing.recording.mtime_ns or 0) / 1e9 for missing in recent)
        self.sleep(max(0.0, self.settle_s - youngest_s) + 0.05)
        for missing in recent:
            try:
                unchanged = self.source.stat(missing.recording.path) == missing.recording
            except NightscribeError:
                unchanged = False
            if unchanged:
                self._scan.missing.append(missing)
            else:
                self._scan.being_written.append(missing.recording.path)

    def _missing(self, folder: Folder) -> Iterator[Missing]:
        path = folder.path
        known = _Known(self.records, path)
        names = {recording.path: recording.path[len(path) :] for recording in folder.recordings}
        if known.finished or known.below:
            self._orphans.extend(
                TRANSCRIPTS + path + name
                for name in known.finished.difference(with_suffix(name, ".json") for name in names.values())
            )
            self._left.extend(f"{TRANSCRIPTS}{path}{name}/" for name in set(known.below).difference(folder.below))
        recordings = [r for r in folder.recordings if known.is_finished(names[r.path]) or self._is_recording(r)]
        where = stems(r.path for r in recordings)
        for recording in recordings:
            try:
                stem = self._stem(recording, names[recording.path], where[recording.path], known)
            except NightscribeError as error:
                self._scan.unreadable.append(Unreadable(recording.path, str(error)))
                continue
            if stem is not None:
                yield Missing(recording, stem)

    def _stem(self, recording: Recording, name: str, usual: str, known: _Known) -> str | None:
        """Where the text files of a missing recording go; None if it is not missing, which is counted."""
        provenance = known.provenance(name)
        if provenance and self._same(recording, provenance):
            if not self.redo:
                self._finished(provenance, known.existing)
                return None
        elif not self.retry_failed and (failure := known.failure(name)) and self._same(recording, failure):
            self._scan.failed_before.append(failure)
            return None
        before = provenance or known.damaged(name)
        if before and not self._would_hit_others(before, known.existing):
            return before.stem
        stem = self._free_stem(recording.path, usual, known, begun=known.begun_stem(name))
        self._scan.n_foreign += stem is None
        return stem

    def _is_recording(self, file: Recording) -> bool:
        kind = suffix(file.path).removeprefix(".")
        if kind in MEDIA_SUFFIXES:
            return True
        if kind in OTHER_SUFFIXES or not file.size:
            return False
        try:
            with self.source.local(file.path) as path:
                return probe(path).has_audio
        except (NightscribeError, OSError) as error:
            log.debug("file.ignored", path=file.path, why=str(error))
            return False

    def _same(self, recording: Recording, record: Provenance | Failure) -> bool:
        same = same_at_a_glance(recording, record)
        return self.source.fingerprint(recording) == record.fingerprint if same is None else same

    def _finished(self, provenance: Provenance, existing: set[str]) -> None:
        self._scan.n_finished += 1
        if self.is_current(provenance):
            # Only these tell how fast this model is here.
            self._scan.finished_audio_s += provenance.decoded_s
            self._scan.finished_processing_s += provenance.processing_s
        else:
            self._scan.other_options += 1
        if lacking := missing_formats(provenance.stem, self.formats, existing):
            self._scan.rewritten.extend(output_key(provenance.stem, fmt) for fmt in lacking)
            if not self.dry_run and (transcript := self.records.transcript(provenance.recording)):
                self.records.write_texts(transcript.model_copy(update={"layout": self.layout}), lacking)

    def _free_stem(self, path: str, stem: str, known: _Known, *, begun: str | None) -> str | None:
        """Where the text files may go without touching any other; None if another tool has made all of them."""
        for candidate in chain((stem, path), (f"{path} ({n})" for n in count(2))):
            lacking = missing_formats(candidate, self.formats, known.existing)
            if len(lacking) == len(self.formats) or candidate == begun:
                return candidate
            if not lacking and set(self.formats) & SUBTITLES and candidate not in known.taken:
                return None
        raise AssertionError("there is always a free name")

    def _would_hit_others(self, provenance: Provenance, existing: set[str]) -> bool:
        """Whether a format that is asked for now, and was not then, is there all the same: so it is someone's own."""
        new = [fmt for fmt in self.formats if fmt not in provenance.formats]
        return len(missing_formats(provenance.stem, new, existing)) < len(new)

    def _follow_renames(self) -> None:
        """Give a recording that was moved or renamed the transcript it had under its old name."""
        orphans = chain(self._orphans, chain.from_iterable(map(self.records.store.walk, self._left)))
        moved = set()
        for key, at in renamed(self.source, self.records, orphans, self._scan.missing):
            if (orphan := self.records.orphan(key)) is None:
                continue
            new = self._scan.missing[at]
            path = new.recording.path
            moved.add(at)
            stem = orphan.stem if orphan.stem == without_suffix(path) else new.stem  # only its extension was changed
            self._scan.renamed.append((orphan.recording, path))
            if not self.dry_run:
                self.records.rename(orphan, path, new.recording.mtime_ns, stem, self.formats)
                log.info("recording.renamed", recording=path, before=orphan.recording)
        self._scan.n_finished += len(moved)
        if moved:
            self._scan.missing = self._scan.missing.without(moved)
