"""The source compared with the store: what is finished, what failed before, what is missing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count, groupby
from pathlib import PurePosixPath

import structlog

from director.diff import SUBTITLES, missing_formats, same_at_a_glance, stems
from shared.errors import NightscribeError
from shared.jobs import Format
from shared.media import MEDIA_SUFFIXES, OTHER_SUFFIXES, probe
from shared.names import FAILURES, TRANSCRIPTS, failure_key, output_key, transcript_key
from shared.records import Records
from shared.sources import Recording, RecordingSource, Unreadable
from shared.transcript import Failure, Provenance

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Missing:
    """A recording that is to be transcribed."""

    recording: Recording
    fingerprint: str
    stem: str


@dataclass
class Scan:
    """What a look at source and store has shown."""

    missing: list[Missing] = field(default_factory=list)
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


@dataclass
class Scanner:
    """Looks at everything once; what it can mend without transcribing (a missing text file, a rename) it mends."""

    source: RecordingSource
    records: Records
    formats: tuple[Format, ...]
    settle_s: float
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
        self._seen: set[str] = set()
        n_seen = 0
        recent: list[Missing] = []
        for folder, found in groupby(self.source.list(), key=lambda item: str(PurePosixPath(item.path).parent)):
            items = list(found)
            self._scan.unreadable.extend(item for item in items if isinstance(item, Unreadable))
            recordings = [item for item in items if isinstance(item, Recording)]
            for missing in self._folder("" if folder == "." else folder + "/", recordings):
                (recent if self._is_recent(missing.recording) else self._scan.missing).append(missing)
            n_seen += len(items)
            progress(n_seen)
        self._wait_for(recent)
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

    def _folder(self, folder: str, files: list[Recording]) -> Iterator[Missing]:
        names = self.records.store.names
        finished = {TRANSCRIPTS + folder + name for name in names(TRANSCRIPTS + folder)}
        failed = {FAILURES + folder + name for name in names(FAILURES + folder)}
        existing = set(names(folder))
        recordings = [r for r in files if transcript_key(r.path) in finished or self._is_recording(r)]
        free_stem = partial(self._free_stem, existing=existing, finished=finished)
        where = stems(r.path for r in recordings)
        for recording in recordings:
            self._seen.add(transcript_key(recording.path))
            try:
                provenance = (
                    self.records.provenance(recording.path) if transcript_key(recording.path) in finished else None
                )
                if provenance and self._same(recording, provenance):
                    if not self.redo:
                        self._finished(provenance, existing)
                        continue
                else:
                    failure = self.records.failure(recording.path) if failure_key(recording.path) in failed else None
                    if failure and not self.retry_failed and self._same(recording, failure):
                        self._scan.failed_before.append(failure)
                        continue
                if provenance and not self._would_hit_others(provenance, existing):
                    stem: str | None = provenance.stem
                else:
                    stem = free_stem(recording.path, where[recording.path])
                if stem is None:
                    self._scan.n_foreign += 1
                    continue
                yield Missing(recording, self.source.fingerprint(recording), stem)
            except NightscribeError as error:
                self._scan.unreadable.append(Unreadable(recording.path, str(error)))

    def _is_recording(self, file: Recording) -> bool:
        suffix = PurePosixPath(file.path).suffix.lower().removeprefix(".")
        if suffix in MEDIA_SUFFIXES:
            return True
        if suffix in OTHER_SUFFIXES or not file.size:
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
                self.records.write_texts(transcript, lacking)

    def _free_stem(self, path: str, stem: str, *, existing: set[str], finished: set[str]) -> str | None:
        """Where the text files may go without touching any other; None if another tool has made all of them."""
        begun = self.records.begun_stem(path)
        for candidate in chain((stem, path), (f"{path} ({n})" for n in count(2))):
            lacking = missing_formats(candidate, self.formats, existing)
            if len(lacking) == len(self.formats) or candidate == begun:
                return candidate
            if not lacking and set(self.formats) & SUBTITLES and not self._is_taken(candidate, finished):
                return None
        raise AssertionError("there is always a free name")

    def _would_hit_others(self, provenance: Provenance, existing: set[str]) -> bool:
        """Whether a format that is asked for now, and was not then, is there all the same: so it is someone's own."""
        new = [fmt for fmt in self.formats if fmt not in provenance.formats]
        return len(missing_formats(provenance.stem, new, existing)) < len(new)

    def _is_taken(self, stem: str, finished: set[str]) -> bool:
        """Whether text files are ours, of another recording; perhaps of one that is gone and left only them."""
        return any(other.stem == stem for key in finished if (other := self.records.provenance_at(key)))

    def _follow_renames(self) -> None:
        """Give a recording that was moved or renamed the transcript it had under its old name."""
        candidates = {m.fingerprint: m for m in self._scan.missing} if not self.redo else {}
        # What cannot be looked at now is not gone: its transcript is not to be given away.
        if not candidates or self._scan.unreadable:
            return
        moved = set()
        for key in self.records.store.walk(TRANSCRIPTS):
            if key in self._seen or (orphan := self.records.orphan(key)) is None:
                continue
            new = candidates.get(orphan.fingerprint)
            if new is None or new.recording.path in moved:
                continue
            moved.add(new.recording.path)
            usual = str(PurePosixPath(new.recording.path).with_suffix(""))
            stem = orphan.stem if orphan.stem == usual else new.stem  # only its extension was changed
            self._scan.renamed.append((orphan.recording, new.recording.path))
            if not self.dry_run:
                self.records.rename(orphan, new.recording.path, new.recording.mtime_ns, stem, self.formats)
                log.info("recording.renamed", recording=new.recording.path, before=orphan.recording)
        self._scan.n_finished += len(moved)
        self._scan.missing = [m for m in self._scan.missing if m.recording.path not in moved]
