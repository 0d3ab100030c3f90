"""Work on recordings that is not finished: results of their slices, and who has which of them in hand."""

from collections.abc import Collection

from nightscribe.shared.destination.json_store import JsonStore
from nightscribe.shared.destination.keys import JOBS, parts_folder
from nightscribe.shared.errors import PermanentError
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.jobs import Cuts, Frozen, Job, RelativePath, Slice
from nightscribe.shared.model.transcript import Part, utc_now
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.storage.base import TranscriptStore

PART = ".json"
CLAIM_SUFFIX = ".begun"
CUTS = "cuts.json"

ID_CHARS, MAX_INDEX = 32, 9999  # when it is to be known how long names may be


class _Cuts(Frozen):
    """Where the sound of this fingerprint was cut."""

    fingerprint: str
    cuts: Cuts


class Claim(Frozen, extra="ignore"):
    """Work on a slice that was begun, with which message, and where the text files of its recording go."""

    stem: RelativePath
    worker: str
    message: str


class PartialResults:
    """What is in the folder of each unfinished recording. What a newer version has left there counts as absent."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store
        self._typed = JsonStore(store)

    def kept(self, recordings: Collection[str]) -> dict[str, frozenset[str]]:
        """The names of what is kept of unfinished work on each of these recordings, of which there is mostly nothing.

        `get`, `claimed_by` and `drop` need not be asked where these names are none of theirs.
        """
        folders = {parts_folder(recording): recording for recording in recordings}
        return {folders[folder]: frozenset(names) for folder, names in self._store.names_in(folders).items()}

    def claim(self, job: Job, slice_: Slice, *, worker: str, message: str, is_first: bool = False) -> bool:
        """Say whose message holds a slice, and where the text files will go that may soon be there.

        `is_first`: not if somebody else has said so meanwhile. Gives whether it is said.
        """
        key, claim = self._key(job, slice_, CLAIM_SUFFIX), Claim(stem=slice_.stem, worker=worker, message=message)
        if is_first:
            return self._store.put_new(key, claim.model_dump_json().encode())
        self._typed.save(key, claim)
        return True

    def claimed_by(self, job: Job, slice_: Slice, *, besides: str, for_s: float) -> str | None:
        """The worker that has this slice in hand with another message, and was heard of in the last `for_s`.

        Its message comes back by itself should it die, so that ours may be let go.
        """
        claim = self._typed.load(Claim, self._key(job, slice_, CLAIM_SUFFIX))
        if claim is None or claim.message == besides:
            return None
        activity = self._typed.load(Activity, f"{JOBS}{claim.worker}.json")
        if activity is None or activity.message != claim.message:
            return None
        return claim.worker if (utc_now() - activity.updated_at).total_seconds() < for_s else None

    def release(self, job: Job, slice_: Slice) -> None:
        """A slice is in nobody's hands any more."""
        self._store.delete(self._key(job, slice_, CLAIM_SUFFIX))

    def put(self, job: Job, slice_: Slice, part: Part) -> None:
        """Keep the result of a slice until the whole recording is done."""
        self._typed.save(self._key(job, slice_), part)

    def get(self, job: Job, slice_: Slice) -> Part | None:
        """The kept result of a slice."""
        return self._typed.load(Part, self._key(job, slice_))

    def all(self, job: Job, slice_: Slice) -> list[Part] | None:
        """The results of all slices of the recording in their order, or None while one is missing.

        Raises: PermanentError: if one is damaged, which is removed.
        """
        if len(self.stored(job, slice_)) < slice_.count:  # a look at the names, where each part may be long to read
            return None
        found = []
        for index in range(slice_.count):
            each = slice_.model_copy(update={"index": index})
            part = self.get(job, each)
            if part is None:
                key = self._key(job, each)
                if self._store.get(key) is None:  # whoever has just put them together has removed them
                    return None
                self._store.delete(key)  # or, by its name, it would be there for all who come later
                raise PermanentError(
                    f"What was transcribed of it before cannot be read any more ({key!r}). Try it again (nightscribe "
                    "retry): only that stretch is done again. Is the disk failing?"
                )
            found.append(part)
        return found

    def stored(self, job: Job, slice_: Slice) -> frozenset[int]:
        """Which slices of the recording have their results in store."""
        before = f"{job.part_id(slice_)}-"
        names = self._store.names(parts_folder(slice_.recording))
        indices = (name[len(before) : -len(PART)] for name in names if name.startswith(before) and name.endswith(PART))
        return frozenset(int(index) for index in indices if index.isdecimal())  # a sync tool's copies have other names

    def keep_cuts(self, recording: str, fingerprint: str, cuts: tuple[float, ...]) -> None:
        """Remember where a recording is cut: a later run that cuts it there again finds the parts of this one."""
        self._typed.save(parts_folder(recording) + CUTS, _Cuts(fingerprint=fingerprint, cuts=cuts))

    def kept_cuts(self, recording: str, fingerprint: str) -> tuple[float, ...] | None:
        """Where a recording was cut that is not finished."""
        kept = self._typed.load(_Cuts, parts_folder(recording) + CUTS)
        return kept.cuts if kept and kept.fingerprint == fingerprint else None

    def claimed_stem(self, recording: str) -> str | None:
        """Where the text files of a recording go whose work has begun and not ended: those that are there are ours."""
        folder = parts_folder(recording)
        for name in self._store.names(folder):
            if name.endswith(CLAIM_SUFFIX) and (claim := self._typed.load(Claim, folder + name)):
                return claim.stem
        return None

    def drop(self, recording: str, names: Collection[str] | None = None) -> None:
        """Remove the parts of a finished recording, and any left from earlier options, or what has these names."""
        folder = parts_folder(recording)
        if names is None:
            names = self._store.names(folder)
        for _, deleted in map_concurrently(
            lambda name: self._store.delete(folder + name), names, self._store.max_concurrency
        ):
            deleted()

    def has_room(self, recording: str) -> bool:
        """Whether the names of what is kept would be no longer than the store takes."""
        return self._store.takes(f"{parts_folder(recording)}{'0' * ID_CHARS}-{MAX_INDEX}{CLAIM_SUFFIX}")

    @staticmethod
    def name(job: Job, slice_: Slice, kind: str = PART) -> str:
        """Of the result of a slice, or with CLAIM_SUFFIX of the note of who has it in hand."""
        return f"{job.part_id(slice_)}-{slice_.index}{kind}"

    def _key(self, job: Job, slice_: Slice, kind: str = PART) -> str:
        return parts_folder(slice_.recording) + self.name(job, slice_, kind)
