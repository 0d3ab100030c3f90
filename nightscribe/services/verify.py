"""Check the records, texts, recordings and leftovers of a destination."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from pydantic import ValidationError

from nightscribe.director.outage import is_outage
from nightscribe.director.scan.classify import same_at_a_glance
from nightscribe.director.scan.identity import ContentIdentity
from nightscribe.services.events import OnEvent, Verifying, ignore
from nightscribe.services.integrity import is_damaged_text, time_fault
from nightscribe.services.run_record import LIVE_S
from nightscribe.services.verification.findings import Checked, Found, Mend, Problem, Verified
from nightscribe.services.verification.known_texts import KnownTexts
from nightscribe.services.verification.repairs import Repairs
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
    output_key,
    parts_folder,
    transcript_key,
    with_suffix,
)
from nightscribe.shared.destination.partial_results import CUTS, Claim
from nightscribe.shared.destination.records import RENAMED, REPLACED, Records, schema_of
from nightscribe.shared.errors import FormatError, NightscribeError, PermanentError, SetupError
from nightscribe.shared.formats.registry import get_format, is_same, render
from nightscribe.shared.model.activity import Run
from nightscribe.shared.model.content_hash import ContentHash
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import Provenance, Transcript
from nightscribe.shared.model.versioned import Stored, Versioned, stated_version
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.identity import has_ended
from nightscribe.shared.storage.base import Housekeeping, Location, RecordingSource, StorageOptions
from nightscribe.shared.storage.content import content_sha256
from nightscribe.shared.storage.fingerprint import covers_all
from nightscribe.shared.storage.registry import parse_location

TRIAL = f"{RECORDS_FOLDER}/trial-"
IN_HAND_S = 24 * 3600.0
"""During a run, only files older than this are known to be leftovers."""
FRESH_S = 3600.0
"""A younger temporary file may still have a writer."""
SILENT_S = 600.0
"""A worker that has been silent for longer is no longer active."""

T = TypeVar("T", bound=Stored)


def verify(
    dest: Location,
    source: Location | None = None,
    *,
    options: StorageOptions | None = None,
    repair: bool = False,
    on_event: OnEvent = ignore,
) -> Verified:
    """Check everything in a destination, and with `source` also that each recording is the one that was transcribed.

    With `repair`, mend what needs no transcription. No record and no text is ever deleted: a damaged record is moved
    below `.nightscribe/damaged/`, so that the next run does its recording again.

    Raises: RetryableError: if the destination or the source is unreachable. SetupError: if one cannot be opened.
    """
    return _Verification(dest, source, options or StorageOptions()).verify(repair=repair, on_event=on_event)


class _Verification:
    def __init__(self, dest: Location, source: Location | None, options: StorageOptions) -> None:
        self._dest, self._place = dest, source
        self._store = dest.open_store(options)
        self._records = Records(self._store)
        self._source = source.open_source(options, leave_out=dest) if source else None
        self._max_concurrency = max(self._store.max_concurrency, self._source.max_concurrency if self._source else 1)
        self._found: list[Found] = []
        self._repairs, self._texts = Repairs(self._records), KnownTexts(self._records)
        self._writes_hashes = False
        self._finished: dict[str, Transcript] = {}
        """Finished recordings on which new work was begun, by the folder of their parts, without segments."""

    def verify(self, *, repair: bool, on_event: OnEvent) -> Verified:
        at_work = self._is_at_work()
        parts = self._begun()
        corrected: list[str] = []
        n_transcripts = n_texts = n_recordings = n_hashed = n_unhashed = 0
        self._writes_hashes = repair and not at_work
        n = self._records.count(TRANSCRIPTS)
        for number, checked in enumerate(self._check_each(TRANSCRIPTS, self._check_transcript)):
            on_event(Verifying(number, n))
            self._found.extend(checked.found)
            corrected.extend(checked.corrected)
            n_texts += checked.n_texts
            n_recordings += checked.n_recordings
            n_hashed += checked.n_hashed
            n_unhashed += checked.n_unhashed
            if transcript := checked.transcript:
                n_transcripts += 1
                self._texts.remember(transcript.stem)
                if (folder := parts_folder(transcript.recording)) in parts:
                    self._finished[folder] = transcript.model_copy(update={"segments": ()})
        n_failures = sum(self._take(checked) for checked in self._check_each(FAILURES, self._check_failure))
        others = ((tree, self._check_other) for tree in (RUN, JOBS, VOICES))
        for tree, check in ((HASHES, self._check_hash), *others):
            for checked in self._check_each(tree, check):
                self._take(checked)
        n_unfinished = sum(self._check_begun(folder, names) for folder, names in parts.items())
        searches = not self._lies_in_source()
        if searches:
            self._found.extend(self._texts.strays())
        self._search_temporary()
        found = [each for each in self._found if not at_work or self._is_left_over(each)]
        if repair:
            at_work = at_work or self._is_at_work()
            found = [self._mended(each, at_work=at_work) for each in found]
        return Verified(
            dest=str(self._dest),
            source=str(self._place) if self._place else None,
            n_transcripts=n_transcripts,
            n_failures=n_failures,
            n_texts=n_texts,
            n_recordings=n_recordings,
            n_hashed=n_hashed,
            n_unhashed=n_unhashed,
            n_unfinished=n_unfinished,
            corrected=tuple(corrected),
            is_at_work=at_work,
            searched_texts=searches,
            problems=tuple(each.problem for each in found),
        )

    def _is_at_work(self) -> bool:
        last = self._last_run()
        if last is not None and last.ended_at is None and self._records.silent_s(last) < LIVE_S:
            return True
        # A process that is not found here may be one of another machine with the same name, if it reported just now.
        return any(
            self._records.silent_s(each) < (LIVE_S if has_ended(each.worker) else SILENT_S)
            for each in self._records.activities()
        )

    def _last_run(self) -> Run | None:
        try:
            return self._records.last_run()
        except NightscribeError as error:
            self._raise_outage(error)
            return None

    def _raise_outage(self, error: NightscribeError) -> None:
        if is_outage(error, self._max_concurrency):
            raise error

    # Records

    def _check_each(self, tree: str, check: Callable[[str, Checked], None]) -> Iterator[Checked]:
        """Check every file below a folder, or the one file of that key."""

        def look(key: str) -> Checked:
            checked = Checked()
            try:
                check(key, checked)
            except NightscribeError as error:
                self._raise_outage(error)
                checked.problem("unreadable", key, str(error))
            return checked

        keys: Iterable[str] = self._store.walk(tree) if tree.endswith("/") else (tree,)
        for _, looked in map_concurrently(look, keys, self._max_concurrency):
            yield looked()

    def _take(self, checked: Checked) -> bool:
        self._found.extend(checked.found)
        return not checked.found

    def _load(self, model: type[T], key: str, checked: Checked) -> T | None:
        """Return the record under a key; None if it is gone, or a problem was noted."""
        if (content := self._store.get(key)) is None:
            return None
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            version = stated_version(content)
            if version and issubclass(model, Versioned) and version > model.newest_version():
                why = f"A newer nightscribe wrote it (version {version}): update nightscribe to check it."
                checked.problem("record_newer", key, why)
                self._texts.remember_named(key)
                return None
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            why = f"It cannot be read: {first['msg']}{f' ({where})' if where else ''}."
            digest = hashlib.sha256(content).digest()
            checked.problem("record_damaged", key, why, lambda: self._repairs.set_aside(key, digest))
            self._texts.remember_named(key)
            return None

    def _check_transcript(self, key: str, checked: Checked) -> None:
        if schema_of(key) is None:
            checked.problem("stray", key, "No file of nightscribe is called that.")
            return
        transcript = self._load(Transcript, key, checked)
        if transcript is None or not self._is_in_place(key, transcript_key(transcript.recording), checked):
            return
        checked.transcript = transcript
        if fault := time_fault(transcript):
            checked.problem("times", key, f"{fault} To transcribe it again, add --redo to its run.")
        for fmt in transcript.formats:
            self._check_text(transcript, fmt, checked)
        if self._source:
            self._check_recording(self._source, transcript, checked)

    def _check_failure(self, key: str, checked: Checked) -> None:
        if schema_of(key) is None:
            checked.problem("stray", key, "No file of nightscribe is called that.")
        elif failure := self._load(Failure, key, checked):
            self._is_in_place(key, failure_key(failure.recording), checked)

    def _check_hash(self, key: str, checked: Checked) -> None:
        if schema_of(key) is None:
            checked.problem("stray", key, "No file of nightscribe is called that.")
            return
        content = self._load(ContentHash, key, checked)
        if content is None or not self._is_in_place(key, hash_key(content.recording), checked):
            return
        if self._store.ends(transcript_key(content.recording), 1, 0) is None:
            why = "It is the hash of a recording that has no transcript."
        else:
            transcript = self._records.provenance_at(transcript_key(content.recording))
            if transcript is None or transcript.fingerprint.endswith(REPLACED) or _is_of(content, transcript):
                return  # otherwise the record itself is a problem, or the next run replaces it
            why = "It is the hash of an earlier transcript."
        checked.found.append(Found(Problem("left_over", key, why), partial(self._repairs.remove, (key,)), (key,)))

    def _check_other(self, key: str, checked: Checked) -> None:
        if model := schema_of(key):
            self._load(model, key, checked)
        elif key.startswith(JOBS):
            checked.problem("stray", key, "No file of nightscribe is called that.")

    def _is_in_place(self, key: str, right: str, checked: Checked) -> bool:
        """Return whether a record has its expected name, or a name that the file system treats as the same."""
        if key == right or self._store.is_one(key, right):
            return True
        why = f"It is the record of another recording, whose name is {right!r}: a copy, or renamed by hand."
        digest = hashlib.sha256(self._store.get(key) or b"").digest()
        checked.problem("record_misplaced", key, why, lambda: self._repairs.set_aside(key, digest))
        return False

    def _check_text(self, transcript: Transcript, fmt: str, checked: Checked) -> None:
        key = output_key(transcript.stem, fmt)
        content = self._store.get(key)
        if (known := get_format(fmt)) is None:
            why = f"The format {fmt!r} is not installed here, so it cannot be compared with its record."
            checked.problem("text_unchecked", key, why)
        elif content is None:
            if self._is_moving(transcript, key):
                return
            checked.problem("text_missing", key, "It is missing.", lambda: self._write_missing(transcript, fmt))
        else:
            checked.n_texts += 1
            if is_same(content, transcript, fmt):
                return
            if is_damaged_text(content, render(transcript, fmt), known.content_type):
                why = "It is damaged, not what its record says. Delete it, and the next run writes it again."
                checked.problem("text_damaged", key, why)
            else:
                checked.corrected.append(key)

    def _is_moving(self, transcript: Transcript, key: str) -> bool:
        """Return whether a director is renaming the recording at this moment, so that its record or text has moved."""
        return self._records.provenance(transcript.recording) is None or self._store.get(key) is not None

    def _write_missing(self, transcript: Transcript, fmt: str) -> str | None:
        if self._records.provenance(transcript.recording) is None:  # it has since been renamed or set aside
            return None
        with suppress(FormatError):
            self._records.texts.put_missing(transcript, [fmt])
            return "Written again from its record."
        return None

    # Recordings

    def _check_recording(self, source: RecordingSource, transcript: Transcript, checked: Checked) -> None:
        path = transcript.recording
        try:
            now = source.stat(path)
            fingerprint = source.fingerprint(now)
            known = self._records.content_hash(transcript)
            whole = content_sha256(source, path) if known else None
        except PermanentError as error:
            checked.problem("recording_missing", path, f"Its recording is not to be found: {error}")
            return
        except (NightscribeError, OSError) as error:
            if isinstance(error, NightscribeError):
                self._raise_outage(error)
            checked.problem("recording_unreadable", path, f"The recording cannot be read: {error}")
            return
        checked.n_recordings += 1
        if same_at_a_glance(now, transcript) is False or fingerprint != transcript.fingerprint:
            why = "The recording has changed since it was transcribed; the next run transcribes it again."
            checked.problem("recording_changed", path, why)
        elif known is None and now.mtime_ns is not None and now.mtime_ns == transcript.mtime_ns:
            self._add_hash(source, now, transcript, checked)
        elif known and whole != known.sha256:
            why = (
                "The recording has changed in its middle since it was transcribed: it is damaged, or another one. "
                "If it is right as it is, transcribe it with --redo."
            )
            checked.problem("recording_changed", path, why)

    def _add_hash(self, source: RecordingSource, now: Recording, transcript: Transcript, checked: Checked) -> None:
        """Write the hash of a recording that is certainly the one that was transcribed, or count that it is missing."""
        if covers_all(now.size):
            return
        identity = ContentIdentity(source, self._records)
        if self._writes_hashes and identity.add_missing([(now, transcript)], math.inf):
            checked.n_hashed += 1
        else:
            checked.n_unhashed += 1

    # Unfinished work

    def _begun(self) -> dict[str, list[str]]:
        """Return the names of the files of each recording on which work has begun, by folder."""
        begun: dict[str, list[str]] = defaultdict(list)
        for key in self._store.walk(PARTS):
            folder, _, name = key.rpartition("/")
            begun[f"{folder}/"].append(name)
        return begun

    def _check_begun(self, folder: str, names: list[str]) -> bool:
        """Check the files of one recording. Returns: whether it is unfinished."""
        checked = Checked()
        loaded = {}
        for name in names:
            key = folder + name
            if (model := schema_of(key)) is None:
                checked.problem("stray", key, "No file of nightscribe is called that.")
                continue
            try:
                loaded[name] = self._load(model, key, checked)
            except NightscribeError as error:
                self._raise_outage(error)
                checked.problem("unreadable", key, str(error))
            if isinstance(claim := loaded.get(name), Claim):
                self._texts.remember(claim.stem)
        self._take(checked)
        keys = tuple(folder + name for name in names)
        finished = self._finished.get(folder)
        recording = finished.recording if finished else folder.removeprefix(PARTS).removesuffix("/")
        if (rest := loaded.pop(RENAMED, None)) is not None:
            self._note_rename(folder, recording, getattr(rest, "before", ""))
        if not loaded:
            return False
        cuts = loaded.get(CUTS)
        if finished and (cuts is None or getattr(cuts, "fingerprint", None) == finished.fingerprint):
            what = "Parts or claims are left of a recording that is finished."
            self._found.append(Found(Problem("left_over", folder, what), lambda: self._repairs.remove(keys), keys))
            return False
        if not finished and self._is_gone(recording):
            what = "Parts or claims are left of a recording that is no longer in the source."
            mend = partial(self._repairs.set_all_aside, keys)
            self._found.append(Found(Problem("left_over", folder, what), mend, keys))
            return False
        return True

    def _note_rename(self, folder: str, recording: str, before: str) -> None:
        what = f"A rename from {before!r} was not finished; the next run finishes it."
        mend = (lambda: self._end_rename(recording, before)) if folder in self._finished else None
        self._found.append(Found(Problem("rename_unfinished", folder + RENAMED, what), mend, (folder + RENAMED,)))

    def _end_rename(self, recording: str, before: str) -> str | None:
        is_complete = self._records.provenance(before) is None
        if not is_complete and self._source is None:
            return None  # only the source can tell whether a recording with that name exists again
        self._records.end_rename(recording, before, is_gone=is_complete or self._is_gone(before))
        return "Finished."

    def _is_gone(self, recording: str) -> bool:
        """Return whether a recording is known to be no longer in the source."""
        if self._source is None or with_suffix(recording, "x" * 40) != recording + "x" * 40:  # its name was shortened
            return False
        try:
            self._source.stat(recording)
        except PermanentError:
            return True
        except NightscribeError as error:
            self._raise_outage(error)
        return False

    # Leftover files

    def _lies_in_source(self) -> bool:
        """Return whether recordings and texts share a folder, where a text may belong to anyone."""
        place = self._place
        if place is None and (last := self._last_run()):
            with suppress(SetupError):
                place = parse_location(last.source)
        if place is None:
            return False
        if place.local_path and self._dest.local_path:
            one, other = place.local_path.resolve(), self._dest.local_path.resolve()
            return one.is_relative_to(other) or other.is_relative_to(one)
        one_name, other_name = (str(each).rstrip("/") + "/" for each in (place, self._dest))
        return one_name.startswith(other_name) or other_name.startswith(one_name)

    def _search_temporary(self) -> None:
        if not isinstance(self._store, Housekeeping):
            return
        trials = (f"{RECORDS_FOLDER}/{name}" for name in self._store.names(f"{RECORDS_FOLDER}/"))
        for key in (*self._store.temporary_files(), *(key for key in trials if key.startswith(TRIAL))):
            why = "It is a temporary file that nobody seems to be writing."
            self._found.append(Found(Problem("temporary_file", key, why), self._remover(key), (key,)))

    def _remover(self, key: str) -> Mend:
        return lambda: self._repairs.remove((key,)) if self._is_older((key,), FRESH_S) else None

    def _is_left_over(self, found: Found) -> bool:
        return not found.left_over or self._is_older(found.left_over, IN_HAND_S)

    def _is_older(self, keys: Iterable[str], than_s: float) -> bool:
        if not isinstance(self._store, Housekeeping):
            return False
        return all((age_s := self._store.age_s(key)) is None or age_s > than_s for key in keys)

    # Repairs

    def _mended(self, found: Found, *, at_work: bool) -> Found:
        if found.mend is None or (at_work and not (found.left_over and self._is_left_over(found))):
            return found
        try:
            done = found.mend()
        except NightscribeError as error:
            self._raise_outage(error)
            done = None
        return replace(found, problem=replace(found.problem, mended=done))


def _is_of(content: ContentHash, transcript: Provenance) -> bool:
    return (content.fingerprint, content.finished_at) == (transcript.fingerprint, transcript.finished_at)
