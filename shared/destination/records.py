"""What a destination knows: transcripts, failures, unfinished work, and who is doing what."""

import contextlib
from collections.abc import Iterable, Iterator
from functools import cache

import structlog
from pydantic import ValidationError

from nightscribe.shared.destination.json_store import JsonStore, NewerRecord
from nightscribe.shared.destination.keys import (
    FAILURES,
    JOBS,
    PARTS,
    RUN,
    TRANSCRIPTS,
    failure_key,
    parts_folder,
    transcript_key,
)
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX, Claim, PartialResults, partial_schema
from nightscribe.shared.destination.texts import Texts
from nightscribe.shared.errors import NameTooLong, NightscribeError
from nightscribe.shared.formats.registry import format_names, is_same, render
from nightscribe.shared.model.activity import Activity, Run
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.record import Stored
from nightscribe.shared.model.transcript import Failure, Provenance, Transcript, utc_now
from nightscribe.shared.process.identity import has_ended
from nightscribe.shared.storage.base import TranscriptStore

log = structlog.get_logger()

# A transcript of hours is megabytes long, and a million of them are compared at each run: what is said before its
# segments, which come last, is in its first bytes. Within a string, JSON writes no quotation mark without a backslash.
HEADER_BYTES = 4096
SEGMENTS = b',"segments":['
END = b"]}"

SILENT_S = 3600
RENAMED = f"renamed{CLAIM_SUFFIX}"


class _Header(Provenance, extra="ignore"):
    """A transcript read without its segments."""


class _Renaming(Claim):
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
        self.partial_results = PartialResults(store)
        self._typed = JsonStore(store)

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
        return self._typed.load_known(_Header, key)

    def damaged(self, recording: str) -> Provenance | None:
        """What the transcript of a recording says at its beginning, should the rest be damaged."""
        ends = self.store.ends(transcript_key(recording), HEADER_BYTES, 0)
        return _header(ends[0]) if ends else None

    def transcript(self, recording: str) -> Transcript | None:
        """The canonical transcript of a finished recording."""
        return self._typed.load(Transcript, transcript_key(recording))

    def finish(self, transcript: Transcript, formats: Iterable[FormatName]) -> None:
        """Write the text files, and last the canonical transcript: once it is there, the recording is finished.

        The record names only the formats that could be written; the next scan writes the others.
        """
        failed = self.texts.put(transcript, formats, cache(lambda: self._before(transcript)))  # may be megabytes long
        if failed:
            written = tuple(fmt for fmt in transcript.formats if fmt not in failed)
            transcript = transcript.model_copy(update={"formats": written})
        self._typed.save(transcript_key(transcript.recording), transcript)

    def _before(self, transcript: Transcript) -> Transcript | None:
        """The transcript of the same recording that a new one replaces, with its texts."""
        old = self.transcript(transcript.recording)
        return old if old and old.stem == transcript.stem else None

    def orphan(self, key: str) -> Transcript | None:
        """The transcript under a key whose recording is no longer in the source."""
        return self._typed.load(Transcript, key)

    def rename(
        self, old: Transcript, recording: str, mtime_ns: int | None, stem: str, formats: tuple[FormatName, ...]
    ) -> None:
        """Move a transcript to its recording's new name, and its texts as they are: someone may have corrected them."""
        new = old.model_copy(update={"recording": recording, "mtime_ns": mtime_ns, "stem": stem})
        there = self.texts.there(old, format_names())
        wanted = [fmt for fmt in formats if fmt not in there]
        moved: dict[FormatName, bytes] = {}
        if old.stem != stem:
            ours = {fmt for fmt, content in there.items() if is_same(content, old, fmt)}
            moved = {fmt: content for fmt, content in there.items() if fmt in ours.union(formats, old.formats)}
            named = [fmt for fmt in there if fmt in ours and render(old, fmt) != render(new, fmt)]
            for fmt in named:
                del moved[fmt]
            wanted += named
        # By this note the next look finds where the texts of a move that is cut short go, and what it has left.
        self._typed.save(_renaming_key(recording), _Renaming(stem=stem, before=old.recording))
        for fmt, content in moved.items():
            self.texts.put_as(new, fmt, content)
        self.finish(new, wanted)
        self._leave(old, new)
        self.store.delete(_renaming_key(recording))

    def renamed_from(self, recording: str) -> str | None:
        """The name under which something may be left, because a move of this recording's transcript was cut short."""
        begun = self._typed.load(_Renaming, _renaming_key(recording))
        return begun.before if begun else None

    def end_rename(self, recording: str, before: str, *, is_gone: bool) -> None:
        """Finish a move that was cut short after the transcript had its new name.

        `before`: see `renamed_from`. `is_gone`: whether there is no recording of that name any more. Otherwise what is
        left there is that one's.
        """
        new = self.provenance(recording)
        old = self.transcript(before) if is_gone else None
        if old and new and old.fingerprint == new.fingerprint:
            self._leave(old, new)
        self.store.delete(_renaming_key(recording))

    def _leave(self, old: Transcript, new: Provenance) -> None:
        """Remove what a transcript was that is another recording's now."""
        if old.stem != new.stem:
            self.texts.remove(old, new.stem, format_names())
        if not self.store.is_one(transcript_key(old.recording), transcript_key(new.recording)):
            self.store.delete(transcript_key(old.recording))

    def has_room(self, recording: str) -> bool:
        """Whether what is kept of a recording would have no longer a name than the store takes."""
        return self.store.takes(transcript_key(recording)) and self.partial_results.has_room(recording)

    def require_room(self, recording: str) -> None:
        """Raises: NameTooLong: if there is none."""
        if not self.has_room(recording):
            raise NameTooLong(
                "Its name is too long: what nightscribe keeps of it has a longer one still. Shorten it, or those of "
                "the folders it is in, or take a DEST with a shorter one."
            )

    # Failures

    def fail(self, failure: Failure) -> None:
        """Record why a recording has no transcript."""
        self._typed.save(failure_key(failure.recording), failure)

    def failure(self, recording: str) -> Failure | None:
        """Why a recording has no transcript, if it was tried. Raises: NewerRecord: if a newer version says why."""
        return self._typed.load_known(Failure, failure_key(recording))

    def failures(self) -> Iterator[Failure]:
        """Why recordings have no transcript, one after the other; what this version cannot read is left out."""
        yield from self._typed.each(Failure, self.store.walk(FAILURES))

    def forgive(self, recording: str) -> None:
        """Remove a failure record."""
        self.store.delete(failure_key(recording))

    def count(self, folder: str) -> int:
        """How many records there are in a folder of them and below, by their names alone: there may be a million."""
        if self.store.max_concurrency > 1:  # what lies far below is told as quickly there as what does not
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
            self._typed.save(f"{JOBS}{activity.worker}.json", activity, durable=False)
        except NightscribeError as error:
            log.debug("activity.unwritten", why=str(error))

    def activities(self) -> Iterator[Activity]:
        """What every worker says it is doing, as far as the store answers."""
        with contextlib.suppress(NightscribeError):
            names = (name for name in sorted(self.store.names(JOBS)) if name.endswith(".json"))
            yield from self._typed.each(Activity, (JOBS + name for name in names))

    def put_run(self, run: Run) -> None:
        """Say how far a run is; it may fail as well."""
        try:
            self._typed.save(RUN, run, durable=False)
        except NightscribeError as error:
            log.debug("run.unwritten", why=str(error))

    def last_run(self) -> Run | None:
        """The last run that worked, or works, into this destination."""
        return self._typed.load(Run, RUN)

    def forget_activities(self) -> None:
        """Remove what workers said that are no more; those of other machines are, when not heard of for long."""
        for name in self.store.names(JOBS):
            said = self._typed.load(Activity, JOBS + name)
            if said is None or has_ended(said.worker) or (utc_now() - said.updated_at).total_seconds() > SILENT_S:
                self.store.delete(JOBS + name)

    def leave(self, worker: str) -> None:
        """Remove what a worker said it was doing; it may fail as well."""
        with contextlib.suppress(NightscribeError):
            self.store.delete(f"{JOBS}{worker}.json")


def schema_of(key: str) -> type[Stored] | None:
    """Return what the file under a key must hold, or None if nothing of ours has such a name."""
    name = key.rpartition("/")[2]
    if key == RUN:
        return Run
    if key.startswith(PARTS):
        if name.endswith(CLAIM_SUFFIX):
            return _Renaming if key.endswith(RENAMED) else Claim
        return partial_schema(name)
    models: dict[str, type[Stored]] = {TRANSCRIPTS: Transcript, FAILURES: Failure, JOBS: Activity}
    return next((models[tree] for tree in models if key.startswith(tree) and name.endswith(".json")), None)


def _renaming_key(recording: str) -> str:
    return parts_folder(recording) + RENAMED


def _header(beginning: bytes) -> _Header | None:
    header, segments, _ = beginning.partition(SEGMENTS)
    if segments:
        with contextlib.suppress(ValidationError):
            return _Header.model_validate_json(header + b"}")
    return None
