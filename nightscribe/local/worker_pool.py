"""Start the worker processes of one machine, restart those that die, and stop them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from nightscribe.director.outage import OUTAGE_LIMIT_S
from nightscribe.shared.errors import SetupError
from nightscribe.shared.process.children import start_child
from nightscribe.shared.process.identity import process_name

log = structlog.get_logger()

STOP_TIMEOUT_S = 10
# How often one worker may die without anything being settled in between. Until something is, perhaps no job can run.
MAX_DEATHS_IN_A_ROW = 5
MAX_DEATHS_LATER = 30  # so that a few recordings that kill every worker at the end can become failures


@dataclass
class _Place:
    """The place of one worker, which keeps it across restarts."""

    log_file: Path
    process: "subprocess.Popen[bytes] | None" = None
    deaths: int = 0
    waits: bool = False
    """True if the worker is to be restarted as soon as the disk has room."""


@dataclass
class WorkerPool:
    """Runs `n` workers with the given command-line arguments."""

    n: int
    arguments: Sequence[str]
    environment: dict[str, str]
    log_folder: Path
    name: str = "worker"
    """Beginning of the names of the log files."""
    niceness: int = 0
    clock: Callable[[], float] = time.monotonic
    _places: list[_Place] = field(default_factory=list)
    _max_deaths: int = MAX_DEATHS_IN_A_ROW
    _idle_since: float | None = None

    def __enter__(self) -> Self:
        for number in range(1, self.n + 1):
            place = _Place(self.log_folder / f"{self.name}-{number}.log")
            place.log_file.unlink(missing_ok=True)
            self._places.append(place)
            self._start(place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = [place.process for place in self._places if place.process and place.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_TIMEOUT_S
        for process in running:
            try:
                process.wait(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def names(self) -> list[str]:
        """Return the names of the workers by place; a restarted worker has a new name."""
        return [process_name(place.process.pid) for place in self._places if place.process]

    def look_after(self, *, progressed: bool, lack: str | None = None) -> None:
        """Restart workers that died, for instance killed for lack of memory; none while the disk is full.

        `lack`: the beginning of a sentence on how little room the destination has.
        Raises: SetupError: with the worker's own message if it cannot start, if it dies repeatedly, or if there is no
        room for longer than a run tolerates an outage.
        """
        if progressed:
            self._max_deaths = MAX_DEATHS_LATER
        for place in self._places:
            if progressed:
                place.deaths = 0
            if place.process is None or (status := place.process.poll()) is None:
                continue
            if lack:
                place.waits = True  # a worker would end at once without a message, since its log is on the same disk
                continue
            if not place.waits:
                self._count_death(place, status)
            try:
                self._start(place)
                place.waits = False
            except OSError as error:  # the network share that holds its log is unavailable
                place.waits = True
                lack = f"{str(place.log_file)!r} cannot be written ({error.strerror})"
        self._tolerate(lack)

    def _count_death(self, place: _Place, status: int) -> None:
        place.deaths += 1
        log.warning("worker.died", status=status, log=str(place.log_file))
        if status == 2:
            raise SetupError(_last_line(place.log_file))
        if place.deaths >= self._max_deaths:
            raise SetupError(
                f"A worker died {place.deaths} times without finishing anything (last exit status {status}); "
                f"see {place.log_file}. Status -9 often means too little memory: try --workers 1 or a smaller --model."
            )

    def _tolerate(self, lack: str | None) -> None:
        """Raise SetupError if no worker has run for longer than a run tolerates an outage."""
        if not all(place.waits for place in self._places):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = self.clock()
        elif self.clock() - self._idle_since > OUTAGE_LIMIT_S:
            raise SetupError(
                f"{lack}, so no worker can start. Free at least 64 MB or make it writable, "
                "and run the command again: it continues where it stopped."
            )

    def _start(self, place: _Place) -> None:
        command = [sys.executable, "-P", "-m", "nightscribe", "worker", *self.arguments]
        with place.log_file.open("ab") as output:
            environment = dict(os.environ) | self.environment
            place.process = start_child(command, environment=environment, output=output, niceness=self.niceness)


def _last_line(log_file: Path) -> str:
    try:
        lines = log_file.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].removeprefix("Error: ") if lines else f"A worker could not start; see {log_file}."
