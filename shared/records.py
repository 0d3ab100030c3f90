"""Typed records over a store: transcripts, parts, failures, and who is doing what."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from shared.activity import Activity, Run
from shared.errors import RetryableError
from shared.formats import FORMATS, render
from shared.jobs import Format, Frozen, Job, Slice
from shared.names import JOBS, RUN, failure_key, output_key, parts_folder, transcript_key
from shared.store import TranscriptStore
from shared.transcript import Failure, Part, Provenance, Transcript

log = structlog.get_logger()

# Beside the parts of a recording:
STEM = "stem"
CUTS = "cuts.json"

# A transcript of hours is megabytes long, and a million of them are compared at each run: what is said before its
# segments, which come last, is in its first bytes. Within a string, JSON writes no quotation mark without a backslash.
HEADER_BYTES = 4096
SEGMENTS = b',"segments":['
END = b"]}"

_Record = TypeVar("_Record", bound=BaseModel)


class _Header(Provenance, extra="ignore"):
    """A transcript read without its segments."""


class _Cuts(Frozen):
    """Where the sound of this fingerprint was cut."""

    fingerprint: str
    cuts: tuple[float, ...]


class Records:
    """What is known about recordings in one destination. A damaged record counts as absent, and is logged."""

    def __init__(self, store: TranscriptStore) -> None:
        self.store = store

    def _load(self, model: type[_Record], key: str) -> _Record | None:
        content = self.store.get(key)
        if content is None:
            return None
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            log.warning("record.unreadable", key=key, why=problem["msg"])
            return None

    def _save(self, key: str, record: Frozen, *, durable: bool = True) -> None:
        self.store.put(key, record.model_dump_json().encode(), durable=durable)

    # Finished recordings

    def provenance(self, recording: str) -> Provenance | None:
        """How a finished recording was made, without its text."""
        return self.provenance_at(transcript_key(recording))

    def provenance_at(self, key: str) -> Provenance | None:
        """How the transcript under a key was made."""
        ends = self.store.ends(key, HEADER_BYTES, len(END))
        if ends is None:
            return None
        header, segments, _ = ends[0].partition(SEGMENTS)
        if segments and ends[1] == END:
            with contextlib.suppress(ValidationError):
                return _Header.model_validate_json(header + b"}")
        return self._load(_Header, key)  # someone else's JSON may be written in another way, and a damaged one is told

    def transcript(self, recording: str) -> Transcript | None:
        """The canonical transcript of a finished recording."""
        return self._load(Transcript, transcript_key(recording))

    def finish(self, transcript: Transcript, formats: tuple[Format, ...]) -> None:
        """Write the text files, and last the canonical transcript: once it is there, the recording is finished."""
        self.write_texts(transcript, formats)
        self._save(transcript_key(transcript.recording), transcript)

    def write_texts(self, transcript: Transcript, formats: Iterable[Format]) -> None:
        """Write text files of a transcript."""
        for fmt in formats:
            self.store.put(output_key(transcript.stem, fmt), render(transcript, fmt))

    def orphan(self, key: str) -> Transcript | None:
        """The transcript under a key whose recording is no longer in the source."""
        return self._load(Transcript, key)

    def rename(
        self, old: Transcript, recording: str, mtime_ns: int | None, stem: str, formats: tuple[Format, ...]
    ) -> None:
        """Move a transcript to its recording's new name; text files that someone has edited stay where they are too."""
        there = {fmt: self.store.get(output_key(old.stem, fmt)) for fmt in FORMATS}
        moves = old.stem != stem
        if moves:
            wanted = tuple(fmt for fmt, content in there.items() if content is not None or fmt in formats)
        else:  # what is there stays as it is: someone may have edited it
            wanted = tuple(fmt for fmt in formats if there[fmt] is None)
        self.finish(old.model_copy(update={"recording": recording, "mtime_ns": mtime_ns, "stem": stem}), wanted)
        for fmt, content in there.items():
            if moves and content == render(old, fmt):
                self.store.delete(output_key(old.stem, fmt))
        self.store.delete(transcript_key(old.recording))

    # Parts

    def put_part(self, job: Job, of: Slice, part: Part) -> None:
        """Keep the result of a slice until the whole recording is done, and where its text files will go."""
        self.store.put(parts_folder(of.recording) + STEM, of.stem.encode())
        self._save(self._part_key(job, of), part)

    def part(self, job: Job, of: Slice) -> Part | None:
        """The kept result of a slice."""
        return self._load(Part, self._part_key(job, of))

    def parts(self, job: Job, of: Slice) -> list[Part] | None:
        """The results of all slices of the recording in their order, or None while one is missing."""
        if len(self.stored(job, of)) < of.count:  # a look at the names, where each part may be long to read
            return None
        found = []
        for index in range(of.count):
            part = self.part(job, of.model_copy(update={"index": index}))
            if part is None:
                return None
            found.append(part)
        return found

    def stored(self, job: Job, of: Slice) -> frozenset[int]:
        """Which slices of the recording have their results in store."""
        before, after = f"{job.part_id(of)}-", ".json"
        names = self.store.names(parts_folder(of.recording))
        return frozenset(int(name[len(before) : -len(after)]) for name in names if name.startswith(before))

    def keep_cuts(self, recording: str, fingerprint: str, cuts: tuple[float, ...]) -> None:
        """Remember where a recording is cut: a later run that cuts it there again finds the parts of this one."""
        self._save(parts_folder(recording) + CUTS, _Cuts(fingerprint=fingerprint, cuts=cuts))

    def kept_cuts(self, recording: str, fingerprint: str) -> tuple[float, ...] | None:
        """Where a recording was cut that is not finished."""
        kept = self._load(_Cuts, parts_folder(recording) + CUTS)
        return kept.cuts if kept and kept.fingerprint == fingerprint else None

    def begun_stem(self, recording: str) -> str | None:
        """Where the text files of a recording go whose work has begun and not ended: those that are there are ours."""
        content = self.store.get(parts_folder(recording) + STEM)
        return None if content is None else content.decode()

    def drop_parts(self, recording: str) -> None:
        """Remove the parts of a finished recording, and any left from earlier options."""
        folder = parts_folder(recording)
        for name in self.store.names(folder):
            self.store.delete(folder + name)

    @staticmethod
    def _part_key(job: Job, of: Slice) -> str:
        return f"{parts_folder(of.recording)}{job.part_id(of)}-{of.index}.json"

    # Failures

    def fail(self, failure: Failure) -> None:
        """Record why a recording has no transcript."""
        self._save(failure_key(failure.recording), failure)

    def failure(self, recording: str) -> Failure | None:
        """Why a recording has no transcript, if it was tried."""
        return self._load(Failure, failure_key(recording))

    def forgive(self, recording: str) -> None:
        """Remove a failure record."""
        self.store.delete(failure_key(recording))

    # Activity

    def report(self, activity: Activity) -> None:
        """Say what a worker is doing; nothing depends on it, so it may fail."""
        try:
            self._save(f"{JOBS}{activity.worker}.json", activity, durable=False)
        except RetryableError as error:
            log.debug("activity.unwritten", why=str(error))

    def activities(self) -> Iterator[Activity]:
        """What every worker says it is doing, as far as the store answers."""
        with contextlib.suppress(RetryableError):
            for name in sorted(self.store.names(JOBS)):
                if name.endswith(".json") and (activity := self._load(Activity, JOBS + name)):
                    yield activity

    def put_run(self, run: Run) -> None:
        """Say how far a run is; it may fail as well."""
        try:
            self._save(RUN, run, durable=False)
        except RetryableError as error:
            log.debug("run.unwritten", why=str(error))

    def last_run(self) -> Run | None:
        """The last run that worked, or works, into this destination."""
        return self._load(Run, RUN)

    def forget_activities(self) -> None:
        """Remove what workers said that are no more."""
        for name in self.store.names(JOBS):
            self.store.delete(JOBS + name)

    def leave(self, worker: str) -> None:
        """Remove what a worker said it was doing; it may fail as well."""
        with contextlib.suppress(RetryableError):
            self.store.delete(f"{JOBS}{worker}.json")
