"""Compute from the event log what was lost, what was done twice and how long interrupted jobs waited. Pure."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from chaos.event_log import Event
from chaos.sound import Script, word_s
from nightscribe.shared.destination.keys import PARTS, TRANSCRIPTS
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX, PART
from nightscribe.shared.settings import Settings

SliceId = tuple[str, int]

RECOVERED_WITHIN = 1.5  # visibility timeouts
NOISE_S = 1.0  # what a busy machine may take from a free worker's receive to its first word about it


@dataclass
class _Delivery:
    """One message held by one worker."""

    who: str
    received: float
    slices: list[tuple[str, int, float, float | None]]
    count: int
    """How often it was received."""
    ended: float = inf
    ended_by: str = ""


@dataclass(frozen=True)
class _Window:
    """A window that was passed to the engine."""

    delivery: _Delivery
    slice_: SliceId
    began: float
    seconds: float
    spent_s: float


@dataclass
class Account:
    """Totals in engine seconds, and recoveries in visibility timeouts."""

    needed_s: float = 0.0
    lost_s: Counter[str] = field(default_factory=Counter)
    """Engine seconds whose result was never stored, by what happened to the worker."""
    double_s: Counter[str] = field(default_factory=Counter)
    """Engine seconds spent on what was stored already, or was held by another worker at that time."""
    interrupted: int = 0
    """Kills of workers that held unfinished slices."""
    recoveries: list[float] = field(default_factory=list)
    late: Counter[str] = field(default_factory=Counter)
    """Reasons of the recoveries that took too long; "" where none is known."""
    waited: list[float] = field(default_factory=list)
    """The part of each recovery that was spent waiting for any free worker."""
    stored_late: int = 0
    """Stores and deletes that a worker began after being stopped for longer than its lease."""
    examples: list[str] = field(default_factory=list)


class Accounting:
    """Build an `Account` from the events of a run."""

    def __init__(self, events: Iterable[Event], scripts: Sequence[Script], settings: Settings) -> None:
        self._timeout_s = settings.visibility_timeout_s
        self._max_receives = settings.max_receives
        self._words = {word: (each.name, word_s(at)) for each in scripts for at, word in enumerate(each.words)}
        self._events = sorted(events, key=lambda event: event.at)
        self._deliveries: list[_Delivery] = []
        self._in_hand: dict[str, _Delivery] = {}
        self._windows: list[_Window] = []
        self._stored: dict[SliceId, tuple[float, _Delivery]] = {}
        self._stopped: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._begun: dict[SliceId, list[float]] = defaultdict(list)
        self._asking: dict[str, float] = {}
        self._receives: list[tuple[float, float]] = []
        self._at: dict[str, list[float]] = defaultdict(list)
        self._died = {event.who: event.at for event in self._events if event.what == "killed"}
        self.account = Account()
        for event in self._events:
            self._take(event)
        self._work()
        self._recovery()

    def _take(self, event: Event) -> None:
        held = self._in_hand.get(event.who)
        self._at[event.what].append(event.at)
        if event.who in self._asking:  # whatever it does now, its receive has returned
            self._receives.append((self._asking.pop(event.who), event.at))
        match event.what:
            case "free":
                self._asking[event.who] = event.at
                if held:
                    self._end(held, event.at, "gave it up")
            case "received":
                slices = [(r, i, start_s, end_s) for r, i, start_s, end_s in event.fields["slices"]]
                held = _Delivery(event.who, event.at, slices, event.fields["count"])
                self._in_hand[event.who] = held
                self._deliveries.append(held)
            case "killed" if held:
                self._end(held, event.at, "killed")
            case "stopped":
                self._stopped[event.who].append((event.at, inf))
            case "went on":
                self._stopped[event.who][-1] = (self._stopped[event.who][-1][0], event.at)
            case "asked" if held and not held.ended_by:
                held.ended_by = "asked to end"
            case "hearing" if held:
                for word, seconds in event.fields["windows"]:
                    self._hear(event, held, word, seconds)
            case "storing" | "deleting" if held:
                self._check_late(event, held)
            case "stored" if held and event.fields["key"].startswith(PARTS):
                self._store(event, held)
            case "stored" if held and event.fields["key"].startswith(TRANSCRIPTS):
                # A recording that is not cut has no partial result.
                recording = event.fields["key"].removeprefix(TRANSCRIPTS).removesuffix(".json")
                self._stored.setdefault((recording, 0), (event.at, held))

    def _store(self, event: Event, held: _Delivery) -> None:
        recording, _, name = event.fields["key"].removeprefix(PARTS).rpartition("/")
        slice_, dot, kind = name.rpartition("-")[2].partition(".")
        if not slice_.isdecimal():
            return
        if dot + kind == PART:
            self._stored.setdefault((recording, int(slice_)), (event.at, held))
        elif dot + kind == CLAIM_SUFFIX:
            self._begun[recording, int(slice_)].append(event.at)

    def _hear(self, event: Event, held: _Delivery, word: str, seconds: float) -> None:
        recording, at_s = self._words[word]
        slice_ = next(
            (r, i) for r, i, start_s, end_s in held.slices if r == recording and start_s <= at_s < (end_s or inf)
        )
        spent_s = min(seconds, max(0.0, self._died.get(event.who, inf) - event.at))
        self._windows.append(_Window(held, slice_, event.at, seconds, spent_s))

    def _end(self, held: _Delivery, at: float, why: str) -> None:
        held.ended = at
        held.ended_by = held.ended_by or why
        self._in_hand.pop(held.who, None)

    def _check_late(self, event: Event, held: _Delivery) -> None:
        for begun, over in self._stopped[held.who]:
            if held.received < begun and over - begun > self._timeout_s and event.at > over:
                if not event.fields.get("key", "").startswith(".nightscribe/jobs/"):
                    self.account.stored_late += 1
                    self.account.examples.append(f"stored late: {event.fields}")
                return

    def _was_stopped(self, held: _Delivery, at: float) -> bool:
        return any(begun <= at < over for begun, over in self._stopped[held.who])

    # Work

    def _work(self) -> None:
        of_slice: dict[SliceId, list[_Window]] = defaultdict(list)
        for state in self._windows:
            of_slice[state.slice_].append(state)
        for slice_, states in of_slice.items():
            stored_at, winner = self._stored.get(slice_, (inf, None))
            for state in states:
                if state.delivery is winner:
                    self.account.needed_s += state.spent_s
                elif why := self._twice(state, states, stored_at):
                    self.account.double_s[why] += state.spent_s
                    self.account.examples.append(f"{why}: {slice_} at {state.began:.2f} by {state.delivery.who}")
                else:
                    self.account.lost_s[self._fate(state.delivery)] += state.spent_s

    def _twice(self, state: _Window, states: Sequence[_Window], stored_at: float) -> str:
        if state.began > stored_at:
            return "after it had been stored"
        mine = [each for each in states if each.delivery is state.delivery]
        first = min(each.began for each in mine)
        for other in {id(each.delivery): each.delivery for each in states}.values():
            if other is state.delivery:
                continue
            theirs = [each for each in states if each.delivery is other]
            began = max(first, min(each.began for each in theirs))
            until = [max(each.began + each.spent_s for each in group) for group in (mine, theirs)]
            if (
                began < min(until)
                and not self._was_stopped(other, began)
                and not self._was_stopped(state.delivery, began)
            ):
                return "while another worker did it"
        return ""

    def _fate(self, held: _Delivery) -> str:
        if any(held.received < begun < held.ended for begun, _ in self._stopped[held.who]):
            return "stopped"
        if held.ended_by == "gave it up" and self._between("server killed", held.received - 1, held.ended):
            return "the queue server was killed"
        if held.ended_by == "gave it up" and self._between("filled", held.received - self._timeout_s, held.ended):
            return "the disk was full"
        return held.ended_by or "others"

    def _between(self, what: str, begin: float, end: float) -> bool:
        times = self._at[what]
        at = bisect_right(times, begin)
        return at < len(times) and times[at] <= end

    # Recovery

    def _recovery(self) -> None:
        self._receives.sort()
        for held in self._deliveries:
            if held.ended_by != "killed":
                continue
            killed_at = held.ended
            open_slices = [(r, i) for r, i, _, _ in held.slices if self._stored_by((r, i)) > killed_at]
            if not open_slices or self._was_stopped(held, killed_at):
                continue
            self.account.interrupted += 1
            again = min((at for slice_ in open_slices for at in self._begun[slice_] if at > killed_at), default=inf)
            took = (again - killed_at) / self._timeout_s
            self.account.recoveries.append(took)
            visible_at = killed_at + self._timeout_s
            free_at = min((max(at, visible_at) for at, until in self._receives if until > visible_at), default=inf)
            self.account.waited.append(max(0.0, min(free_at, again) - visible_at) / self._timeout_s)
            if took > RECOVERED_WITHIN:
                why = self._why_late(held, open_slices, killed_at, again, free_at)
                self.account.late[why] += 1
                if not why:
                    self.account.examples.append(f"late: {open_slices} killed {killed_at:.2f}, {took:.1f} timeouts")

    def _stored_by(self, slice_: SliceId) -> float:
        return self._stored.get(slice_, (inf, None))[0]

    def _why_late(
        self, held: _Delivery, slices: Sequence[SliceId], killed_at: float, again: float, free_at: float
    ) -> str:
        if held.count >= self._max_receives:
            return "it was its last try"
        if self._between("server killed", killed_at - self._timeout_s, again):
            return "the queue server was killed too"
        if self._between("filled", killed_at - self._timeout_s, again):
            return "the disk was full"
        wanted = set(slices)
        later = [
            other
            for other in self._deliveries
            if killed_at < other.received <= again and wanted & {(r, i) for r, i, _, _ in other.slices}
        ]
        if any(each.ended_by == "killed" or self._stopped[each.who] for each in later if each.received < again):
            return "its next worker was hit as well"
        # A receive missing from the log: its worker was hit before the message reached it.
        if later and min(later, key=lambda each: each.received).count > held.count + 1:
            return "its next worker was hit as well"
        if self._between("slowed", killed_at - 6, again):
            return "the disk was slow"
        if again - max(killed_at + self._timeout_s, free_at) < NOISE_S:
            return "no worker was free"
        return ""
