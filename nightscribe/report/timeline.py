"""Record what each worker did and how fast the run was, in a limited number of bins for a run of any length. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import TypeVar

from pydantic import Field

from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.versioned import Frozen

MAX_BINS = 400
UNSEEN_S = 120.0  # nothing is known about a longer pause: the machine slept, or the store was unreachable

_Number = TypeVar("_Number", int, float)


class Lane(Frozen):
    """The activity of one worker, across restarts, bin by bin."""

    busy: tuple[float, ...] = Field(description="Share of the time in which it held a job.")
    recordings: tuple[str | None, ...] = Field(description="The last recording that it was seen to work on.")
    deaths: tuple[int, ...] = Field(description="How often it died and was restarted.")

    @property
    def n_deaths(self) -> int:
        """Return the total number of deaths."""
        return sum(self.deaths)


class TimeLine(Frozen):
    """A run divided into equal bins; the last may be shorter because the run ended."""

    began_at: datetime
    ended_at: datetime
    bin_s: float
    speed: tuple[float, ...] = Field(description="Seconds of sound transcribed a second, all workers together.")
    lanes: tuple[Lane, ...] = Field(description="The workers, in the order of their log files.")

    @property
    def length_s(self) -> float:
        """Return the seconds from beginning to end."""
        return (self.ended_at - self.began_at).total_seconds()

    def at(self, bin_number: int) -> datetime:
        """Return when a bin begins; given the number of bins, return when the last one ends."""
        return min(self.ended_at, self.began_at + timedelta(seconds=bin_number * self.bin_s))


class _Lane:
    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.busy_s: list[float] = []
        self.recordings: list[str | None] = []
        self.deaths: list[int] = []

    def extend(self, n_bins: int) -> None:
        n_new = n_bins - len(self.busy_s)
        self.busy_s += [0.0] * n_new
        self.recordings += [None] * n_new
        self.deaths += [0] * n_new

    def halve(self) -> None:
        self.busy_s = _by_two(self.busy_s)
        self.deaths = _by_two(self.deaths)
        self.recordings = [
            later or earlier for earlier, later in zip_longest(self.recordings[::2], self.recordings[1::2])
        ]


class Sightings:
    """Observations of a run so far, in bins that grow with it. `now_s` is a clock in seconds."""

    def __init__(self, began_s: float) -> None:
        self._began_s = self._seen_s = began_s
        self._bin_s = 1.0
        self._heard_s = 0.0
        self._gains_s: list[float] = []
        self._lanes: list[_Lane] = []

    def observe(self, now_s: float, workers: Sequence[str], activities: Iterable[Activity], heard_s: float) -> None:
        """Record which workers are busy now.

        Args: workers: their current names by place; a new name in a place means that the worker died.
        heard_s: sound transcribed so far. It falls when work is lost, and only an increase over its maximum counts.
        """
        current = self._make_room(now_s)
        at_work = {activity.worker: activity.recording for activity in activities}
        since_s = max(self._seen_s, now_s - UNSEEN_S)
        for place, worker in enumerate(workers):
            if place == len(self._lanes):
                self._lanes.append(_Lane(worker))
            lane = self._lanes[place]
            lane.extend(len(self._gains_s))
            if lane.worker != worker:
                lane.deaths[current] += 1
                lane.worker = worker
            if worker in at_work:
                since = min(current, self._bin(since_s) + 1)  # the bin in which it was last seen has its name
                lane.recordings[since : current + 1] = [at_work[worker]] * (current + 1 - since)
                self._spread(lane.busy_s, since_s, now_s, now_s - since_s)
        self._spread(self._gains_s, since_s, now_s, max(0.0, heard_s - self._heard_s))
        self._heard_s = max(self._heard_s, heard_s)
        self._seen_s = max(self._seen_s, now_s)

    def drawn(self, began_at: datetime, now_s: float) -> TimeLine:
        """Return the time line until now; `began_at` is the time of day at which the run began."""
        last = self._make_room(now_s)
        for lane in self._lanes:
            lane.extend(last + 1)
        widths_s = [self._bin_s] * last + [max(1e-3, now_s - self._began_s - last * self._bin_s)]
        return TimeLine(
            began_at=began_at,
            ended_at=began_at + timedelta(seconds=now_s - self._began_s),
            bin_s=self._bin_s,
            speed=_rates(self._gains_s, widths_s),
            lanes=tuple(
                Lane(
                    busy=_rates(lane.busy_s, widths_s),
                    recordings=tuple(lane.recordings),
                    deaths=tuple(lane.deaths),
                )
                for lane in self._lanes
            ),
        )

    def _bin(self, at_s: float) -> int:
        return int((at_s - self._began_s) / self._bin_s)

    def _make_room(self, now_s: float) -> int:
        """Make sure that a bin for this moment exists. Returns: its number."""
        while self._bin(now_s) >= MAX_BINS:
            self._bin_s *= 2
            self._gains_s = _by_two(self._gains_s)
            for lane in self._lanes:
                lane.halve()
        current = self._bin(now_s)
        self._gains_s += [0.0] * (current + 1 - len(self._gains_s))
        return current

    def _spread(self, row: list[float], since_s: float, until_s: float, amount: float) -> None:
        """Distribute an amount over the bins of a period, in proportion to their overlap."""
        if until_s <= since_s:
            row[self._bin(until_s)] += amount
            return
        for number in range(self._bin(since_s), self._bin(until_s) + 1):
            begin_s = self._began_s + number * self._bin_s
            overlap_s = min(until_s, begin_s + self._bin_s) - max(since_s, begin_s)
            row[number] += amount * overlap_s / (until_s - since_s)


def _by_two(row: list[_Number]) -> list[_Number]:
    return [sum(row[at : at + 2]) for at in range(0, len(row), 2)]


def _rates(amounts: list[float], widths_s: list[float]) -> tuple[float, ...]:
    return tuple(round(amount / width_s, 2) for amount, width_s in zip(amounts, widths_s, strict=True))
