"""Compute from the event log what was lost, what was done twice and how long interrupted jobs waited. Pure."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from chaos.event_log import Event
from chaos.sound import Script, word_s
from nightscribe.shared.destination.keys import FAILURES, PARTS, TRANSCRIPTS
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX, PART
from nightscribe.shared.settings import Settings

SliceId = tuple[str, int]

RECOVERED_WITHIN = 1.5  # visibility timeouts
NOISE_S = 1.0  # what a busy machine may take from a free worker's receive to its first word about it

# Bounds of what may delay a recovery, in seconds.
RESENT_WITHIN_S = 25.0  # after the queue server was killed: it restarts, and the director sends its jobs again
BACKOFF_S = 10.0  # between two tries of a call, after the network was cut
RETRIED_WITHIN_S = 5.0  # a job that was released because of an error
RECORDED_WITHIN_S = 5.0  # a dead letter, by the director's next look
RESTARTED_WITHIN_S = 5.0  # a director that was killed


@dataclass
class _Delivery:
    """One message held by one worker."""

    who: str
    received: float
    slices: list[tuple[str, int, float, float | None]]
    count: int
    """How often it was received."""
    message: str
    lease_until: float
    """When the lease ran out unless it was extended, by the worker's own clock."""
    ended: float = inf
    ended_by: str = ""
    hit: float = inf
    """When something happened after which the job needed another worker."""
    is_requeued: bool = False
    """The worker sent it as a new message, which is behind all others."""


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
    lost_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Engine seconds whose result was never stored, by what happened to the worker."""
    double_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Engine seconds spent on what was stored already, or was held by another worker at that time."""
    recoveries: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Time from each interruption of a job until another worker began it, by what happened to its worker."""
    claimable: list[float] = field(default_factory=list)
    """The part of each recovery in which a worker was asking for a job and no other fault was in the way."""
    allowed: Counter[str] = field(default_factory=Counter)
    """Recoveries that took more than 1.5 timeouts, by the bound that covers them."""
    late: list[str] = field(default_factory=list)
    """Recoveries beyond their bound."""
    after_lease: list[str] = field(default_factory=list)
    """What a worker began after its lease had run out."""
    late_deletions: int = 0
    """Deletions that were begun in time and ended after another worker had taken over."""
    overtaken: dict[str, str] = field(default_factory=dict)
    """Digest of the content that a worker stored under a key after another worker had taken over and stored it."""
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
        self._storing: dict[str, set[str]] = defaultdict(set)
        """Keys that each process has begun to store."""
        self._perhaps_stored: set[str] = set()
        """Keys that a process may have stored just before it was killed, and could not log."""
        self._failed: dict[str, float] = {}
        self._stores: dict[str, list[tuple[float, _Delivery, str]]] = defaultdict(list)
        self._cut: dict[str, list[tuple[float, float]]] = defaultdict(list)
        """When the network of a place for workers was cut."""
        self._lost_receives: list[float] = []
        self._stopped: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._begun: dict[SliceId, list[tuple[float, _Delivery]]] = defaultdict(list)
        self._asking: dict[str, float] = {}
        self._receives: list[tuple[float, float, str]] = []
        self._at: dict[str, list[float]] = defaultdict(list)
        self._died = {event.who: event.at for event in self._events if event.what == "killed"}
        self.account = Account()
        for event in self._events:
            self._take(event)
        self._over = self._events[-1].at if self._events else 0.0
        self._work()
        self._recovery()
        self._overtaken()

    def _take(self, event: Event) -> None:
        held, asked_at = self._in_hand.get(event.who), event.at
        self._at[event.what].append(event.at)
        if event.who in self._asking and event.what in ("free", "received", "killed", "asked"):
            asked_at = self._asking.pop(event.who)
            if event.what != "received":  # who was given another job cannot have had this one, which was queued later
                self._receives.append((asked_at, event.at, event.who))
        match event.what:
            case "free":
                self._asking[event.who] = event.at
                if held:
                    self._end(held, event.at, "gave it up")
            case "received":
                slices = [(r, i, start_s, end_s) for r, i, start_s, end_s in event.fields["slices"]]
                until = asked_at + self._timeout_s
                fields = event.fields
                held = _Delivery(event.who, event.at, slices, fields["count"], fields["message"], until)
                self._in_hand[event.who] = held
                self._deliveries.append(held)
            case "killed":
                self._lost_receives.append(event.at)
                self._perhaps_stored |= self._storing[event.who]
                if held:
                    self._end(held, event.at, "killed")
            case "stopped":
                self._stopped[event.who].append((event.at, inf))
                if held:
                    held.hit = min(held.hit, event.at)
            case "went on":
                self._stopped[event.who][-1] = (self._stopped[event.who][-1][0], event.at)
            case "asked" if held and not held.ended_by:
                held.ended_by = "asked to end"
                held.hit = min(held.hit, event.at)
            case "extended" if held:
                held.lease_until = max(held.lease_until, event.fields["since"] + self._timeout_s)
            case "released" | "requeued" if held:
                held.hit = min(held.hit, event.at)
                held.is_requeued |= event.what == "requeued"
            case "hearing" if held:
                self._check_lease(event, held)
                for word, seconds in event.fields["windows"]:
                    self._hear(event, held, word, seconds)
            case "storing" | "deleting" if held:
                self._check_lease(event, held)
                if event.what == "storing":
                    self._storing[event.who].add(event.fields["key"])
            case "deleted" if held and event.at > held.lease_until and self._has_successor(held, event.at):
                self.account.late_deletions += 1
            case "stored":
                self._store(event, held)
            case "network":
                self._disturb(event)

    def _disturb(self, event: Event) -> None:
        if event.fields["fault"] == "cut off":
            self._cut[event.who.partition(".")[0]].append((event.at, event.at + event.fields["for_s"] + BACKOFF_S))
        elif "ReceiveMessage" in event.fields["operation"]:
            self._lost_receives.append(event.at)

    def _has_successor(self, held: _Delivery, at: float) -> bool:
        mine = {(r, i) for r, i, _, _ in held.slices}
        return any(
            held.received < other.received < at and other is not held and mine & {(r, i) for r, i, _, _ in other.slices}
            for other in self._deliveries[-200:]
        )

    def _store(self, event: Event, held: _Delivery | None) -> None:
        key = event.fields["key"]
        self._storing[event.who].discard(key)
        if key.startswith(FAILURES):  # also by a director
            self._failed.setdefault(key.removeprefix(FAILURES).removesuffix(".json"), event.at)
        if held is None:
            return
        if key.startswith(TRANSCRIPTS):
            # A recording that is not cut has no partial result.
            recording = key.removeprefix(TRANSCRIPTS).removesuffix(".json")
            self._stored.setdefault((recording, 0), (event.at, held))
            self._stores[key].append((event.at, held, event.fields["digest"]))
        elif key.startswith(PARTS):
            recording, _, name = key.removeprefix(PARTS).rpartition("/")
            slice_, dot, kind = name.rpartition("-")[2].partition(".")
            if slice_.isdecimal() and dot + kind == PART:
                self._stored.setdefault((recording, int(slice_)), (event.at, held))
            elif slice_.isdecimal() and dot + kind == CLAIM_SUFFIX:
                self._begun[recording, int(slice_)].append((event.at, held))

    def _hear(self, event: Event, held: _Delivery, word: str, seconds: float) -> None:
        recording, at_s = self._words[word]
        slice_ = next(
            (r, i) for r, i, start_s, end_s in held.slices if r == recording and start_s <= at_s < (end_s or inf)
        )
        spent_s = min(seconds, max(0.0, self._died.get(event.who, inf) - event.at))
        self._windows.append(_Window(held, slice_, event.at, seconds, spent_s))

    def _end(self, held: _Delivery, at: float, why: str) -> None:
        held.ended = at
        held.hit = min(held.hit, at)
        held.ended_by = held.ended_by or why
        self._in_hand.pop(held.who, None)

    def _check_lease(self, event: Event, held: _Delivery) -> None:
        """Note what is begun without a lease, unless the process was suspended just between its check and this."""
        if event.at <= held.lease_until + NOISE_S:
            return
        if any(over <= event.at < over + NOISE_S for _, over in self._stopped[held.who]):
            return
        late_s = event.at - held.lease_until
        self.account.after_lease.append(f"{held.who} began {event.what} {late_s:.1f} s after its lease: {event.fields}")

    def _overtaken(self) -> None:
        """Find the stores of transcripts by workers whose slice another one had taken over and stored before."""
        for key, stores in self._stores.items():
            at, held, content = stores[-1]
            if any(other is not held and held.lease_until < other.received < at for _, other, _ in stores[:-1]):
                self.account.overtaken[key] = content

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
            lapsed = min(other.lease_until, state.delivery.lease_until)  # the other worker took over rightly
            if (
                began < min(until)
                and began < lapsed
                and not self._was_stopped(other, began)
                and not self._was_stopped(state.delivery, began)
            ):
                return "while another worker did it"
        return ""

    def _fate(self, held: _Delivery) -> str:
        if any(held.received < begun < held.ended for begun, _ in self._stopped[held.who]):
            return "stopped"
        if held.ended_by == "gave it up" and any(
            held.received < over and begun < held.ended for begun, over in self._cut[held.who.rpartition(".")[0]]
        ):
            return "the network was cut"
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
        self._longest_s = max((until - asked for asked, until, _ in self._receives), default=0.0)
        of_message: dict[str, list[_Delivery]] = defaultdict(list)
        for held in self._deliveries:
            of_message[held.message].append(held)
        for held in self._deliveries:
            hit = held.hit
            open_slices = [(r, i) for r, i, _, _ in held.slices if self._settled_at(r, i) > hit]
            if not open_slices or hit == inf or self._is_held_elsewhere(open_slices, held):
                continue
            again = self._begun_again(open_slices, held)
            if again == inf and all(f"{TRANSCRIPTS}{r}.json" in self._perhaps_stored for r, _ in open_slices):
                continue  # it was killed between the rename and the log, and the next worker found it finished
            took_s = again - hit
            why = held.ended_by if hit == held.ended or held.ended_by == "asked to end" else "stopped"
            self.account.recoveries[why].append(took_s / self._timeout_s)
            claimable_s, excused = self._claimable_s(hit, min(again, self._over))
            self.account.claimable.append(claimable_s / self._timeout_s)
            bounds = self._bounds(held, of_message[held.message], again, why)
            if took_s <= RECOVERED_WITHIN * self._timeout_s:
                continue
            allowed_s = RECOVERED_WITHIN * self._timeout_s + sum(bounds.values())
            if again == inf or claimable_s > allowed_s:
                self.account.late.append(
                    f"{open_slices} of {held.who}, {why} at {hit:.2f}, begun again after {took_s:.1f} s, of which it "
                    f"could be had for {claimable_s:.1f} s; allowed were {allowed_s:.1f} s {bounds}"
                )
            else:
                self.account.allowed[", ".join(sorted({*bounds, *excused})) or "no worker was free"] += 1

    def _settled_at(self, recording: str, index: int) -> float:
        stored_at, _ = self._stored.get((recording, index), (inf, None))
        finished_at, _ = self._stored.get((recording, 0), (inf, None)) if index == 0 else (inf, None)
        return min(stored_at, finished_at, self._failed.get(recording, inf))

    def _begun_again(self, slices: Sequence[SliceId], held: _Delivery) -> float:
        """Return when another delivery began one of these slices, or when one was settled."""
        begun = [at for each in slices for at, other in self._begun[each] if other is not held and at > held.hit]
        return min([*begun, *(self._settled_at(*each) for each in slices)])

    def _is_held_elsewhere(self, slices: Sequence[SliceId], held: _Delivery) -> bool:
        """Return whether another delivery had begun all of these slices, and went on with them."""
        return all(
            any(at <= held.hit < other.ended for at, other in self._begun[each] if other is not held) for each in slices
        )

    def _bounds(self, held: _Delivery, of_message: Sequence[_Delivery], again: float, why: str) -> dict[str, float]:
        """Return how much longer this recovery may take, in seconds, by the reason."""
        bounds: dict[str, float] = {}
        if held.is_requeued:
            return {"it was requeued behind all others": 0.0}
        begin = held.hit - self._timeout_s
        later = [other for other in of_message if held.received < other.received <= again]
        if later:
            n_lost = min(each.count for each in later) - held.count - 1
        else:
            n_lost = min(self._max_receives, sum(held.hit < at < again for at in self._lost_receives))
        if n_lost > 0:
            bounds["received by a worker that was hit as well"] = n_lost * self._timeout_s
        if held.count + max(0, n_lost) >= self._max_receives:
            bounds["it was its last try"] = self._timeout_s + RECORDED_WITHIN_S
            if self._between("director", begin, again):
                bounds["the director was killed"] = RESTARTED_WITHIN_S
        if why == "gave it up":
            bounds["retried later"] = RETRIED_WITHIN_S
        return bounds

    def _claimable_s(self, begin: float, end: float) -> tuple[float, set[str]]:
        """Return for how long a worker could have had a job, and what kept workers from it for the rest."""
        excuses = [
            *((at, at + RESENT_WITHIN_S, "the queue server was killed") for at in self._at["server killed"]),
            *self._pairs("filled", "freed", "the disk was full"),
            *self._pairs("slowed", "quickened", "the disk was slow"),
        ]
        excuses = [(a, b, why) for a, b, why in excuses if a < end and b > begin]
        able: list[tuple[float, float]] = []
        first = bisect_left(self._receives, (begin - self._longest_s, 0.0, ""))
        last = bisect_right(self._receives, (end, inf, ""))
        reasons = {why for _, _, why in excuses}
        for asked_at, until, who in self._receives[first:last]:
            cuts = self._cut[who.rpartition(".")[0]]
            pieces = _without([(max(begin, asked_at), min(end, until))], [(a, b) for a, b, _ in excuses] + cuts)
            if any(a < until and b > asked_at for a, b in cuts):
                reasons.add("the network was cut")
            able += pieces
        return _length(able), reasons

    def _pairs(self, begin: str, end: str, why: str) -> Iterator[tuple[float, float, str]]:
        ends = self._at[end]
        for at in self._at[begin]:
            over = bisect_right(ends, at)
            yield at, (ends[over] if over < len(ends) else self._over) + NOISE_S, why


Span = tuple[float, float]


def _without(spans: Sequence[Span], others: Iterable[Span]) -> list[Span]:
    """Return what is left of time spans without others."""
    left = list(spans)
    for begin, end in others:
        left = [piece for a, b in left for piece in ((a, min(b, begin)), (max(a, end), b)) if piece[0] < piece[1]]
    return [(a, b) for a, b in left if a < b]


def _length(spans: Iterable[Span]) -> float:
    """Return the length of the union of time spans."""
    total, reached = 0.0, -inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
