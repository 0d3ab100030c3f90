"""How far a run is: counts and estimates, fed by the director's events, read by the views."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from director.director import Settled
from director.estimate import LengthEstimate
from director.scan import Scan
from shared.sources import Recording
from shared.transcript import Activity, Failure, Flag


@dataclass
class Tally:
    """One run from its scan to its end. `now` is a clock in seconds."""

    scan: Scan
    lengths: LengthEstimate
    done: int = 0
    done_audio_s: float = 0.0
    failed: list[Failure] = field(default_factory=list)
    flagged: list[tuple[str, tuple[Flag, ...]]] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    working_since: float | None = None

    def __post_init__(self) -> None:
        self._sizes = {m.recording.path: m.recording.size for m in self.scan.missing}
        self._settled: set[str] = set()
        for path, size in self._sizes.items():
            self.lengths.expect(path, size)

    def settle(self, settled: Settled) -> None:
        """Count a recording that is done with."""
        recording, result = settled.missing.recording, settled.result
        self._settled.add(recording.path)
        self.lengths.settle(recording.path, recording.size)
        if isinstance(result, Failure):
            self.failed.append(result)
            return
        self.done += 1
        self.done_audio_s += result.decoded_s
        self.lengths.learn(recording.path, recording.size, result.decoded_s)
        if result.flags:
            self.flagged.append((recording.path, result.flags))

    def observe(self, activities: Iterable[Activity], now: float) -> None:
        """Take in what the workers say they are doing."""
        # One for each recording, the latest: a worker that died has left its own behind.
        latest = {a.recording: a for a in sorted(activities, key=lambda a: a.updated_at)}
        self.activities = [latest[path] for path in latest.keys() & self._sizes.keys() - self._settled]
        self.activities.sort(key=lambda a: a.worker)
        if self.working_since is None and (self.activities or self._settled):
            self.working_since = now

    def foresee(self, recording: Recording, length_s: float) -> None:
        """Take in how long a recording is that was looked into."""
        if recording.path not in self._settled:
            self.lengths.foresee(recording.path, recording.size, length_s)

    @property
    def n_total(self) -> int:
        """Recordings this run is to do."""
        return len(self._sizes)

    @property
    def n_settled(self) -> int:
        """Recordings done or failed."""
        return len(self._settled)

    @property
    def heard_s(self) -> float:
        """Sound transcribed so far, that of unfinished recordings included."""
        return self.done_audio_s + sum(a.done_s for a in self.activities)

    @property
    def total_s(self) -> float | None:
        """Sound in all of this run's recordings, as far as can be told."""
        pending_s = self.lengths.pending_s
        return None if pending_s is None else max(self.heard_s, self.done_audio_s + pending_s)

    def length_s(self, path: str) -> float | None:
        """The likely length of one of this run's recordings."""
        return self.lengths.seconds(path, self._sizes[path])

    def speed(self, now: float) -> float | None:
        """Seconds of sound a second, all workers together."""
        if self.working_since is None or not self.heard_s or now <= self.working_since:
            return None
        return self.heard_s / (now - self.working_since)

    def left_s(self, now: float) -> float | None:
        """Seconds until all is done, if it goes on like this."""
        speed, total_s = self.speed(now), self.total_s
        return (total_s - self.heard_s) / speed if speed and total_s is not None else None
