"""Typed records over a store: transcripts, parts, failures, and who is doing what."""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from shared.abreast import abreast
from shared.activity import Activity, Run
from shared.errors import NameTooLong, NightscribeError, PermanentError, SetupError
from shared.formats import FORMATS
from shared.jobs import Cuts, Format, Frozen, Job, RelativePath, Slice
from shared.names import FAILURES, JOBS, RUN, failure_key, output_key, parts_folder, transcript_key
from shared.processes import has_ended
from shared.store import TranscriptStore
from shared.texts import Texts
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

ID_CHARS, MAX_INDEX = 32, 9999  # of parts, when it is to be known how long their names may be

SILENT_S = 3600

_Record = TypeVar("_Record", bound=BaseModel)


class NewerRecord(SetupError):
    """A record is of a version that this program does not know yet: it is to be left as it is."""


class Taken(PermanentError):
    """Somebody else's text file came to where one of ours was to go."""


class _AnyVersion(BaseModel):
    """As much of a record as every version has."""

    version: int


class _Header(Provenance, extra="ignore"):
    """A transcript read without its segments."""


class _Cuts(Frozen):
    """Where the sound of this fingerprint was cut."""

    fingerprint: str
    cuts: Cuts


class _Begun(Frozen, extra="ignore"):
    """Work on a slice that was begun, with which message, and where the text files of its recording go."""

    stem: RelativePath
    worker: str
    message: str


class _Renaming(_Begun):
    """A move to another name that was begun, and from which one."""

    worker: str = ""
    message: str = ""
    before: str


class Records:
    """What is known about recordings in one destination.

    A damaged record counts as absent, and is logged; what it told is found out again. So is what a newer version has
    left of work that is not finished. Its transcripts and failures are never taken for absent: see `NewerRecord`.
    """

    def __init__(self, store: TranscriptStore) -> None:
        self.store = store
        self.texts = Texts(store)

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

    def finish(self, transcript: Transcript, formats: tuple[Format, ...], *, is_first: bool = False) -> None:
        """Write the text files, and last the canonical transcript: once it is there, the recording is finished.

        `is_first`: nobody has begun to write these files before, so that those which are there are somebody else's,
        unless there is a transcript that knows them. Raises: Taken: if so; then nothing has been written.
        """
        if is_first:
            written = self.texts.put_missing(transcript, formats)
            if len(written) < len(formats) and not self._is_ours(transcript):
                for fmt in written:
                    self.store.delete(output_key(transcript.stem, fmt))
                [other, *_] = [output_key(transcript.stem, fmt) for fmt in formats if fmt not in written]
                raise Taken(
                    f"{other!r}, which is not nightscribe's, came to the transcripts while this was transcribed, and "
                    "was left alone. Try it again (nightscribe retry), and its texts get another name."
                )
            formats = tuple(fmt for fmt in formats if fmt not in written)
        if formats and (before := self.transcript(transcript.recording)) and before.stem == transcript.stem:
            self.texts.keep_corrected(before, formats)
        self.texts.put(transcript, formats)
        self._save(transcript_key(transcript.recording), transcript)

    def _is_ours(self, transcript: Transcript) -> bool:
        """Whether text files of that name are known to another transcript of the recording, be it damaged."""
        before = self.provenance_at(transcript_key(transcript.recording)) or self.damaged(transcript.recording)
        return before is not None and before.stem == transcript.stem

    def orphan(self, key: str) -> Transcript | None:
        """The transcript under a key whose recording is no longer in the source."""
        return self._load(Transcript, key)

    def rename(
        self, old: Transcript, recording: str, mtime_ns: int | None, stem: str, formats: tuple[Format, ...]
    ) -> None:
        """Move a transcript to its recording's new name, and its texts as they are: someone may have corrected them."""
        there = {fmt for fmt in FORMATS if self.store.get(output_key(old.stem, fmt)) is not None}
        edited: dict[Format, bytes] = {}
        if old.stem == stem:
            wanted = tuple(fmt for fmt in formats if fmt not in there)
        else:
            edited = self.texts.edited(old, formats)
            wanted = tuple(fmt for fmt in FORMATS if (fmt in there or fmt in formats) and fmt not in edited)
        # Text files of a move that is cut short are known as ours, and what it has left by `renamed_from`.
        self._save(_renaming_key(recording), _Renaming(stem=stem, before=old.recording))
        for fmt, content in edited.items():
            self.store.put(output_key(stem, fmt), content)
        self.finish(old.model_copy(update={"recording": recording, "mtime_ns": mtime_ns, "stem": stem}), wanted)
        self._leave(old, stem)
        self.store.delete(_renaming_key(recording))

    def renamed_from(self, recording: str) -> str | None:
        """The name under which something may be left, because a move of this recording's transcript was cut short."""
        begun = self._load(_Renaming, _renaming_key(recording))
        return begun.before if begun else None

    def end_rename(self, recording: str, *, is_gone: bool) -> None:
        """Finish a move that was cut short after the transcript had its new name.

        `is_gone`: whether there is no recording of the old name any more. Otherwise what is left there is that one's.
        """
        before, new = self.renamed_from(recording), self.provenance(recording)
        old = self.transcript(before) if before and is_gone else None
        if old and new and old.fingerprint == new.fingerprint:
            self._leave(old, new.stem)
        self.store.delete(_renaming_key(recording))

    def _leave(self, old: Transcript, stem: str) -> None:
        """Remove what a transcript was that is another recording's now, with its texts at that stem."""
        if old.stem != stem:
            self.texts.remove(old, stem, FORMATS)
        self.store.delete(transcript_key(old.recording))

    def require_room(self, recording: str) -> None:
        """Raises: NameTooLong: if what is kept of a recording would have a longer name than the store takes."""
        longest = f"{parts_folder(recording)}{'0' * ID_CHARS}-{MAX_INDEX}{BEGUN}"
        if not (self.store.takes(transcript_key(recording)) and self.store.takes(longest)):
            raise NameTooLong(
                "Its name is too long: what nightscribe keeps of it has a longer one still. Shorten it, or those of "
                "the folders it is in, or take a DEST with a shorter one."
            )

    # Parts

    def kept(self, recordings: Collection[str]) -> dict[str, frozenset[str]]:
        """The names of what is kept of unfinished work on each of these recordings, of which there is mostly nothing.

        `part`, `held_by` and `drop_parts` need not be asked where these names are none of theirs.
        """
        folders = {parts_folder(recording): recording for recording in recordings}
        return {folders[folder]: frozenset(names) for folder, names in self.store.names_in(folders).items()}

    def begin(self, job: Job, of: Slice, *, worker: str, message: str, is_first: bool = False) -> bool:
        """Say whose message holds a slice, and where the text files will go that may soon be there.

        `is_first`: not if somebody else has said so meanwhile. Gives whether it is said.
        """
        key, begun = self._part_key(job, of, BEGUN), _Begun(stem=of.stem, worker=worker, message=message)
        if is_first:
            return self.store.put_new(key, begun.model_dump_json().encode())
        self._save(key, begun)
        return True

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
        """The results of all slices of the recording in their order, or None while one is missing.

        Raises: PermanentError: if one is damaged. It would count as there for everybody who only looks at the names.
        """
        if len(self.stored(job, of)) < of.count:  # a look at the names, where each part may be long to read
            return None
        found = []
        for index in range(of.count):
            each = of.model_copy(update={"index": index})
            part = self.part(job, each)
            if part is None:
                key = self._part_key(job, each)
                if self.store.get(key) is None:  # whoever has just put them together has removed them
                    return None
                raise PermanentError(
                    f"What was transcribed of it before cannot be read any more ({key!r}). Try it again (nightscribe "
                    "retry): only that stretch is done again. Is the disk failing?"
                )
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

    def drop_parts(self, recording: str, names: Collection[str] | None = None) -> None:
        """Remove the parts of a finished recording, and any left from earlier options, or what has these names."""
        folder = parts_folder(recording)
        if names is None:
            names = self.store.names(folder)
        for _, deleted in abreast(lambda name: self.store.delete(folder + name), names, self.store.at_once):
            deleted()

    @staticmethod
    def part_name(job: Job, of: Slice, kind: str = PART) -> str:
        """Of the result of a slice, or with BEGUN of the note of who has it in hand."""
        return f"{job.part_id(of)}-{of.index}{kind}"

    def _part_key(self, job: Job, of: Slice, kind: str = PART) -> str:
        return parts_folder(of.recording) + self.part_name(job, of, kind)

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


def _renaming_key(recording: str) -> str:
    return f"{parts_folder(recording)}renamed{BEGUN}"


def _header(beginning: bytes) -> _Header | None:
    header, segments, _ = beginning.partition(SEGMENTS)
    if segments:
        with contextlib.suppress(ValidationError):
            return _Header.model_validate_json(header + b"}")
    return None
