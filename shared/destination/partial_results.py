"""Unfinished work on recordings: the results of their slices, and which worker has claimed which slice."""

from collections.abc import Collection

from nightscribe.shared.destination.json_store import JsonStore, NewerRecord
from nightscribe.shared.destination.keys import JOBS, parts_folder
from nightscribe.shared.errors import PermanentError, RetryableError
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.jobs import Cuts, Job, RelativePath, Slice
from nightscribe.shared.model.record import Stored
from nightscribe.shared.model.transcript import Part, utc_now
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.storage.base import TranscriptStore

PART = ".json"
CLAIM_SUFFIX = ".begun"
CUTS = "cuts.json"

ID_CHARS, MAX_INDEX = 32, 9999  # the longest that the name of a part can have


class _Cuts(Stored):
    """Where the recording with this fingerprint was cut."""

    fingerprint: str
    cuts: Cuts


class Claim(Stored):
    """Says which worker began a slice with which message, and where the text files of its recording go."""

    stem: RelativePath
    worker: str
    message: str


def partial_schema(name: str) -> type[Stored] | None:
    """Return what a file of that name, in the folder of an unfinished recording, must hold; None if it is not ours."""
    if name.endswith(CLAIM_SUFFIX):
        return Claim
    if name == CUTS:
        return _Cuts
    return Part if name.endswith(PART) else None


class NewerPart(RetryableError):
    """A newer release has transcribed a slice: its part must not be replaced or removed.

    Retryable, because the next worker to receive the job may be of that release.
    """

    code = "newer_record"


class PartialResults:
    """Reads and writes the folder of each unfinished recording.

    A note of a newer release (a claim, cut points) counts as absent. A part of one never does: see `NewerPart`.
    """

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store
        self._typed = JsonStore(store)

    def kept(self, recordings: Collection[str]) -> dict[str, frozenset[str]]:
        """Return the names of the files kept of unfinished work on each recording; mostly there are none.

        By these names, callers save the calls of `get`, `claimed_by` and `drop` that would find nothing.
        """
        folders = {parts_folder(recording): recording for recording in recordings}
        return {folders[folder]: frozenset(names) for folder, names in self._store.names_in(folders).items()}

    def claim(self, job: Job, slice_: Slice, *, worker: str, message: str, is_first: bool = False) -> bool:
        """Write down whose message holds a slice, and where the text files of its recording will go.

        `is_first`: write nothing if another worker has claimed it meanwhile. Returns whether the claim is written.
        """
        key, claim = self._key(job, slice_, CLAIM_SUFFIX), Claim(stem=slice_.stem, worker=worker, message=message)
        if is_first:
            return self._store.put_new(key, claim.model_dump_json().encode())
        self._typed.save(key, claim)
        return True

    def claimed_by(self, job: Job, slice_: Slice, *, besides: str, for_s: float) -> str | None:
        """Return the worker that claimed this slice with another message and has reported in the last `for_s` seconds.

        Should it die, its message comes back by itself, so the caller may leave the slice out.
        """
        claim = self._typed.load(Claim, self._key(job, slice_, CLAIM_SUFFIX))
        if claim is None or claim.message == besides:
            return None
        activity = self._typed.load(Activity, f"{JOBS}{claim.worker}.json")
        if activity is None or activity.message != claim.message:
            return None
        return claim.worker if (utc_now() - activity.updated_at).total_seconds() < for_s else None

    def release(self, job: Job, slice_: Slice) -> None:
        """Remove the claim on a slice."""
        self._store.delete(self._key(job, slice_, CLAIM_SUFFIX))

    def put(self, job: Job, slice_: Slice, part: Part) -> None:
        """Keep the result of a slice until the whole recording is done."""
        self._typed.save(self._key(job, slice_), part)

    def get(self, job: Job, slice_: Slice) -> Part | None:
        """Return the kept result of a slice, or None if there is none or it is damaged.

        Raises: NewerPart: if a newer release transcribed it.
        """
        try:
            return self._typed.load_known(Part, self._key(job, slice_))
        except NewerRecord as error:
            raise NewerPart(f"Part of it was transcribed by a newer nightscribe: {error}") from None

    def all(self, job: Job, slice_: Slice) -> list[Part] | None:
        """Return the results of all slices of the recording in their order, or None while one is missing.

        Raises: PermanentError: if one is damaged; it is removed. NewerPart: if a newer release transcribed one.
        """
        if len(self.stored(job, slice_)) < slice_.count:  # names are read quickly, and parts may be long
            return None
        found = []
        for index in range(slice_.count):
            each = slice_.model_copy(update={"index": index})
            part = self.get(job, each)
            if part is None:
                key = self._key(job, each)
                if self._store.get(key) is None:  # another worker has just put them together and removed them
                    return None
                self._store.delete(key)  # or its name would promise a result to all who come later
                raise PermanentError(
                    f"What was transcribed of it before cannot be read any more ({key!r}). Try it again (nightscribe "
                    "retry): only that stretch is done again. Is the disk failing?",
                    code="part_damaged",
                )
            found.append(part)
        return found

    def stored(self, job: Job, slice_: Slice) -> frozenset[int]:
        """Return the indices of the slices whose results are in store."""
        before = f"{job.part_id(slice_)}-"
        names = self._store.names(parts_folder(slice_.recording))
        indices = (name[len(before) : -len(PART)] for name in names if name.startswith(before) and name.endswith(PART))
        return frozenset(int(index) for index in indices if index.isdecimal())  # a sync tool's copies have other names

    def keep_cuts(self, recording: str, fingerprint: str, cuts: tuple[float, ...]) -> None:
        """Write down where a recording is cut: a later run that cuts it there again finds the parts of this one."""
        self._typed.save(parts_folder(recording) + CUTS, _Cuts(fingerprint=fingerprint, cuts=cuts))

    def kept_cuts(self, recording: str, fingerprint: str) -> tuple[float, ...] | None:
        """Return where an unfinished recording was cut, if that was for the same fingerprint."""
        kept = self._typed.load(_Cuts, parts_folder(recording) + CUTS)
        return kept.cuts if kept and kept.fingerprint == fingerprint else None

    def claimed_stem(self, recording: str) -> str | None:
        """Return where the text files of a recording go that somebody is working on: files found there are ours."""
        folder = parts_folder(recording)
        for name in self._store.names(folder):
            if name.endswith(CLAIM_SUFFIX) and (claim := self._typed.load(Claim, folder + name)):
                return claim.stem
        return None

    def reserve(self, recording: str, stem: str) -> None:
        """Note where the text files go of a recording that must be done again: those that are there are ours."""
        claim = Claim(stem=stem, worker="", message="")
        self._typed.save(f"{parts_folder(recording)}again{CLAIM_SUFFIX}", claim)

    def drop(self, recording: str, names: Collection[str] | None = None) -> None:
        """Remove the parts of a finished recording, with all options, or only the files with these names."""
        folder = parts_folder(recording)
        if names is None:
            names = self._store.names(folder)
        for _, deleted in map_concurrently(
            lambda name: self._store.delete(folder + name), names, self._store.max_concurrency
        ):
            deleted()

    def has_room(self, recording: str) -> bool:
        """Return whether the store takes the names that the parts of a recording would have."""
        return self._store.takes(f"{parts_folder(recording)}{'0' * ID_CHARS}-{MAX_INDEX}{CLAIM_SUFFIX}")

    @staticmethod
    def name(job: Job, slice_: Slice, kind: str = PART) -> str:
        """Return the name of the file with the result of a slice or, with CLAIM_SUFFIX, of the claim on it."""
        return f"{job.part_id(slice_)}-{slice_.index}{kind}"

    def _key(self, job: Job, slice_: Slice, kind: str = PART) -> str:
        return parts_folder(slice_.recording) + self.name(job, slice_, kind)
