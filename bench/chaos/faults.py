"""The faults, and the loop that injects them."""

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

from chaos.event_log import EventLog
from chaos.processes import Location, direct, start_process, work
from chaos.sound import Script
from nightscribe.local.queue_server import LocalQueue

LOOK_S = 0.02
LAST_FAULT_AT = 0.95  # share of the sound after which no fault is injected
STOP_WITHIN_S = 60  # ten times what a worker takes
SLOW_S = 6.0

KILL, FILL = "kill a worker", "fill the disk"

# Faults of each kind for every kill of a worker; at least one.
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
class Fault:
    """Inject `what` once this `share` of the sound is transcribed; `chance` decides which process it hits."""

    share: float
    what: str
    chance: float


def planned(n_kills: int, chooser: random.Random) -> list[Fault]:
    """Return all faults in the order in which they are injected."""
    what = [KILL] * n_kills + [each for each, often in OFTEN.items() for _ in range(max(1, round(n_kills * often)))]
    chooser.shuffle(what)
    return [
        Fault(LAST_FAULT_AT * (at + chooser.random()) / len(what), each, chooser.random())
        for at, each in enumerate(what)
    ]


@dataclass
class Chaos:
    """Run workers and directors, and inject faults into them."""

    location: Location
    server: LocalQueue
    n_workers: int
    faults: Sequence[Fault]
    scripts: Sequence[Script]
    problems: list[str] = field(default_factory=list)
    """What a process did that it must not do."""
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._event_log = self.location.event_log
        self._workers = [self._worker(at) for at in range(self.n_workers)]
        self._stopped: set[str] = set()
        self._asked: dict[str, float] = {}
        self._killed: set[str] = set()
        self._extra: list[ForkProcess] = []
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._total_s = sum(script.seconds for script in self.scripts)
        self._heard: set[str] = set()
        self._heard_s = 0.0
        self._reader = EventLog(self.location.folder / "events.jsonl")

    def run(self, until: float) -> None:
        """Run until every recording is settled, injecting each fault when its share is reached."""
        director = self._director()
        waiting = list(self.faults)
        while director.is_alive() or director.exitcode:
            if time.monotonic() > until:
                self.problems.append("Not every recording was settled in the time given.")
                break
            if not director.is_alive():
                self._check_exit(director, "The director")
                time.sleep(1)
                director = self._director()
            self._replace_dead()
            self._do_what_is_due()
            if waiting and self._share() >= waiting[0].share:
                fault = waiting.pop(0)
                self.done[fault.what] += 1
                self._do(fault, director)
            time.sleep(LOOK_S)
        director.kill()
        self._calm(until)

    def settle(self, until: float, *, retry_failed: bool) -> None:
        """Run one more director without faults, as when the user types the command again."""
        rerun = start_process("rerun", self.location, direct, True, retry_failed)
        while rerun.is_alive() and time.monotonic() < until:
            self._replace_dead()
            time.sleep(LOOK_S)
        if rerun.exitcode != 0:
            self.problems.append(f"The rerun ended with {rerun.exitcode} (None: not at all); see rerun.log.")
            rerun.kill()

    def end(self) -> None:
        """Stop all workers with SIGTERM."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join(STOP_WITHIN_S)
            if worker.exitcode != 0:
                self.problems.append(f"A worker that was asked to end had the exit status {worker.exitcode}.")

    # Processes

    def _worker(self, at: int) -> ForkProcess:
        return start_process(f"worker-{at}", self.location, work)

    def _director(self) -> ForkProcess:
        self._event_log.append("director")
        return start_process("director", self.location, direct, True, False)

    def _replace_dead(self) -> None:
        for at, worker in enumerate(self._workers):
            if not worker.is_alive():
                self._check_exit(worker, "A worker")
                self._workers[at] = self._worker(at)
            elif time.monotonic() > self._asked.get(worker.name, time.monotonic()):
                self.problems.append(f"A worker that was asked to end was still running after {STOP_WITHIN_S} s.")
                self._asked.pop(worker.name)
        for director in self._extra[:]:
            if not director.is_alive():
                self._check_exit(director, "An extra director")
                self._extra.remove(director)

    def _check_exit(self, process: ForkProcess, what: str) -> None:
        """Record a problem unless the process ended as expected."""
        expected = set()
        if process.name in self._asked:
            expected |= {0, -signal.SIGTERM}  # the latter before it listens for signals, with nothing in hand
        if process.name in self._killed:
            expected.add(-signal.SIGKILL)
        if "director" in process.name:  # it ends with a message where the destination is not writable, and is run again
            expected |= {0, 2}
        if process.exitcode not in expected:
            self.problems.append(f"{what} ended by itself with {process.exitcode}; see the log of {process.name}.")
        self._stopped.discard(process.name)

    # Faults

    def _share(self) -> float:
        for event in self._reader.new():
            if event.what == "hearing":
                for word, seconds in event.fields["windows"]:
                    self._heard_s += 0.0 if word in self._heard else seconds
                    self._heard.add(word)
        return self._heard_s / self.location.pace / self._total_s

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        for due in [each for each in self._later if each[0] <= now]:
            self._later.remove(due)
            due[1]()

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, what))

    def _do(self, fault: Fault, director: ForkProcess) -> None:
        lease_s = self.location.settings.visibility_timeout_s
        one = self._workers[int(fault.chance * self.n_workers)]
        match fault.what:
            case "kill a worker":
                self._kill(one)
            case "stop a worker" if one.name not in self._stopped:
                self._event_log.append("stopped", who=one.name)
                _signal(one, signal.SIGSTOP)
                self._stopped.add(one.name)
                self._after((1.3 + fault.chance) * lease_s, lambda: self._go_on(one))
            case "ask a worker to end" if one.name not in self._stopped:
                self._event_log.append("asked", who=one.name)
                self._asked[one.name] = time.monotonic() + STOP_WITHIN_S
                _signal(one, signal.SIGTERM)
            case "kill the director":
                self._kill(director)
            case "one more director":
                extra = start_process("extra-director", self.location, direct, False, False)
                self._extra.append(extra)
                if fault.chance < 0.5:
                    self._after(2 * fault.chance * lease_s, lambda: self._kill(extra))
            case "kill the queue server":
                self._event_log.append("server killed")
                os.kill(self.server.pid, signal.SIGKILL)
            case "fill the disk":
                self._fill()
                self._after(lease_s, self._free)
            case "slow the disk":
                self._event_log.append("slowed")
                self.location.slow.touch()
                self._after(SLOW_S, self._quicken)

    def _kill(self, process: ForkProcess) -> None:
        if process.is_alive():
            self._killed.add(process.name)
            self._event_log.append("killed", who=process.name)
            process.kill()

    def _go_on(self, worker: ForkProcess) -> None:
        if worker.is_alive():
            self._event_log.append("went on", who=worker.name)
            _signal(worker, signal.SIGCONT)
        self._stopped.discard(worker.name)

    def _fill(self) -> None:
        self._event_log.append("filled")
        with (self.location.dest / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def _free(self) -> None:
        (self.location.dest / "filler").unlink(missing_ok=True)
        self._event_log.append("freed")

    def _quicken(self) -> None:
        self.location.slow.unlink(missing_ok=True)
        self._event_log.append("quickened")

    def _calm(self, until: float) -> None:
        """Resume what is held up, and wait for the extra directors to end."""
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
