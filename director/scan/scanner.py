"""The source compared with the store: what is finished, what failed before, what is missing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, count

import structlog

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.outage import is_everywhere
from nightscribe.director.scan.classify import missing_formats, same_at_a_glance, stems
from nightscribe.director.scan.renames import end_renames, renamed
from nightscribe.shared.audio.probe import MEDIA_SUFFIXES, OTHER_SUFFIXES, probe
from nightscribe.shared.destination.keys import FAILURES, PARTS, TRANSCRIPTS, output_key, transcript_key, with_suffix
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import AudioError, NightscribeError
from nightscribe.shared.formats.registry import is_subtitle, suffix_of
from nightscribe.shared.model.jobs import FormatName, Layout
from nightscribe.shared.model.paths import suffix, without_suffix
from nightscribe.shared.model.recording import Folder, Recording, Unreadable
from nightscribe.shared.model.transcript import Failure, Provenance
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import RecordingSource

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
        return sum(self.states().values())

    def states(self) -> dict[str, int]:
        """How many of them are in which state."""
        return {
            "missing": len(self.missing),
            "finished": self.n_finished,
            "foreign": self.n_foreign,
            "being_written": len(self.being_written),
            "failed": len(self.failed_before),
            "unreadable": len(self.unreadable),
        }


class _Trees:
    """Folders at the top of what the store has of failures and of parts: mostly few, and none has to be asked for."""

    def __init__(self, records: Records) -> None:
        self._listing = records.store.listing
        self._tops = {tree: self._listing(tree) for tree in (FAILURES, PARTS)}

    def listing(self, tree: str, folder: str) -> tuple[list[str], list[str]]:
        """As the store's."""
        top = self._tops[tree]
        if not folder:
            return top
        return self._listing(tree + folder) if folder.partition("/")[0] in top[1] else ([], [])


class _Known:
    """What the store has for one folder of the source."""

    def __init__(self, records: Records, folder: str, trees: _Trees) -> None:
        listing = records.store.listing
        self._records = records
        self._folder = folder
        finished, self.below = listing(TRANSCRIPTS + folder)
        self.finished = set(finished)
        self.failed = set(trees.listing(FAILURES, folder)[0])
        self.begun = set(trees.listing(PARTS, folder)[1])
        self.existing = set(listing(folder)[0])

    def name(self, recording: Recording) -> str:
        """Of a recording in this folder."""
        return recording.path[len(self._folder) :]

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

    def is_begun(self, name: str) -> bool:
        """Whether work on the recording of that name has begun and not ended."""
        return bool(self.begun) and with_suffix(name, "") in self.begun

    def begun_stem(self, name: str) -> str | None:
        """Of the recording of that name whose work has begun."""
        return self._records.partial_results.claimed_stem(self._folder + name) if self.is_begun(name) else None

    def damaged(self, name: str) -> Provenance | None:
        """What is left of the transcript of the recording of that name, which is damaged."""
        return self._records.damaged(self._folder + name) if self.is_finished(name) else None

    @cached_property
    def taken(self) -> set[str]:
        """Stems of text files that are ours; perhaps of recordings that are gone and left only them."""
        keys = (TRANSCRIPTS + self._folder + name for name in self.finished)
        max_concurrency = self._records.store.max_concurrency
        return {
            done.stem
            for _, look in map_concurrently(self._records.provenance_at, keys, max_concurrency)
            if (done := look())
        }


@dataclass
class Scanner:
    """Looks at everything; what it can mend without transcribing (a missing text file, a rename) it mends."""

    source: RecordingSource
    records: Records
    formats: tuple[FormatName, ...]
    settle_s: float
    layout: Layout = field(default_factory=Layout)
    redo: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    is_current: Callable[[Provenance], bool] = lambda _: True
    """Whether a finished transcript was made with the options asked for now."""
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._text_suffixes = {suffix(f"x{suffix_of(fmt)}").removeprefix(".") for fmt in self.formats}
        self._has_sound: dict[int, bool] = {}
        """What was found out with ffmpeg, which is not started again for it at the next look; by hash."""

    def scan(self, progress: Callable[[int], None] = lambda _: None) -> Scan:
        """Look at the whole source; `progress` is told how many files were seen."""
        self._scan = Scan()
        self._orphans: list[str] = []
        self._left: list[str] = []
        self._begun_again: list[str] = []
        recent: list[Missing] = []
        self._asked_of: set[int] = set()
        seen = map_concurrently(self._look, self._found(progress), self._max_concurrency)
        for (known, recording, usual), look in seen:
            report_alive()
            try:
                stem = self._stem(recording, usual, known, look())
            except NightscribeError as error:
                if is_everywhere(error, self._max_concurrency):
                    raise
                self._scan.unreadable.append(Unreadable(recording.path, str(error)))
                continue
            if stem is not None:
                missing = Missing(recording, stem)
                (recent if self._is_recent(recording) else self._scan.missing).append(missing)
        # A file that grows for weeks is another at each look.
        self._has_sound = {file: found for file, found in self._has_sound.items() if file in self._asked_of}
        self._wait_for(recent)
        if not self.redo:
            if not self.dry_run:
                end_renames(self.source, self.records, self._begun_again, self._may_be_there())
            if self._scan.missing:
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
        pause_s = max(0.0, self.settle_s - youngest_s) + 0.05
        report_alive(pause_s)
        self.sleep(pause_s)
        for missing in recent:
            try:
                unchanged = self.source.stat(missing.recording.path) == missing.recording
            except NightscribeError:
                unchanged = False
            if unchanged:
                self._scan.missing.append(missing)
            else:
                self._scan.being_written.append(missing.recording.path)

    @property
    def _max_concurrency(self) -> int:
        return max(self.source.max_concurrency, self.records.store.max_concurrency)

    def _found(self, progress: Callable[[int], None]) -> Iterator[tuple[_Known, Recording, str]]:
        """Each recording with what the store has for its folder, and where its text files would go if nothing was."""
        n_seen = 0
        trees = _Trees(self.records)
        for folder, known in map_concurrently(
            lambda folder: _Known(self.records, folder.path, trees), self.source.folders(), self._max_concurrency
        ):
            self._scan.unreadable.extend(folder.unreadable)
            yield from self._found_in(folder, known())
            n_seen += len(folder.recordings) + len(folder.unreadable)
            progress(n_seen)
            report_alive()

    def _found_in(self, folder: Folder, known: _Known) -> Iterator[tuple[_Known, Recording, str]]:
        path = folder.path
        names = {recording.path: recording.path[len(path) :] for recording in folder.recordings}
        if known.finished or known.below:
            self._orphans.extend(
                TRANSCRIPTS + path + name
                for name in known.finished.difference(with_suffix(name, ".json") for name in names.values())
            )
            self._left.extend(f"{TRANSCRIPTS}{path}{name}/" for name in set(known.below).difference(folder.below))
        recordings = [r for r in folder.recordings if known.is_finished(names[r.path]) or self._is_recording(r)]
        where = stems(r.path for r in recordings)
        yield from ((known, recording, where[recording.path]) for recording in recordings)

    def _look(self, found: tuple[_Known, Recording, str]) -> tuple[Provenance | None, Provenance | Failure | None]:
        """The transcript that there is of a recording, and what settles it as it is now: that, or a failure."""
        known, recording, _ = found
        name = known.name(recording)
        provenance = known.provenance(name)
        if provenance and self._same(recording, provenance):
            return provenance, provenance
        failure = None if self.retry_failed else known.failure(name)
        return provenance, failure if failure and self._same(recording, failure) else None

    def _stem(
        self,
        recording: Recording,
        usual: str,
        known: _Known,
        look: tuple[Provenance | None, Provenance | Failure | None],
    ) -> str | None:
        """Where the text files of a missing recording go; None if it is not missing, which is counted."""
        provenance, settled = look
        if provenance and known.is_begun(known.name(recording)):  # a redo, or a rename that was cut short
            self._begun_again.append(recording.path)
        if isinstance(settled, Failure):
            self._scan.failed_before.append(settled)
            return None
        if settled and not self.redo:
            self._finished(settled, known.existing)
            return None
        name = known.name(recording)
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
        if kind in OTHER_SUFFIXES or kind in self._text_suffixes or not file.size:
            return False
        self._asked_of.add(hash(file))
        if (known := self._has_sound.get(hash(file))) is not None:
            return known
        report_alive()
        try:
            with self.source.local(file.path) as path:
                found = probe(path).has_audio
        except (NightscribeError, OSError) as error:
            log.debug("file.ignored", path=file.path, why=str(error))
            if not isinstance(error, AudioError):  # it may not have been there to be looked into
                return False
            found = False
        self._has_sound[hash(file)] = found
        return found

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
                self.records.texts.put_missing(transcript.model_copy(update={"layout": self.layout}), lacking)

    def _free_stem(self, path: str, stem: str, known: _Known, *, begun: str | None) -> str | None:
        """Where the text files may go without touching any other; None if another tool has made all of them."""
        for candidate in chain((stem, path), (f"{path} ({n})" for n in count(2))):
            lacking = missing_formats(candidate, self.formats, known.existing)
            if len(lacking) == len(self.formats) or candidate == begun:
                return candidate
            # A text may be anybody's notes; with subtitles of the same name, a tool has transcribed the recording.
            if not lacking and any(map(is_subtitle, self.formats)) and candidate not in known.taken:
                return None
        raise AssertionError("there is always a free name")

    def _would_hit_others(self, provenance: Provenance, existing: set[str]) -> bool:
        """Whether a format that is asked for now, and was not then, is there all the same: so it is someone's own."""
        new = [fmt for fmt in self.formats if fmt not in provenance.formats]
        return len(missing_formats(provenance.stem, new, existing)) < len(new)

    def _may_be_there(self) -> Callable[[str], bool]:
        """What cannot be looked at now is not gone: its transcript is not to be given away, nor its texts removed."""
        hidden = {transcript_key(each.path) for each in self._scan.unreadable}
        below = tuple(f"{TRANSCRIPTS}{each.path}/" for each in self._scan.unreadable)
        return lambda key: key in hidden or key.startswith(below)

    def _follow_renames(self) -> None:
        """Give a recording that was moved or renamed the transcript it had under its old name."""
        left = chain(self._orphans, chain.from_iterable(map(self.records.store.walk, self._left)))
        may_be_there = self._may_be_there()
        orphans = (key for key in left if not may_be_there(key))
        moved = set()
        for key, at in renamed(self.source, self.records, orphans, self._scan.missing):
            try:
                before = self._follow_rename(key, self._scan.missing[at])
            except NightscribeError as error:
                if is_everywhere(error, self._max_concurrency):
                    raise
                log.warning("rename.unfinished", recording=self._scan.missing[at].recording.path, why=str(error))
                continue
            if before is not None:
                moved.add(at)
                self._scan.renamed.append((before, self._scan.missing[at].recording.path))
        self._scan.n_finished += len(moved)
        if moved:
            self._scan.missing = self._scan.missing.without(moved)

    def _follow_rename(self, key: str, new: Missing) -> str | None:
        """The name that it had, if it was followed."""
        path = new.recording.path
        if (orphan := self.records.orphan(key)) is None or not self.records.has_room(path):
            return None
        stem = orphan.stem if orphan.stem == without_suffix(path) else new.stem  # only its extension was changed
        if not self.dry_run:
            self.records.rename(orphan, path, new.recording.mtime_ns, stem, self.formats)
            log.info("recording.renamed", recording=path, before=orphan.recording)
        return orphan.recording
