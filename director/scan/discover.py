"""Discover the files of the source that may be recordings, and the transcripts whose recordings are gone."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import structlog

from nightscribe.director.folder_hotwords import FolderHotwords
from nightscribe.director.scan.folder_records import FolderRecords, RareTrees
from nightscribe.director.scan.text_stems import stems
from nightscribe.shared.audio.probe import MEDIA_SUFFIXES, OTHER_SUFFIXES, probe
from nightscribe.shared.destination.keys import TRANSCRIPTS, with_suffix
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import AudioError, NightscribeError
from nightscribe.shared.formats.registry import suffix_of
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.paths import suffix
from nightscribe.shared.model.recording import Folder, Recording, Unreadable
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import NamesRecordings, RecordingSource

log = structlog.get_logger()


class RecordingFilter:
    """Distinguishes recordings from other files by suffix, or with ffmpeg if the suffix is unknown.

    Remembers what ffmpeg has found, so that the next scan does not start it again for an unchanged file.
    """

    def __init__(self, source: RecordingSource, formats: Iterable[FormatName]) -> None:
        """Create a filter. Files with the suffixes of `formats` are texts, not recordings."""
        self._source = source
        self._names_recordings = isinstance(source, NamesRecordings)
        self._text_suffixes = {suffix(f"x{suffix_of(fmt)}").removeprefix(".") for fmt in formats}
        self._has_audio: dict[int, bool] = {}
        """Results of ffmpeg's search for sound, by the file's hash."""
        self._seen: set[int] = set()

    def is_recording(self, file: Recording) -> bool:
        """Return whether a file may be a recording; False also if it currently cannot be read."""
        if self._names_recordings:
            return True
        kind = suffix(file.path).removeprefix(".")
        if kind in MEDIA_SUFFIXES:
            return True
        if kind in OTHER_SUFFIXES or kind in self._text_suffixes or not file.size:
            return False
        self._seen.add(hash(file))
        if (known := self._has_audio.get(hash(file))) is not None:
            return known
        report_alive()
        try:
            with self._source.local(file.path) as path:
                found = probe(path).has_audio
        except (NightscribeError, OSError) as error:
            log.debug("file.ignored", path=file.path, why=str(error))
            if not isinstance(error, AudioError):  # the file could not be read, so nothing is known about it
                return False
            found = False
        self._has_audio[hash(file)] = found
        return found

    def forget_unseen(self) -> None:
        """Forget files not checked since the last call, because a file that grows for weeks differs at every scan."""
        self._has_audio = {file: found for file, found in self._has_audio.items() if file in self._seen}
        self._seen.clear()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file of the source that may be a recording."""

    recording: Recording
    usual_stem: str
    """The stem of its text files if no other file is in the way."""
    folder: FolderRecords
    """The records of its folder in the destination."""


class Discovery:
    """Walks the source folder by folder; can be iterated only once."""

    def __init__(
        self,
        source: RecordingSource,
        records: Records,
        recording_filter: RecordingFilter,
        *,
        report_progress: Callable[[int], None],
        hotwords: FolderHotwords,
    ) -> None:
        """`report_progress` is called with the number of files seen so far, after each folder.

        `hotwords` learns which folders list words to listen for.
        """
        self._hotwords = hotwords
        self._source = source
        self._records = records
        self._filter = recording_filter
        self._report_progress = report_progress
        self.unreadable: list[Unreadable] = []
        self._orphans: list[str] = []
        self._orphan_folders: list[str] = []

    def __iter__(self) -> Iterator[Candidate]:
        n_seen = 0
        rare_trees = RareTrees(self._records)
        for folder, records in map_concurrently(
            lambda folder: FolderRecords(self._records, folder.path, rare_trees),
            self._source.folders(),
            max(self._source.max_concurrency, self._records.store.max_concurrency),
        ):
            self.unreadable.extend(folder.unreadable)
            if problem := self._hotwords.learn(folder):
                self.unreadable.append(problem)
            yield from self._in_folder(folder, records())
            n_seen += len(folder.recordings) + len(folder.unreadable)
            self._report_progress(n_seen)
            report_alive()

    def _in_folder(self, folder: Folder, records: FolderRecords) -> Iterator[Candidate]:
        path = folder.path
        names = {recording.path: records.name(recording) for recording in folder.recordings}
        if records.transcripts or records.subfolders:
            expected = (with_suffix(name, ".json") for name in names.values())
            self._orphans.extend(TRANSCRIPTS + path + name for name in records.transcripts.difference(expected))
            gone = set(records.subfolders).difference(folder.below)
            self._orphan_folders.extend(f"{TRANSCRIPTS}{path}{name}/" for name in gone)
        recordings = [
            each
            for each in folder.recordings
            if records.has_transcript(names[each.path]) or self._filter.is_recording(each)
        ]
        usual = stems(each.path for each in recordings)
        yield from (Candidate(each, usual[each.path], records) for each in recordings)

    def orphans(self) -> Iterator[str]:
        """Yield the keys of transcripts without a recording in the source. Call it after the iteration."""
        yield from self._orphans
        for folder in self._orphan_folders:
            yield from self._records.store.walk(folder)
