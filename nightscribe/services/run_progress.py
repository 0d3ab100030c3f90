"""Count a run's progress and estimate what remains, from the director's events. Views read the result."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from typing import NamedTuple

from nightscribe.director.backlog import Growing, PartStored, Settled
from nightscribe.director.plan.bundles import JOB_S, LONGEST
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.scan.scanner import Scan
from nightscribe.shared.destination.keys import output_key
from nightscribe.shared.errors import UNKNOWN
from nightscribe.shared.model.activity import UNREADABLE_KEPT, Activity
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.paths import printable
from nightscribe.shared.model.recording import Recording, Unreadable
from nightscribe.shared.model.transcript import Flag

STALE_AFTER_S = 300.0
MAX_LISTED = 10_000
"""Finished recordings that a run remembers; it may do a million in a week."""


class FailedRecording(NamedTuple):
    """A recording without a transcript."""

    recording: str
    reason: str
    """One plain sentence."""
    code: str = UNKNOWN
    """What kind of failure it is, for programs (docs/failure-codes.md)."""


class Flagged(NamedTuple):
    """A transcript that a person may want to look at."""

    recording: str
    flags: tuple[Flag, ...]
    text: str
    """Its text file in the destination."""
    confidence: float | None = None
    """Expected share of right words where the text is in doubt."""


class Finished(NamedTuple):
    """A recording that was done in this run."""

    recording: str
    text: str
    """The text file that is best to read, in the destination."""
    length_s: float
    language: str | None = None
    flags: tuple[Flag, ...] = ()


# The best to read first; a browser shows each of these.
READ_BEST: tuple[FormatName, ...] = ("html", "pdf", "paragraphs", "txt")


@dataclass
class RunProgress:
    """One run from its scan to its end. `now` is a clock in seconds."""

    scan: Scan
    lengths: LengthEstimate
    job_s: float = JOB_S
    done: int = 0
    done_audio_s: float = 0.0
    failed: list[Failure] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    """The first `MAX_LISTED` recordings that are done."""
    flagged: list[Flagged] = field(default_factory=list)
    languages: Counter[str] = field(default_factory=Counter)
    activities: list[Activity] = field(default_factory=list)
    working_since: float | None = None
    forgotten: tuple[str, ...] = ()
    """Recordings whose transcripts were deleted because of their age."""

    def __post_init__(self) -> None:
        self._open = dict(self.scan.missing.sized())
        self._parts_s: dict[str, float] = {}
        self.n_settled = 0
        for path, size in self._open.items():
            self.lengths.expect(path, size)

    def count(self, event: Settled | PartStored | Growing) -> None:
        """Count an event of the director."""
        match event:
            case Settled():
                self.settle(event)
            case PartStored():
                self.store_part(event)

    def settle(self, settled: Settled) -> None:
        """Count a recording that is done or has failed."""
        recording, result = settled.missing.recording, settled.result
        self.n_settled += 1
        del self._open[recording.path]
        self._parts_s.pop(recording.path, None)
        self.lengths.settle(recording.path, recording.size)
        if isinstance(result, Unreadable):
            self.scan.unreadable.append(result)
            return
        if isinstance(result, Failure):
            self.failed.append(result)
            return
        self.done += 1
        self.done_audio_s += result.decoded_s
        self.lengths.learn(recording.path, recording.size, result.decoded_s)
        if result.language:
            self.languages[result.language] += 1
        text = output_key(result.stem, _best_to_read(result.formats))
        if len(self.finished) < MAX_LISTED:
            done = Finished(recording.path, text, result.decoded_s, result.language, result.flags)
            self.finished.append(done)
        if result.flags:
            self.flagged.append(Flagged(recording.path, result.flags, text, result.confidence))

    def store_part(self, stored: PartStored) -> None:
        """Count a finished slice of a recording that has unfinished ones."""
        path = stored.missing.recording.path
        self._parts_s[path] = self._parts_s.get(path, 0.0) + stored.audio_s

    def observe(self, activities: Iterable[Activity], now: float) -> None:
        """Update the progress from the workers' current reports."""
        open_ones = sorted((a for a in activities if a.recording in self._open), key=lambda a: a.updated_at)
        if open_ones:
            # A worker that died has left its last report behind.
            latest = open_ones[-1].updated_at
            open_ones = [a for a in open_ones if (latest - a.updated_at).total_seconds() < STALE_AFTER_S]
        self.activities = sorted(open_ones, key=lambda a: a.worker)
        if self.working_since is None and (self.activities or self.n_settled):
            self.working_since = now

    def foresee(self, recording: Recording, length_s: float) -> None:
        """Use the probed length of a recording."""
        if recording.path in self._open:
            self.lengths.foresee(recording.path, recording.size, length_s)

    @property
    def n_total(self) -> int:
        """Return the number of recordings that were missing when the run began."""
        return len(self.scan.missing)

    @property
    def n_left(self) -> int:
        """Return the number of recordings that are neither done nor failed."""
        return self.n_total - self.n_settled

    @property
    def failures(self) -> list[FailedRecording]:
        """Return every recording without a transcript: failed in this run, in earlier runs, or unreadable."""
        recorded = [*self.failed, *self.scan.failed_before]
        return [
            *(FailedRecording(each.recording, each.reason, each.code) for each in recorded),
            *(FailedRecording(each.path, each.reason) for each in self.scan.unreadable),
        ]

    @property
    def all_done(self) -> bool:
        """Return whether every recording has a transcript, not counting those that were skipped."""
        return not self.failures

    @property
    def heard_s(self) -> float:
        """Return the seconds of sound transcribed so far, including unfinished recordings."""
        return self.done_audio_s + sum(self._parts_s.values()) + sum(a.done_s for a in self.activities)

    @property
    def total_s(self) -> float | None:
        """Return the estimated seconds of sound in all of this run's recordings; None while nothing is known."""
        pending_s = self.lengths.pending_s
        return None if pending_s is None else max(self.heard_s, self.done_audio_s + pending_s)

    def is_open(self, path: str) -> bool:
        """Return whether a recording of this run is neither done nor failed."""
        return path in self._open

    def length_s(self, path: str) -> float | None:
        """Return the estimated length of one of this run's recordings; None once it is settled."""
        size = self._open.get(path)
        return None if size is None else self.lengths.seconds(path, size)

    def longest(self, at_most: int) -> list[tuple[str, float | None]]:
        """Return the recordings that are probably the longest, each with its estimated length."""
        each = ((path, self.lengths.seconds(path, size), size) for path, size in self._open.items())
        first = nsmallest(at_most, each, key=lambda found: (-(found[1] or 0.0), -found[2], found[0]))
        return [(path, seconds) for path, seconds, _ in first]

    def work_s(self, path: str) -> float | None:
        """Return the estimated length of what one worker transcribes: the whole recording, or a slice."""
        length_s = self.length_s(path)
        return length_s if length_s is None or length_s <= LONGEST * self.job_s else self.job_s

    def speed(self, now: float) -> float | None:
        """Return the seconds of sound that all workers together transcribe a second; None before anything is done."""
        if self.working_since is None or not self.heard_s or now <= self.working_since:
            return None
        return self.heard_s / (now - self.working_since)

    def left_s(self, now: float) -> float | None:
        """Return the estimated seconds until all is done, at the present speed."""
        speed, total_s = self.speed(now), self.total_s
        return (total_s - self.heard_s) / speed if speed and total_s is not None else None

    def figures(self, now: float) -> dict[str, object]:
        """Return the figures as fields of `shared.model.activity.Run`."""
        return {
            "n_total": self.n_total,
            "n_done": self.done,
            "n_failed": self.n_settled - self.done,
            "total_s": _tenths(self.total_s),
            "heard_s": _tenths(self.heard_s),
            "speed": _tenths(self.speed(now)),
            "left_s": _tenths(self.left_s(now)),
            **unreadable_figures(self.scan.unreadable),
        }


def _best_to_read(formats: Collection[FormatName]) -> FormatName:
    """Return the format that a person should open; a record written by another tool may name none."""
    return next((fmt for fmt in READ_BEST if fmt in formats), next(iter(formats), "txt"))


def unreadable_figures(unreadable: Collection[Unreadable]) -> dict[str, object]:
    """Return what could not be read as fields of `shared.model.activity.Run`."""
    some = islice(unreadable, UNREADABLE_KEPT)
    each = tuple(Unreadable(printable(item.path), printable(item.reason)) for item in some)
    return {"n_unreadable": len(unreadable), "unreadable": each}


def _tenths(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
