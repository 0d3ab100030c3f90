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
from math import inf
from multiprocessing.context import ForkProcess

from chaos.network import HOLD, LASTING, ONCE, Network
from chaos.processes import Location, direct, start_process, work
from chaos.sound import Script
from nightscribe.local.queue_server import LocalQueue
from nightscribe.shared.queue.client import JobQueue

LOOK_S = 0.05
LAST_FAULT_AT = 0.95  # share of the sound after which no fault is injected
STOP_WITHIN_S = 60  # ten times what a worker takes
SLOW_S = 6.0
DRAINED_WITHIN = 3  # visibility timeouts
NOISE_S = 10.0  # what a busy machine may take for what takes no time

KILL, FILL, SLOW_DISK = "kill a worker", "fill the disk", "slow the disk"
NETWORK = "network: "
KILLED_WHEN_HELD = 0.5  # chance that a worker dies while the network holds up its request, which then arrives late
DIRECTORS_SHARE = 0.15  # of network faults
SLOWEST_REQUEST_S = 0.5  # while the network is slow

# Faults of each kind for every kill of a worker; at least one.
OFTEN = {
    "stop a worker": 1 / 5,
    "ask a worker to end": 1 / 10,
    "kill the director": 1 / 40,
    "one more director": 1 / 30,
    "kill the queue server": 1 / 50,
    FILL: 1 / 60,
    SLOW_DISK: 1 / 50,
}


@dataclass(frozen=True)
class Fault:
    """Inject `what` once this `share` of the sound is transcribed; `chance` decides which process it hits."""

    share: float
    what: str
    chance: float
    link: str = ""
    """Of a network fault."""
    match: str = ""
    """Kind of request that a network fault waits for."""


def planned(n_kills: int, n_network: int, n_workers: int, chooser: random.Random, *, in_buckets: bool) -> list[Fault]:
    """Return all faults in the order in which they are injected."""
    what = [KILL] * n_kills
    what += [each for each, often in OFTEN.items() for _ in range(max(1, round(n_kills * often)))]
    if in_buckets:
        what = [each for each in what if each not in (FILL, SLOW_DISK)]
    what += [NETWORK + (*LASTING, *ONCE)[at % len((*LASTING, *ONCE))] for at in range(n_network)]
    chooser.shuffle(what)
    return [
        Fault(
            LAST_FAULT_AT * (at + chooser.random()) / len(what),
            each,
            chooser.random(),
            *(_aimed(n_workers, chooser, in_buckets=in_buckets) if each.startswith(NETWORK) else ()),
        )
        for at, each in enumerate(what)
    ]


def _aimed(n_workers: int, chooser: random.Random, *, in_buckets: bool) -> tuple[str, str]:
    """Choose the link and the request for a network fault."""
    is_director = chooser.random() < DIRECTORS_SHARE
    process = "director" if is_director else f"worker-{chooser.randrange(n_workers)}"
    if in_buckets and chooser.random() < 0.6:
        return f"{process}.store", chooser.choice(("PUT ", "GET ", "GET " if is_director else "DELETE ", ""))
    mostly = ("Attributes", "SendMessage") if is_director else ("ChangeMessageVisibility", "DeleteMessage")
    return f"{process}.queue", chooser.choice(("ReceiveMessage", *mostly, ""))


@dataclass
class Chaos:
    """Run workers and directors, and inject faults into them."""

    location: Location
    server: LocalQueue
    network: Network
    n_workers: int
    faults: Sequence[Fault]
    scripts: Sequence[Script]
    problems: list[str] = field(default_factory=list)
    """What a process did that it must not do."""
    done: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    """Network faults that have met a request."""

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
        self._reader = self.location.event_log
        self._full: list[tuple[float, float]] = []
        """When the disk was full."""
        self._started: dict[str, float] = {}
        self._fatal: dict[str, float] = {}
        """Chances of the faults that hold up a request, by link."""

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
            self._read_events()
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

    def drain(self, queue: JobQueue, until: float) -> None:
        """Wait until the workers have emptied the queue; a job that nobody holds any more returns by itself."""
        until = min(until, time.monotonic() + DRAINED_WITHIN * self.location.settings.visibility_timeout_s + NOISE_S)
        while (counts := queue.counts()).queued + counts.in_flight and time.monotonic() < until:
            self._replace_dead()
            time.sleep(10 * LOOK_S)
        left = queue.peek() or []
        self.problems += [f"Left on the queue: {each.message_id}, received {each.receive_count} times" for each in left]

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
        return self._noted(start_process("director", self.location, direct, True, False))

    def _noted(self, process: ForkProcess) -> ForkProcess:
        self._started[process.name] = time.monotonic()
        return process

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
        if "director" in process.name:
            expected.add(0)
            # It ends with a message if the destination is not writable, and the user runs it again.
            began = self._started[process.name]
            if any(over > began for _, over in self._full):
                expected.add(2)
        if process.exitcode not in expected:
            self.problems.append(f"{what} ended by itself with {process.exitcode}; see the log of {process.name}.")
        self._stopped.discard(process.name)

    # Faults

    def _read_events(self) -> None:
        for event in self._reader.new():
            if event.what == "hearing":
                for word, seconds in event.fields["windows"]:
                    self._heard_s += 0.0 if word in self._heard else seconds
                    self._heard.add(word)
            elif event.what == "network" and event.fields["fault"] in (*LASTING, *ONCE):
                self.met[event.fields["fault"]] += 1
                if event.fields["fault"] == HOLD and self._fatal.get(event.who, 1.0) < KILLED_WHEN_HELD:
                    slot = event.who.partition(".")[0].removeprefix("worker-")
                    if slot.isdecimal():
                        self._kill(self._workers[int(slot)])

    def _share(self) -> float:
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
                extra = self._noted(start_process("extra-director", self.location, direct, False, False))
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
            case what if what.startswith(NETWORK):
                self._disturb(fault, what.removeprefix(NETWORK), lease_s)

    def _disturb(self, fault: Fault, kind: str, lease_s: float) -> None:
        match kind:
            case "slow":
                self.network.inject(fault.link, kind, for_s=SLOW_S, delay_s=SLOWEST_REQUEST_S)
            case "cut off":
                self.network.inject(fault.link, kind, for_s=(0.5 + 1.5 * fault.chance) * lease_s)
            case _:
                if kind == HOLD:
                    self._fatal[fault.link] = fault.chance
                delay_s = (1.3 + fault.chance) * lease_s
                self.network.inject(fault.link, kind, match=fault.match, delay_s=delay_s)

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
        self._full.append((time.monotonic(), inf))
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
        self._full[-1] = (self._full[-1][0], time.monotonic() + NOISE_S)
        self._event_log.append("freed")

    def _quicken(self) -> None:
        self.location.slow.unlink(missing_ok=True)
        self._event_log.append("quickened")

    def _calm(self, until: float) -> None:
        """Resume what is held up, and wait for the extra directors to end."""
        for _, what in self._later:
            what()
        self._later = []
        self.network.release()
        while self._extra and time.monotonic() < until:
            self._replace_dead()
            time.sleep(LOOK_S)


def _signal(process: ForkProcess, number: int) -> None:
    assert process.pid
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
