"""What is done to the processes, and the loop that does it."""

import errno
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess

from nightscribe.local.queue_server import LocalQueue
from storm.crew import Location, direct, started, work
from storm.diary import Diary
from storm.sound import Script

LOOK_S = 0.02
SETTLED_BY = 0.95  # of the sound all has been done to them
STOP_WITHIN_S = 60  # ten times what it takes
SLOW_S = 6.0

KILL, FILL = "kill a worker", "fill the disk"

# How many of each there are for every kill of a worker; at least one.
OFTEN = {
    "stop a worker": 1 / 5,
    "ask a worker to end": 1 / 10,
    "kill the director": 1 / 40,
    "one more director": 1 / 30,
    "kill the queue server": 1 / 50,
    FILL: 1 / 60,
    "slow the disk": 1 / 50,
}


@dataclass(frozen=True)
class Act:
    """Something to be done when so much (`share`) of the sound has been heard; `chance` decides to whom."""

    share: float
    what: str
    chance: float


def planned(n_kills: int, chooser: random.Random) -> list[Act]:
    """All that is to be done, in its order."""
    what = [KILL] * n_kills + [each for each, often in OFTEN.items() for _ in range(max(1, round(n_kills * often)))]
    chooser.shuffle(what)
    return [
        Act(SETTLED_BY * (at + chooser.random()) / len(what), each, chooser.random()) for at, each in enumerate(what)
    ]


@dataclass
class Storm:
    """The crew at work, and what befalls it."""

    place: Location
    server: LocalQueue
    n_workers: int
    acts: Sequence[Act]
    scripts: Sequence[Script]
    troubles: list[str] = field(default_factory=list)
    """What a process did that it must not do."""
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._diary = self.place.diary
        self._workers = [self._worker(at) for at in range(self.n_workers)]
        self._stopped: set[str] = set()
        self._asked: dict[str, float] = {}
        self._killed: set[str] = set()
        self._extra: list[ForkProcess] = []
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._total_s = sum(script.seconds for script in self.scripts)
        self._heard: set[str] = set()
        self._heard_s = 0.0
        self._reader = Diary(self.place.folder / "diary.jsonl")

    def rage(self, until: float) -> None:
        """Work, and do all that is to be done, until everything is settled."""
        director = self._director()
        waiting = list(self.acts)
        while director.is_alive() or director.exitcode:
            if time.monotonic() > until:
                self.troubles.append("Not all was settled in the time given.")
                break
            if not director.is_alive():
                self._bury(director, "The director")
                time.sleep(1)
                director = self._director()
            self._replace_dead()
            self._do_what_is_due()
            if waiting and self._share() >= waiting[0].share:
                act = waiting.pop(0)
                self.done[act.what] += 1
                self._do(act, director)
            time.sleep(LOOK_S)
        director.kill()
        self._calm(until)

    def settle(self, until: float, *, retry_failed: bool) -> None:
        """Nothing more befalls it, and a director comes by, as when the user runs it again."""
        rerun = started("rerun", self.place, direct, True, retry_failed)
        while rerun.is_alive() and time.monotonic() < until:
            self._replace_dead()
            time.sleep(LOOK_S)
        if rerun.exitcode != 0:
            self.troubles.append(f"The rerun ended with {rerun.exitcode} (None: not at all); see rerun.log.")
            rerun.kill()

    def end(self) -> None:
        """Ask all workers to end."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join(STOP_WITHIN_S)
            if worker.exitcode != 0:
                self.troubles.append(f"A worker that was asked to end had the exit status {worker.exitcode}.")

    # Who is there

    def _worker(self, at: int) -> ForkProcess:
        return started(f"worker-{at}", self.place, work)

    def _director(self) -> ForkProcess:
        self._diary.note("director")
        return started("director", self.place, direct, True, False)

    def _replace_dead(self) -> None:
        for at, worker in enumerate(self._workers):
            if not worker.is_alive():
                self._bury(worker, "A worker")
                self._workers[at] = self._worker(at)
            elif time.monotonic() > self._asked.get(worker.name, time.monotonic()):
                self.troubles.append(f"A worker that was asked to end was there after {STOP_WITHIN_S} s.")
                self._asked.pop(worker.name)
        for director in self._extra[:]:
            if not director.is_alive():
                self._bury(director, "An extra director")
                self._extra.remove(director)

    def _bury(self, process: ForkProcess, what: str) -> None:
        """See whether it ended as it should."""
        expected = set()
        if process.name in self._asked:
            expected |= {0, -signal.SIGTERM}  # the latter before it listens for signals, with nothing in hand
        if process.name in self._killed:
            expected.add(-signal.SIGKILL)
        if "director" in process.name:  # it ends with a sentence where the destination takes nothing, and is run again
            expected |= {0, 2}
        if process.exitcode not in expected:
            self.troubles.append(f"{what} ended by itself with {process.exitcode}; see the log of {process.name}.")
        self._stopped.discard(process.name)

    # What befalls it

    def _share(self) -> float:
        for entry in self._reader.new():
            if entry.what == "hearing":
                for word, seconds in entry.slice_["windows"]:
                    self._heard_s += 0.0 if word in self._heard else seconds
                    self._heard.add(word)
        return self._heard_s / self.place.pace / self._total_s

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        for due in [each for each in self._later if each[0] <= now]:
            self._later.remove(due)
            due[1]()

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, what))

    def _do(self, act: Act, director: ForkProcess) -> None:
        lease_s = self.place.settings.visibility_timeout_s
        one = self._workers[int(act.chance * self.n_workers)]
        match act.what:
            case "kill a worker":
                self._kill(one)
            case "stop a worker" if one.name not in self._stopped:
                self._diary.note("stopped", who=one.name)
                _signal(one, signal.SIGSTOP)
                self._stopped.add(one.name)
                self._after((1.3 + act.chance) * lease_s, lambda: self._go_on(one))
            case "ask a worker to end" if one.name not in self._stopped:
                self._diary.note("asked", who=one.name)
                self._asked[one.name] = time.monotonic() + STOP_WITHIN_S
                _signal(one, signal.SIGTERM)
            case "kill the director":
                self._kill(director)
            case "one more director":
                extra = started("extra-director", self.place, direct, False, False)
                self._extra.append(extra)
                if act.chance < 0.5:
                    self._after(2 * act.chance * lease_s, lambda: self._kill(extra))
            case "kill the queue server":
                self._diary.note("server killed")
                os.kill(self.server.pid, signal.SIGKILL)
            case "fill the disk":
                self._fill()
                self._after(lease_s, self._free)
            case "slow the disk":
                self._diary.note("slowed")
                self.place.slow.touch()
                self._after(SLOW_S, self._quicken)

    def _kill(self, process: ForkProcess) -> None:
        if process.is_alive():
            self._killed.add(process.name)
            self._diary.note("killed", who=process.name)
            process.kill()

    def _go_on(self, worker: ForkProcess) -> None:
        if worker.is_alive():
            self._diary.note("went on", who=worker.name)
            _signal(worker, signal.SIGCONT)
        self._stopped.discard(worker.name)

    def _fill(self) -> None:
        self._diary.note("filled")
        with (self.place.dest / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def _free(self) -> None:
        (self.place.dest / "filler").unlink(missing_ok=True)
        self._diary.note("freed")

    def _quicken(self) -> None:
        self.place.slow.unlink(missing_ok=True)
        self._diary.note("quickened")

    def _calm(self, until: float) -> None:
        """Let everything go on that is held up, and extra directors come to their end."""
        for _, what in self._later:
            what()
        self._later = []
        while self._extra and time.monotonic() < until:
            self._replace_dead()
            time.sleep(LOOK_S)


def _signal(process: ForkProcess, number: int) -> None:
    assert process.pid
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
