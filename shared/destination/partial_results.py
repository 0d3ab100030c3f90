"""Store unfinished work on recordings: the results of their slices, and the claims of workers on slices."""

from collections.abc import Collection

from nightscribe.shared.destination.json_store import JsonStore, NewerRecord
from nightscribe.shared.destination.keys import JOBS, parts_folder
from nightscribe.shared.errors import PermanentError, RetryableError
from nightscribe.shared.model.activity import Activity, Run, WorkerName
from nightscribe.shared.model.jobs import Cuts, Job, RelativePath, Slice
from nightscribe.shared.model.transcript import Part, utc_now
from nightscribe.shared.model.versioned import Stored
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.storage.base import Ages, TranscriptStore

PART = ".json"
CLAIM_SUFFIX = ".begun"
CUTS = "cuts.json"

ID_CHARS, MAX_INDEX = 32, 99_999  # the longest id and index that a part's name can hold


class _Cuts(Stored):
    """The cut points of the recording with this fingerprint."""

    fingerprint: str
    cuts: Cuts


class Claim(Stored):
    """A note that names the worker that began a slice, its message, and the stem of the recording's text files."""

    stem: RelativePath
    worker: WorkerName
    message: str


def partial_schema(name: str) -> type[Stored] | None:
    """Return the class of the record with this name in an unfinished recording's folder, or None if it is not ours."""
    if name.endswith(CLAIM_SUFFIX):
        return Claim
    if name == CUTS:
        return _Cuts
    return Part if name.endswith(PART) else None


class NewerPart(RetryableError):
    """A newer release has transcribed a slice, so its part must not be replaced or removed.

    It is retryable because the next worker to receive the job may run that release.
    """

    code = "newer_record"


def silent_s(store: TranscriptStore, key: str, reporter: Activity | Run) -> float:
    """Return for how many seconds a process has not written its report, which lies under a key.

    The clock that dates the store's files decides, because the clocks of two machines may be hours apart. Only where
    the store knows no ages do they count.
    """
    age_s = store.age_s(key) if isinstance(store, Ages) else None
    return (utc_now() - reporter.updated_at).total_seconds() if age_s is None else age_s


class PartialResults:
    """Reads and writes the folder of each unfinished recording.

    Claims and cut points of a newer release are treated as missing, but its parts never are: see `NewerPart`.
    """

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store
        self._typed = JsonStore(store)

    def kept(self, recordings: Collection[str]) -> dict[str, frozenset[str]]:
        """Return the names of the files with unfinished work on each recording; usually there are none.

        With these names, callers avoid calls of `get`, `claimed_by` and `drop` that would find nothing.
        """
        folders = {parts_folder(recording): recording for recording in recordings}
        return {folders[folder]: frozenset(names) for folder, names in self._store.names_in(folders).items()}

    def claim(self, job: Job, slice_: Slice, *, worker: str, message: str, is_first: bool = False) -> bool:
        """Claim a slice for a worker and its message; return whether the claim was written.

        `is_first`: write nothing if another worker has claimed the slice in the meantime.
        """
        key, claim = self._key(job, slice_, CLAIM_SUFFIX), Claim(stem=slice_.stem, worker=worker, message=message)
        if is_first:
            return self._store.put_new(key, claim.model_dump_json().encode())
        self._typed.save(key, claim)
        return True

    def claim_on(self, job: Job, slice_: Slice) -> Claim | None:
        """Return the claim on a slice, or None if there is none."""
        return self._typed.load(Claim, self._key(job, slice_, CLAIM_SUFFIX))

    def claimed_by(self, job: Job, slice_: Slice, *, besides: str, for_s: float) -> str | None:
        """Return the worker that claimed this slice with another message and has reported in the last `for_s` seconds.

        The caller may skip the slice: if that worker dies, its message returns to the queue by itself.
        """
        claim = self.claim_on(job, slice_)
        if claim is None or claim.message == besides:
            return None
        key = f"{JOBS}{claim.worker}.json"
        activity = self._typed.load(Activity, key)
        if activity is None or activity.message != claim.message:
            return None
        return claim.worker if silent_s(self._store, key, activity) < for_s else None

    def release(self, job: Job, slice_: Slice) -> None:
        """Remove the claim on a slice."""
        self._store.delete(self._key(job, slice_, CLAIM_SUFFIX))

    def forget(self, job: Job, slice_: Slice) -> None:
        """Remove the results and claims of all slices of a recording that were made for this job and no other."""
        before = f"{job.part_id(slice_)}-"
        self.drop(
            slice_.recording, [n for n in self._store.names(parts_folder(slice_.recording)) if n.startswith(before)]
        )

    def put(self, job: Job, slice_: Slice, part: Part) -> None:
        """Keep the result of a slice until the whole recording is done."""
        self._typed.save(self._key(job, slice_), part)

    def get(self, job: Job, slice_: Slice) -> Part | None:
        """Return the stored result of a slice, or None if it is missing or damaged.

        Raises: NewerPart: if a newer release transcribed it.
        """
        try:
            return self._typed.load_known(Part, self._key(job, slice_))
        except NewerRecord as error:
            raise NewerPart(f"Part of it was transcribed by a newer nightscribe: {error}") from None

    def all(self, job: Job, slice_: Slice) -> list[Part] | None:
        """Return the results of all slices of the recording in order, or None while one is missing.

        Raises: PermanentError: if one is damaged; it is removed. NewerPart: if a newer release transcribed one.
        """
        if len(self.stored(job, slice_)) < slice_.count:  # listing names is fast, and parts may be long
            return None
        found = []
        for index in range(slice_.count):
            each = slice_.model_copy(update={"index": index})
            part = self.get(job, each)
            if part is None:
                key = self._key(job, each)
                if self._store.get(key) is None:  # another worker has just assembled and removed them
                    return None
                self._store.delete(key)  # otherwise its name would promise a result to later attempts
                raise PermanentError(
                    f"A part that was transcribed earlier can no longer be read ({key!r}). Retry the recording "
                    "(nightscribe retry); only that part is transcribed again. Check the disk if this recurs.",
                    code="part_damaged",
                )
            found.append(part)
        return found

    def stored(self, job: Job, slice_: Slice) -> frozenset[int]:
        """Return the indices of the slices whose results are stored."""
        before = f"{job.part_id(slice_)}-"
        names = self._store.names(parts_folder(slice_.recording))
        indices = (name[len(before) : -len(PART)] for name in names if name.startswith(before) and name.endswith(PART))
        return frozenset(int(index) for index in indices if index.isdecimal())  # ignores copies that sync tools make

    def keep_cuts(self, recording: str, fingerprint: str, cuts: tuple[float, ...]) -> None:
        """Store the cut points of a recording, so that a later run cuts it at the same points and finds these parts."""
        self._typed.save(parts_folder(recording) + CUTS, _Cuts(fingerprint=fingerprint, cuts=cuts))

    def kept_cuts(self, recording: str, fingerprint: str) -> tuple[float, ...] | None:
        """Return the cut points of an unfinished recording, or None if there are none for this fingerprint."""
        kept = self._typed.load(_Cuts, parts_folder(recording) + CUTS)
        return kept.cuts if kept and kept.fingerprint == fingerprint else None

    def claimed_stem(self, recording: str) -> str | None:
        """Return the stem of the text files of a claimed recording, or None; files found there are ours."""
        folder = parts_folder(recording)
        for name in self._store.names(folder):
            if name.endswith(CLAIM_SUFFIX) and (claim := self._typed.load(Claim, folder + name)):
                return claim.stem
        return None

    def reserve(self, recording: str, stem: str) -> None:
        """Note the stem of a recording to be transcribed again, so that its text files are recognized as ours."""
        claim = Claim(stem=stem, worker="", message="")
        self._typed.save(f"{parts_folder(recording)}again{CLAIM_SUFFIX}", claim)

    def drop(self, recording: str, names: Collection[str] | None = None) -> None:
        """Remove a finished recording's partial results for every set of options, or only the named files."""
        folder = parts_folder(recording)
        if names is None:
            names = self._store.names(folder)
        for _, deleted in map_concurrently(
            lambda name: self._store.delete(folder + name), names, self._store.max_concurrency
        ):
            deleted()

    def has_room(self, recording: str) -> bool:
        """Return whether the store accepts names as long as those of a recording's parts."""
        return self._store.takes(f"{parts_folder(recording)}{'0' * ID_CHARS}-{MAX_INDEX}{CLAIM_SUFFIX}")

    @staticmethod
    def name(job: Job, slice_: Slice, kind: str = PART) -> str:
        """Return the name of the file with the result of a slice or, with CLAIM_SUFFIX, with the claim on it."""
        return f"{job.part_id(slice_)}-{slice_.index}{kind}"

    def _key(self, job: Job, slice_: Slice, kind: str = PART) -> str:
        return parts_folder(slice_.recording) + self.name(job, slice_, kind)
