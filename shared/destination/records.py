"""Read and write everything that a destination records: transcripts, failures, unfinished work, and activity."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import structlog
from pydantic import ValidationError

from nightscribe.shared.destination.json_store import JsonStore, NewerRecord
from nightscribe.shared.destination.keys import (
    FAILURES,
    HASHES,
    JOBS,
    PARTS,
    RUN,
    TRANSCRIPTS,
    VOICES,
    failure_key,
    hash_key,
    parts_folder,
    peaks_key,
    transcript_key,
)
from nightscribe.shared.destination.notes import Notes
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX, Claim, PartialResults, partial_schema, silent_s
from nightscribe.shared.destination.texts import Texts
from nightscribe.shared.destination.voices import Voices
from nightscribe.shared.errors import FormatError, NameTooLong, NightscribeError, RetryableError
from nightscribe.shared.formats.hand_edits import READABLE, united, with_changes
from nightscribe.shared.formats.registry import format_names, is_same, render
from nightscribe.shared.model.activity import Activity, Run, WorkerName
from nightscribe.shared.model.content_hash import ContentHash
from nightscribe.shared.model.corrections import carried
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import FormatName, Layout
from nightscribe.shared.model.transcript import Provenance, Transcript, utc_now
from nightscribe.shared.model.versioned import Stored
from nightscribe.shared.model.voice import Voice
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.identity import has_ended
from nightscribe.shared.storage.base import Ages, TranscriptStore, put_if_same

log = structlog.get_logger()

# A long transcript takes megabytes, and each run compares up to a million, so read only the bytes before its segments,
# which come last. This text marks where they begin: inside a string, JSON escapes every quotation mark.
HEADER_BYTES = 4096
SEGMENTS = b',"segments":['
END = b"]}"

REPLACED = "-replaced"  # added to the fingerprint of a transcript whose recording now has different content
SILENT_S = 3600
MAX_CONFLICTS = 5  # each means that a person has corrected the transcript in the meantime
HAND_EDIT = "a text file"
"""Author of corrections that a worker finds in a text file."""
RENAMED = f"renamed{CLAIM_SUFFIX}"


class _Header(Provenance, extra="ignore"):
    """A transcript without its segments."""


class _Renaming(Claim):
    """A note of an unfinished move to another name, with the former name in `before`."""

    worker: WorkerName = ""
    message: str = ""
    before: str


class Amended(NamedTuple):
    """Keys of the text files that were written again, and of those that a person had edited."""

    written: tuple[str, ...]
    edited: tuple[str, ...]


class Records:
    """Reads and writes the records of one destination.

    A damaged record is logged and treated as missing, so its work is done again. The same applies to a newer version's
    notes on unfinished work, but never for its transcripts and failures: see `NewerRecord`.
    """

    def __init__(self, store: TranscriptStore) -> None:
        self.store = store
        self.texts = Texts(store)
        self.partial_results = PartialResults(store)
        self.voices = Voices(store)
        self.notes = Notes(store)
        self._typed = JsonStore(store)

    # Finished recordings

    def provenance(self, recording: str) -> Provenance | None:
        """Return how a finished recording was transcribed, or None.

        Raises: NewerRecord: if a newer version wrote the record.
        """
        return self._provenance(transcript_key(recording))

    def provenance_at(self, key: str) -> Provenance | None:
        """Return how the transcript under a key was made, or None if this version cannot read it."""
        with contextlib.suppress(NewerRecord):
            return self._provenance(key)
        return None

    def _provenance(self, key: str) -> Provenance | None:
        ends = self.store.ends(key, HEADER_BYTES, len(END))
        if ends is None:
            return None
        if ends[1] == END and (header := _header(ends[0])):
            return header
        # Other programs may format JSON differently, and a damaged or newer record must be reported.
        return self._typed.load_known(_Header, key)

    def damaged(self, recording: str) -> Provenance | None:
        """Return the provenance at the beginning of a transcript whose rest may be damaged, or None."""
        ends = self.store.ends(transcript_key(recording), HEADER_BYTES, 0)
        return _header(ends[0]) if ends else None

    def transcript(self, recording: str) -> Transcript | None:
        """Return the canonical transcript of a finished recording, or None."""
        return self._typed.load(Transcript, transcript_key(recording))

    def finish(self, transcript: Transcript, formats: Iterable[FormatName], *, sha256: str | None = None) -> None:
        """Write the text files, and the canonical transcript last: once it exists, the recording is finished.

        The record names only the formats that could be written; the next scan writes the others.
        `sha256`: hash of the recording's whole content, where it is known.
        """
        key = transcript_key(transcript.recording)
        for _ in range(MAX_CONFLICTS):
            content = self.store.get(key)
            old = None if content is None else self._old(key, content)
            finished = self._with_corrections(transcript, old) if old else transcript
            before = old if old and old.stem == transcript.stem else None
            failed = self.texts.put(finished, formats, before)
            if failed:
                written = tuple(fmt for fmt in transcript.formats if fmt not in failed)
                finished = finished.model_copy(update={"formats": written})
            if sha256:
                self.put_content_hash(finished, finished.mtime_ns, sha256)
            record = finished.model_dump_json().encode()
            if old is None and content is not None:
                self.store.put(key, record)
                return
            # Another worker may have stored one in the meantime, and a person may have corrected it.
            if self.store.put_new(key, record) if content is None else put_if_same(self.store, key, record, content):
                return
        raise _contested(transcript.recording)

    def _old(self, key: str, content: bytes) -> Transcript | None:
        with contextlib.suppress(NewerRecord):
            return self._typed.parse(Transcript, key, content)
        return None

    def _with_corrections(self, new: Transcript, old: Transcript) -> Transcript:
        """Return a new transcript with the corrections of the one that it replaces, also those in its text files."""
        if old.corrections[: len(new.corrections)] != new.corrections:  # it brings others, from another name
            return new
        if old.stem == new.stem and (edits := self.texts.edits(old, READABLE)):
            changes, contradicting = united(edits.items())
            if changes and not contradicting:
                old = with_changes(old, changes, by=HAND_EDIT, at=utc_now())
        return new.model_copy(update={"corrections": carried(old, new)}) if old.corrections else new

    def revise(
        self, recording: str, change: Callable[[Transcript], Transcript]
    ) -> tuple[Transcript, Transcript] | None:
        """Replace a transcript by a changed one; return both, or None if there is none.

        `change` is called again if another process has changed the record in the meantime.

        Raises: NewerRecord: if a newer version wrote the record. RetryableError: if others keep changing it.
        """
        key = transcript_key(recording)
        for _ in range(MAX_CONFLICTS):
            if (content := self.store.get(key)) is None:
                return None
            if (old := self._typed.parse(Transcript, key, content)) is None:
                return None
            new = change(old)
            if new == old or put_if_same(self.store, key, new.model_dump_json().encode(), content):
                return old, new
        raise _contested(recording)

    def amend(self, old: Transcript, change: Callable[[Transcript], Transcript]) -> Amended:
        """Change what a transcript says besides its words, and write its text files again that nobody has edited.

        The texts come first: if this is interrupted, they are found in their new state when it is repeated.
        `change` is called again if another process has changed the record in the meantime.
        """
        new = change(old)
        written, edited = self.texts.update(old, new, new.formats)

        def amended(current: Transcript) -> Transcript:
            is_same_work = (current.fingerprint, current.finished_at) == (old.fingerprint, old.finished_at)
            return change(current) if is_same_work else current  # else it was transcribed again in the meantime

        found = self.revise(new.recording, amended)
        if found and found[1] != new:
            more = self.texts.update(new, found[1], found[1].formats)
            written = tuple(dict.fromkeys((*written, *more.written)))
        return Amended(written, edited)

    def lay_out(self, old: Transcript, layout: Layout, formats: Iterable[FormatName]) -> tuple[str, ...]:
        """Give a transcript another layout, and return the keys of the text files that were written again in it.

        The texts come first: if this is interrupted, it is repeated. What a person has edited or laid out stays.
        """
        written = self.texts.lay_out(old, layout, formats)
        self.revise(old.recording, lambda current: current.model_copy(update={"layout": layout}))
        return written

    def content_hash(self, transcript: Provenance) -> ContentHash | None:
        """Return the hash of the content that was transcribed, or None if it is not known for this transcript."""
        if transcript.content_sha256:
            return _content_hash(transcript, transcript.mtime_ns, transcript.content_sha256)
        found = self._typed.load(ContentHash, hash_key(transcript.recording))
        if found and found == _content_hash(transcript, found.mtime_ns, found.sha256):
            return found
        return None

    def put_content_hash(self, transcript: Provenance, mtime_ns: int | None, sha256: str) -> None:
        """Record what was transcribed, and when the file with this content was last changed.

        The hash is not written durably: if it is lost, a scan computes it again.
        """
        self._typed.save(hash_key(transcript.recording), _content_hash(transcript, mtime_ns, sha256), durable=False)

    def disown(self, transcript: Provenance) -> None:
        """Mark a transcript as made from content that its recording no longer has, so that it settles no job.

        It stays until the new one replaces it, because it shows which text files are ours.
        """

        def disowned(found: Transcript) -> Transcript:
            if found.fingerprint != transcript.fingerprint:
                return found
            return found.model_copy(update={"fingerprint": f"{found.fingerprint}{REPLACED}"})

        with contextlib.suppress(NewerRecord):
            self.revise(transcript.recording, disowned)

    def orphan(self, key: str) -> Transcript | None:
        """Return the transcript under the key of a recording that is no longer in the source, or None."""
        return self._typed.load(Transcript, key)

    def rename(
        self, old: Transcript, recording: str, mtime_ns: int | None, stem: str, formats: tuple[FormatName, ...]
    ) -> None:
        """Move a transcript to its recording's new name, with its text files unchanged in case a person edited them."""
        new = old.model_copy(update={"recording": recording, "mtime_ns": mtime_ns, "stem": stem})
        there = self.texts.there(old, format_names())
        wanted = [fmt for fmt in formats if fmt not in there]
        moved: dict[FormatName, bytes] = {}
        if old.stem != stem:
            ours = {fmt for fmt, content in there.items() if is_same(content, old, fmt)}
            moved = {fmt: content for fmt, content in there.items() if fmt in ours.union(formats, old.formats)}
            named = [fmt for fmt in there if fmt in ours and _says_its_name(fmt, old, new)]
            for fmt in named:
                del moved[fmt]
            wanted += named
        # If the move is interrupted, this note tells the next scan where the texts are now and what is left at the old
        # place.
        self._typed.save(_renaming_key(recording), _Renaming(stem=stem, before=old.recording))
        for fmt, content in moved.items():
            self.texts.put_as(new, fmt, content)
        proof = self.content_hash(old)
        self.finish(new, wanted, sha256=proof.sha256 if proof else None)
        if old.stem == stem:  # only the extension was changed, which some texts state
            self.texts.update(old, new, there)
        self._leave(old, new)
        self.store.delete(_renaming_key(recording))

    def renamed_from(self, recording: str) -> str | None:
        """Return the former name of a recording whose transcript's move was interrupted, or None."""
        begun = self._typed.load(_Renaming, _renaming_key(recording))
        return begun.before if begun else None

    def end_rename(self, recording: str, before: str, *, is_gone: bool) -> None:
        """Finish a move that was interrupted after the transcript got its new name.

        `before`: see `renamed_from`. `is_gone`: no recording has the former name any more; otherwise the files left
        there belong to that recording.
        """
        new = self.provenance(recording)
        old = self.transcript(before) if is_gone else None
        if old and new and old.fingerprint == new.fingerprint:
            self._leave(old, new)
        self.store.delete(_renaming_key(recording))

    def _leave(self, old: Transcript, new: Provenance) -> None:
        """Remove the files that a transcript had before its move."""
        if old.stem != new.stem:
            self.texts.remove(old, new.stem, format_names())
        if not self.store.is_one(transcript_key(old.recording), transcript_key(new.recording)):
            self.store.delete(peaks_key(old.recording))
            self.store.delete(hash_key(old.recording))  # first: without the transcript, nobody would look for it
            self.store.delete(transcript_key(old.recording))

    def has_room(self, recording: str) -> bool:
        """Return whether the store accepts names as long as those of a recording's records."""
        return self.store.takes(transcript_key(recording)) and self.partial_results.has_room(recording)

    def require_room(self, recording: str) -> None:
        """Raise NameTooLong if the store would refuse the names of a recording's records."""
        if not self.has_room(recording):
            raise NameTooLong(
                "Its name is too long, because its records need longer names still. Shorten it or the names of "
                "its folders, or choose a DEST with a shorter path."
            )

    # Failures

    def fail(self, failure: Failure) -> None:
        """Record why a recording has no transcript."""
        self._typed.save(failure_key(failure.recording), failure)

    def failure(self, recording: str) -> Failure | None:
        """Return the failure record of a recording, or None. Raises: NewerRecord: if a newer version wrote it."""
        return self._typed.load_known(Failure, failure_key(recording))

    def failures(self) -> Iterator[Failure]:
        """Yield every failure record that this version can read."""
        yield from self._typed.each(Failure, self.store.walk(FAILURES))

    def forgive(self, recording: str) -> None:
        """Remove a failure record."""
        self.store.delete(failure_key(recording))

    def drop_leftovers(self, recording: str) -> None:
        """Remove a finished recording's partial results that are older than its transcript; later ones are of a redo.

        Where the store knows no ages, they stay.
        """
        if not isinstance(self.store, Ages):
            return
        finished_s, folder = self.store.age_s(transcript_key(recording)), parts_folder(recording)
        if finished_s is None:
            return
        names = [name for name in self.store.names(folder) if name != RENAMED]
        ages = map_concurrently(self.store.age_s, [folder + name for name in names], self.store.max_concurrency)
        old = [key[len(folder) :] for key, age in ages if (age_s := age()) is not None and age_s >= finished_s]
        self.partial_results.drop(recording, old)

    def count(self, folder: str) -> int:
        """Return the number of records in and below a folder, from names alone because there may be a million."""
        if self.store.max_concurrency > 1:  # remote storage lists every folder level at once, with no extra calls
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
        """Write a worker's activity. Nothing depends on it, so errors are ignored."""
        try:
            self._typed.save(f"{JOBS}{activity.worker}.json", activity, durable=False)
        except NightscribeError as error:
            log.debug("activity.unwritten", why=str(error))

    def activities(self) -> Iterator[Activity]:
        """Yield the activity of every worker, until the store fails."""
        with contextlib.suppress(NightscribeError):
            names = (name for name in sorted(self.store.names(JOBS)) if name.endswith(".json"))
            yield from self._typed.each(Activity, (JOBS + name for name in names))

    def put_run(self, run: Run) -> None:
        """Write the progress of a run, ignoring errors."""
        try:
            self._typed.save(RUN, run, durable=False)
        except NightscribeError as error:
            log.debug("run.unwritten", why=str(error))

    def last_run(self) -> Run | None:
        """Return the last or current run into this destination, or None."""
        return self._typed.load(Run, RUN)

    def forget_activities(self) -> None:
        """Remove the activities of workers that have ended, or that have not reported for an hour."""
        for name in self.store.names(JOBS):
            activity = self._typed.load(Activity, JOBS + name)
            if activity is None or has_ended(activity.worker) or silent_s(self.store, JOBS + name, activity) > SILENT_S:
                self.store.delete(JOBS + name)

    def silent_s(self, reporter: Activity | Run) -> float:
        """Return for how many seconds a worker or a run has not reported (see `partial_results.silent_s`)."""
        key = RUN if isinstance(reporter, Run) else f"{JOBS}{reporter.worker}.json"
        return silent_s(self.store, key, reporter)

    def leave(self, worker: str) -> None:
        """Remove a worker's activity, ignoring errors."""
        with contextlib.suppress(NightscribeError):
            self.store.delete(f"{JOBS}{worker}.json")


def schema_of(key: str) -> type[Stored] | None:
    """Return the class of the record under a key, or None if no record has such a key."""
    name = key.rpartition("/")[2]
    if key == RUN:
        return Run
    if key.startswith(PARTS):
        if name.endswith(CLAIM_SUFFIX):
            return _Renaming if key.endswith(RENAMED) else Claim
        return partial_schema(name)
    models: dict[str, type[Stored]] = {
        TRANSCRIPTS: Transcript,
        HASHES: ContentHash,
        FAILURES: Failure,
        JOBS: Activity,
        VOICES: Voice,
    }
    return next((models[tree] for tree in models if key.startswith(tree) and name.endswith(".json")), None)


def _contested(recording: str) -> RetryableError:
    return RetryableError(f"Other processes keep changing the record of {recording!r}.", code="storage_unreachable")


def _content_hash(transcript: Provenance, mtime_ns: int | None, sha256: str) -> ContentHash:
    return ContentHash(
        recording=transcript.recording,
        fingerprint=transcript.fingerprint,
        finished_at=transcript.finished_at,
        mtime_ns=mtime_ns,
        sha256=sha256,
    )


def _renaming_key(recording: str) -> str:
    return parts_folder(recording) + RENAMED


def _header(beginning: bytes) -> _Header | None:
    header, segments, _ = beginning.partition(SEGMENTS)
    if segments:
        with contextlib.suppress(ValidationError):
            return _Header.model_validate_json(header + b"}")
    return None


def _says_its_name(fmt: FormatName, old: Transcript, new: Transcript) -> bool:
    """Return whether a text differs by the name of its recording; False if this machine cannot write it."""
    try:
        return render(old, fmt) != render(new, fmt)
    except FormatError:
        return False
