"""Typed records over a store: transcripts, parts, failures, and who is doing what."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from shared.abreast import abreast
from shared.activity import Activity, Run
from shared.errors import NightscribeError, SetupError
from shared.formats import FORMATS, render
from shared.jobs import Cuts, Format, Frozen, Job, RelativePath, Slice
from shared.names import FAILURES, JOBS, RUN, failure_key, output_key, parts_folder, transcript_key
from shared.processes import has_ended
from shared.store import TranscriptStore
from shared.transcript import Failure, Part, Provenance, Transcript, utc_now

log = structlog.get_logger()

# Beside the parts of a recording:
PART = ".json"
BEGUN = ".begun"
CUTS = "cuts.json"

# A transcript of hours is megabytes long, and a million of them are compared at each run: what is said before its
# segments, which come last, is in its first bytes. Within a string, JSON writes no quotation mark without a backslash.
HEADER_BYTES = 4096
SEGMENTS = b',"segments":['
END = b"]}"

SILENT_S = 3600

_Record = TypeVar("_Record", bound=BaseModel)


class NewerRecord(SetupError):
    """A record is of a version that this program does not know yet: it is to be left as it is."""


class _AnyVersion(BaseModel):
    """As much of a record as every version has."""

    version: int


class _Header(Provenance, extra="ignore"):
    """A transcript read without its segments."""


class _Cuts(Frozen):
    """Where the sound of this fingerprint was cut."""

    fingerprint: str
    cuts: Cuts


class _Begun(Frozen):
    """Work on a slice that was begun, with which message, and where the text files of its recording go."""

    stem: RelativePath
    worker: str
    message: str


class Records:
    """What is known about recordings in one destination.

    A damaged record counts as absent, and is logged; what it told is found out again. So is what a newer version has
    left of work that is not finished. Its transcripts and failures are never taken for absent: see `NewerRecord`.
    """

    def __init__(self, store: TranscriptStore) -> None:
        self.store = store

    def _load(self, model: type[_Record], key: str) -> _Record | None:
        """The record under a key, unless it is damaged or of a newer version."""
        try:
            return self._load_known(model, key)
        except NewerRecord:
            log.warning("record.unreadable", key=key, why="It was written by a newer nightscribe.")
            return None

    def _load_known(self, model: type[_Record], key: str) -> _Record | None:
        """The same of a record that must not be done without. Raises: NewerRecord: if only a newer version knows it."""
        content = self.store.get(key)
        if content is None:
            return None
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            with contextlib.suppress(ValidationError):
                version = _AnyVersion.model_validate_json(content).version
                if "version" in model.model_fields and version > model.model_fields["version"].default:
                    raise NewerRecord(
                        f"{key!r} was written by a newer nightscribe (version {version} of its format) and is left "
                        "alone. Update nightscribe."
                    ) from None
            problem = error.errors(include_url=False, include_input=False)[0]
            log.warning("record.unreadable", key=key, why=problem["msg"])
            return None

    def _each(self, model: type[_Record], keys: Iterable[str]) -> Iterator[_Record]:
        """The records under these keys that this version can read."""
        for _, load in abreast(lambda key: self._load(model, key), keys, self.store.at_once):
            if record := load():
                yield record

    def _save(self, key: str, record: Frozen, *, durable: bool = True) -> None:
        self.store.put(key, record.model_dump_json().encode(), durable=durable)

    # Finished recordings

    def provenance(self, recording: str) -> Provenance | None:
        """How a finished recording was made, without its text. Raises: NewerRecord: if a newer version finished it."""
        return self._provenance(transcript_key(recording))

    def provenance_at(self, key: str) -> Provenance | None:
        """How the transcript under a key was made, if this version can tell."""
        with contextlib.suppress(NewerRecord):
            return self._provenance(key)
        return None

    def _provenance(self, key: str) -> Provenance | None:
        ends = self.store.ends(key, HEADER_BYTES, len(END))
        if ends is None:
            return None
        if ends[1] == END and (header := _header(ends[0])):
            return header
        # Someone else's JSON may be written in another way, and what is damaged or newer is told.
        return self._load_known(_Header, key)

    def damaged(self, recording: str) -> Provenance | None:
        """What the transcript of a recording says at its beginning, should the rest be damaged."""
        ends = self.store.ends(transcript_key(recording), HEADER_BYTES, 0)
        return _header(ends[0]) if ends else None

    def transcript(self, recording: str) -> Transcript | None:
        """The canonical transcript of a finished recording."""
        return self._load(Transcript, transcript_key(recording))

    def finish(self, transcript: Transcript, formats: tuple[Format, ...]) -> None:
        """Write the text files, and last the canonical transcript: once it is there, the recording is finished."""
        self.write_texts(transcript, formats)
        self._save(transcript_key(transcript.recording), transcript)

    def write_texts(self, transcript: Transcript, formats: Iterable[Format]) -> None:
        """Write text files of a transcript."""

        def write(fmt: Format) -> None:
            self.store.put(output_key(transcript.stem, fmt), render(transcript, fmt))

        for _, written in abreast(write, formats, self.store.at_once):
            written()

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
        begun = f"{parts_folder(recording)}renamed{BEGUN}"  # text files of a move that is cut short are known as ours
        self._save(begun, _Begun(stem=stem, worker="", message=""))
        self.finish(old.model_copy(update={"recording": recording, "mtime_ns": mtime_ns, "stem": stem}), wanted)
        for fmt, content in there.items():
            if moves and content == render(old, fmt):
                self.store.delete(output_key(old.stem, fmt))
        self.store.delete(transcript_key(old.recording))
        self.store.delete(begun)

    # Parts

    def begin(self, job: Job, of: Slice, *, worker: str, message: str) -> None:
        """Say whose message holds a slice, and where the text files will go that may soon be there."""
        self._save(self._part_key(job, of, BEGUN), _Begun(stem=of.stem, worker=worker, message=message))

    def held_by(self, job: Job, of: Slice, *, besides: str, for_s: float) -> str | None:
        """The worker that has this slice in hand with another message, and was heard of in the last `for_s`.

        Its message comes back by itself should it die, so that ours may be let go.
        """
        begun = self._load(_Begun, self._part_key(job, of, BEGUN))
        if begun is None or begun.message == besides:
            return None
        activity = self._load(Activity, f"{JOBS}{begun.worker}.json")
        if activity is None or activity.message != begun.message:
            return None
        return begun.worker if (utc_now() - activity.updated_at).total_seconds() < for_s else None

    def release(self, job: Job, of: Slice) -> None:
        """A slice is in nobody's hands any more."""
        self.store.delete(self._part_key(job, of, BEGUN))

    def put_part(self, job: Job, of: Slice, part: Part) -> None:
        """Keep the result of a slice until the whole recording is done."""
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
        before = f"{job.part_id(of)}-"
        names = self.store.names(parts_folder(of.recording))
        indices = (name[len(before) : -len(PART)] for name in names if name.startswith(before) and name.endswith(PART))
        return frozenset(int(index) for index in indices if index.isdecimal())  # a sync tool's copies have other names

    def keep_cuts(self, recording: str, fingerprint: str, cuts: tuple[float, ...]) -> None:
        """Remember where a recording is cut: a later run that cuts it there again finds the parts of this one."""
        self._save(parts_folder(recording) + CUTS, _Cuts(fingerprint=fingerprint, cuts=cuts))

    def kept_cuts(self, recording: str, fingerprint: str) -> tuple[float, ...] | None:
        """Where a recording was cut that is not finished."""
        kept = self._load(_Cuts, parts_folder(recording) + CUTS)
        return kept.cuts if kept and kept.fingerprint == fingerprint else None

    def begun_stem(self, recording: str) -> str | None:
        """Where the text files of a recording go whose work has begun and not ended: those that are there are ours."""
        folder = parts_folder(recording)
        for name in self.store.names(folder):
            if name.endswith(BEGUN) and (begun := self._load(_Begun, folder + name)):
                return begun.stem
        return None

    def drop_parts(self, recording: str) -> None:
        """Remove the parts of a finished recording, and any left from earlier options."""
        folder = parts_folder(recording)
        names = self.store.names(folder)
        for _, deleted in abreast(lambda name: self.store.delete(folder + name), names, self.store.at_once):
            deleted()

    @staticmethod
    def _part_key(job: Job, of: Slice, kind: str = PART) -> str:
        return f"{parts_folder(of.recording)}{job.part_id(of)}-{of.index}{kind}"

    # Failures

    def fail(self, failure: Failure) -> None:
        """Record why a recording has no transcript."""
        self._save(failure_key(failure.recording), failure)

    def failure(self, recording: str) -> Failure | None:
        """Why a recording has no transcript, if it was tried. Raises: NewerRecord: if a newer version says why."""
        return self._load_known(Failure, failure_key(recording))

    def failures(self) -> Iterator[Failure]:
        """Why recordings have no transcript, one after the other; what this version cannot read is left out."""
        yield from self._each(Failure, self.store.walk(FAILURES))

    def forgive(self, recording: str) -> None:
        """Remove a failure record."""
        self.store.delete(failure_key(recording))

    def count(self, folder: str) -> int:
        """How many records there are in a folder of them and below, by their names alone: there may be a million."""
        if self.store.at_once > 1:  # what lies far below is told as quickly there as what does not
            return sum(key.endswith(".json") for key in self.store.walk(folder))
        n, folders = 0, [folder]
        while folders:
            at = folders.pop()
            names, below = self.store.listing(at)
            n += sum(name.endswith(".json") for name in names)
            folders.extend(f"{at}{name}/" for name in below)
        return n

    # Activity

    def report(self, activity: Activity) -> None:
        """Say what a worker is doing; nothing depends on it, so it may fail."""
        try:
            self._save(f"{JOBS}{activity.worker}.json", activity, durable=False)
        except NightscribeError as error:
            log.debug("activity.unwritten", why=str(error))

    def activities(self) -> Iterator[Activity]:
        """What every worker says it is doing, as far as the store answers."""
        with contextlib.suppress(NightscribeError):
            names = (name for name in sorted(self.store.names(JOBS)) if name.endswith(".json"))
            yield from self._each(Activity, (JOBS + name for name in names))

    def put_run(self, run: Run) -> None:
        """Say how far a run is; it may fail as well."""
        try:
            self._save(RUN, run, durable=False)
        except NightscribeError as error:
            log.debug("run.unwritten", why=str(error))

    def last_run(self) -> Run | None:
        """The last run that worked, or works, into this destination."""
        return self._load(Run, RUN)

    def forget_activities(self) -> None:
        """Remove what workers said that are no more; those of other machines are, when not heard of for long."""
        for name in self.store.names(JOBS):
            said = self._load(Activity, JOBS + name)
            if said is None or has_ended(said.worker) or (utc_now() - said.updated_at).total_seconds() > SILENT_S:
                self.store.delete(JOBS + name)

    def leave(self, worker: str) -> None:
        """Remove what a worker said it was doing; it may fail as well."""
        with contextlib.suppress(NightscribeError):
            self.store.delete(f"{JOBS}{worker}.json")


def _header(beginning: bytes) -> _Header | None:
    header, segments, _ = beginning.partition(SEGMENTS)
    if segments:
        with contextlib.suppress(ValidationError):
            return _Header.model_validate_json(header + b"}")
    return None
