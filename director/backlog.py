"""Hold the missing recordings, and define their outcomes."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.paths import without_suffix
from nightscribe.shared.model.recording import Recording, Unreadable
from nightscribe.shared.model.transcript import Provenance

UNKNOWN_TIME = -(2**63)


@dataclass(frozen=True, slots=True)
class Missing:
    """A recording to transcribe, with the place of its text files."""

    recording: Recording
    stem: str
    only_speakers: bool = False
    """Its words are finished, and only the labels of its speakers are missing."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A recording with an outcome: a transcript, a failure record, or the reason why it cannot be read."""

    missing: Missing
    result: Provenance | Failure | Unreadable


@dataclass(frozen=True, slots=True)
class Growing:
    """A recording that has changed since the scan, in its new state; it may still be being written."""

    missing: Missing


@dataclass(frozen=True, slots=True)
class PartStored:
    """A transcribed slice of a recording that is not finished yet."""

    missing: Missing
    audio_s: float


class Backlog:
    """Missing recordings in the order in which they were found.

    Kept in columns, since a million objects would fill the memory.
    """

    def __init__(self, missing: Iterable[Missing] = ()) -> None:
        self._paths: list[str] = []
        self._sizes = array("q")
        self._times = array("q")
        self._unusual_stems: dict[int, str] = {}
        self._only_speakers: set[int] = set()
        self.extend(missing)

    def extend(self, missing: Iterable[Missing]) -> None:
        """Add recordings at the end."""
        for each in missing:
            self.append(each)

    def append(self, missing: Missing) -> None:
        """Add a recording at the end."""
        recording = missing.recording
        if missing.stem != without_suffix(recording.path):
            self._unusual_stems[len(self._paths)] = missing.stem
        if missing.only_speakers:
            self._only_speakers.add(len(self._paths))
        self._paths.append(recording.path)
        self._sizes.append(recording.size)
        self._times.append(UNKNOWN_TIME if recording.mtime_ns is None else recording.mtime_ns)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, at: int) -> Missing:
        path, mtime_ns = self._paths[at], self._times[at]
        recording = Recording(path, self._sizes[at], None if mtime_ns == UNKNOWN_TIME else mtime_ns)
        return Missing(recording, self._unusual_stems.get(at) or without_suffix(path), at in self._only_speakers)

    def __iter__(self) -> Iterator[Missing]:
        return map(self.__getitem__, range(len(self)))

    @property
    def n_only_speakers(self) -> int:
        """Return the number of recordings of which only the labels of speakers are missing."""
        return len(self._only_speakers)

    def needs_only_speakers(self, at: int) -> bool:
        """Return whether only the labels of speakers are missing of the recording at this position."""
        return at in self._only_speakers

    def sized(self) -> Iterator[tuple[str, int]]:
        """Yield path and size (bytes) of each recording, without creating an object for it."""
        return zip(self._paths, self._sizes, strict=True)

    def without(self, taken: set[int]) -> "Backlog":
        """Return a backlog without the recordings at these positions."""
        return Backlog(self[at] for at in range(len(self)) if at not in taken)
