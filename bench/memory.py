"""Watch the memory of one worker process while it transcribes many recordings.

The recordings given are repeated under other names until there are enough; each is transcribed. The size goes up and
down with every batch, so its median over many recordings tells whether it grows.
"""

import argparse
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
from measure import copy_repeated, recordings_below

from nightscribe.shared.destination.keys import TRANSCRIPTS

LOOK_EVERY_S = 0.5
WARM_AFTER = 50  # recordings


def main() -> None:
    """Print the resident size for every tenth of the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a folder of short recordings")
    parser.add_argument("--recordings", type=int, default=500, help="to be transcribed (500)")
    parser.add_argument("--model", default="tiny.en", help="Whisper model (tiny.en)")
    given = parser.parse_args()
    found = recordings_below(given.source)
    with tempfile.TemporaryDirectory(prefix="nightscribe-memory-") as folder:
        source, dest = Path(folder, "source"), Path(folder, "dest")
        copy_repeated(found, given.recordings, source)
        sizes = watched(source, dest, given.model)
    step = max(WARM_AFTER, given.recordings // 10)
    print(f"{'recordings':>12}{'median MiB':>12}{'most MiB':>10}")
    medians = []
    for first in range(0, given.recordings, step):
        found_then = [size / 2**20 for n_done, size in sizes if first <= n_done < first + step]
        if found_then:
            medians.append(median(found_then))
            print(f"{f'{first + 1} to {first + step}':>12}{medians[-1]:>12.0f}{max(found_then):>10.0f}")
    if len(medians) > 1:
        print(f"last of all against the second: {medians[-1] / medians[1]:.1%}")


def watched(source: Path, dest: Path, model: str) -> list[tuple[int, int]]:
    """How many were done, and how large the one worker was then, in bytes."""
    program = Path(sysconfig.get_path("scripts"), "nightscribe")
    command = [program, "run", source, dest, "--workers", "1", "--model", model]
    sizes: list[tuple[int, int]] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(LOOK_EVERY_S)
            done = dest / TRANSCRIPTS
            n_done = sum(1 for _ in done.iterdir()) if done.is_dir() else 0
            for child in psutil.Process(process.pid).children(recursive=True):
                try:
                    if "worker" in child.cmdline():
                        sizes.append((n_done, child.memory_info().rss))
                except psutil.NoSuchProcess:
                    continue
    return sizes


if __name__ == "__main__":
    main()
