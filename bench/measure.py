"""Measure what a command costs: CPU time, wall time and memory of its process tree; run nightscribe so."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import psutil

from nightscribe.shared.audio.probe import MEDIA_SUFFIXES
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.model.transcript import Transcript

LOOK_EVERY_S = 0.5
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TQDM_DISABLE": "1"}


@dataclass(frozen=True)
class Cost:
    """Of one command with all processes it started and waited for."""

    cpu_s: float
    wall_s: float
    memory_mib: float
    """Most that all of its processes held at a time (shared pages are counted for each)."""
    status: int
    output: str

    @property
    def last_line(self) -> str:
        """The last thing it said."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def run(
    command: Sequence[str],
    log: Path,
    environment: dict[str, str] | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Cost:
    """Run a command to its end, with what it prints in `log`; `watch` is called now and then meanwhile."""
    variables = dict(os.environ) | ONE_THREAD | OFFLINE | (environment or {})
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command), env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        tree, peak, looked = psutil.Process(process.pid), 0, 0.0
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - looked >= LOOK_EVERY_S:
                looked = time.monotonic()
                peak = max(peak, _resident(tree))
                watch()
            time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait for a process that is gone
    return Cost(
        cpu_s=used.ru_utime + used.ru_stime,
        wall_s=time.monotonic() - began,
        memory_mib=max(peak / 2**20, used.ru_maxrss / 2**10),
        status=process.returncode,
        output=log.read_text(errors="replace"),
    )


def _resident(tree: psutil.Process) -> int:
    total = 0
    with suppress(psutil.Error):
        for process in [tree, *tree.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def nightscribe(source: Path, dest: Path, *options: str) -> list[str]:
    """`nightscribe run` as a user types it, with one worker; one thread each is its default."""
    command = Path(sys.executable).with_name("nightscribe")
    return [str(command), "run", str(source), str(dest), "--workers", "1", *options]


def transcripts(dest: Path) -> dict[str, Transcript]:
    """What it made, by the name of the recording."""
    folder = dest / RECORDS_FOLDER / "transcripts"
    return {
        path.name.removesuffix(".json"): Transcript.model_validate_json(path.read_bytes())
        for path in folder.rglob("*.json")
    }


def recordings_below(folder: Path) -> list[Path]:
    """Return all recordings in a folder, sorted by path; end the program with a sentence if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower().lstrip(".") in MEDIA_SUFFIXES)
    if not found:
        sys.exit(f"There are no recordings in {folder}.")
    return found


def copy_repeated(recordings: Sequence[Path], wanted: int, folder: Path) -> None:
    """Create a folder with this many copies of recordings, repeated under other names until there are enough."""
    folder.mkdir()
    for number, path in enumerate(islice(cycle(recordings), wanted)):
        (folder / f"{number:05}{path.suffix}").write_bytes(path.read_bytes())
