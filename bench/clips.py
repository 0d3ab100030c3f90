"""Transcribe thousands of short clips with `nightscribe run`, and report whether it slows down or needs more memory.

    python bench/clips.py CLIPS WORK --n 10000                 # everything but a model: an engine that takes no time
    python bench/clips.py CLIPS WORK --n 1000 --model tiny.en  # with a model

CLIPS: a folder of recordings of a few seconds, which are linked N times. The table that lists them is SOURCE, so its
cost is included. Times are CPU seconds (user and system), because they do not depend on what else the machine does.
Prints one line for each tenth of the work, then how long `status` takes and how large the report is.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

TENTHS = 10
PER_FOLDER = 500
ENGINE = """
from nightscribe import EngineSpec
from nightscribe.worker.engines.base import Recognition, WindowLimits

SPEC = EngineSpec(name="nothing", load="no_engine:load", requires="numpy", install="none", speed=1000.0)


class Nothing:
    name = "nothing 1.0"
    window_limits = WindowLimits(shortest_s=10.0, longest_s=18.0)
    batch_size = 16

    def recognize(self, windows, request):
        return [Recognition(text=f"Somebody speaks for {window.seconds:.2f} seconds.") for window in windows]


def load(model, weights, *, threads):
    return Nothing()
"""


@dataclass(frozen=True)
class Sample:
    """The state of a run at a moment."""

    n_done: int
    director_cpu_s: float
    workers_cpu_s: float
    director_mb: float
    workers_mb: float


def main() -> None:
    """Make the source, run, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--model", help="the model to use; without it, an engine that takes no time")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    source, dest = given.work / "source", given.work / "dest"
    for folder in (source, dest):
        shutil.rmtree(folder, ignore_errors=True)
    table = link(given.clips, source, given.n)
    environment = os.environ | {"NIGHTSCRIBE_SETTLE_S": "0"}
    engine = ["--model", given.model] if given.model else ["--engine", "nothing"]
    if not given.model:
        environment["PYTHONPATH"] = f"{install(given.work / 'engine')}:{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-P", "-m", "nightscribe", "run", str(table), str(dest), "--formats", "txt"]
    began = time.monotonic()
    with (given.work / "run.log").open("w") as log:
        run = subprocess.Popen(
            [*command, "--workers", str(given.workers), *engine], env=environment, stdout=log, stderr=log
        )
        samples = list(watch(run, dest))
    print(f"{given.n:,} clips, exit code {run.returncode}, {time.monotonic() - began:.0f} s by the clock")
    for line in tenths(samples, given.n):
        print(line)
    print(f"status: {timed([*command[:4], 'status', str(dest)], environment):.1f} s of CPU time")
    report, out = dest / ".nightscribe/report.html", dest / table.name
    print(f"report.html: {report.stat().st_size / 1024:.0f} KB; table: {out.stat().st_size / 2**20:.1f} MB")
    again = timed([*command, "--workers", str(given.workers), *engine], environment)
    print(f"the same command again: {again:.1f} s of CPU time")


def link(clips: Path, source: Path, n: int) -> Path:
    """Link the clips `n` times into folders, and return the table that lists them."""
    found = sorted(path for path in clips.rglob("*") if path.is_file() and path.suffix in (".mp3", ".wav", ".flac"))
    names = []
    for number in range(n):
        clip = found[number % len(found)]
        name = f"{number // PER_FOLDER:03}/{number:06}{clip.suffix}"
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(clip, source / name)
        except OSError:  # another file system
            shutil.copyfile(clip, source / name)
        names.append(name)
    table = source / "clips.csv"
    table.write_text("\n".join(["filename,number", *(f"{name},{n}" for n, name in enumerate(names))]) + "\n")
    return table


def install(folder: Path) -> Path:
    """Make an installed package of the engine that takes no time."""
    about = folder / "no_engine-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: no-engine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[nightscribe.engines]\nnothing = no_engine:SPEC\n")
    (folder / "no_engine.py").write_text(ENGINE)
    return folder.absolute()


def watch(run: "subprocess.Popen[bytes]", dest: Path) -> Iterator[Sample]:
    """Yield the state of a run every second until it ends."""
    director = psutil.Process(run.pid)
    while run.poll() is None:
        time.sleep(1)
        try:
            n_done = json.loads((dest / ".nightscribe/run.json").read_text())["n_done"]
            workers = [each for each in director.children() if "worker" in each.cmdline()]
            times = [director.cpu_times(), *(each.cpu_times() for each in workers)]
            cpu_s = [each.user + each.system + each.children_user + each.children_system for each in times[1:]]
            mb = [each.memory_info().rss / 2**20 for each in workers]
            own = director.memory_info().rss / 2**20
            yield Sample(n_done, times[0].user + times[0].system, sum(cpu_s), own, max(mb, default=0.0))
        except (OSError, ValueError, KeyError, psutil.Error):
            continue


def tenths(samples: list[Sample], n: int) -> Iterator[str]:
    """Yield a line for each tenth of the work: CPU time for each clip, and memory at its end."""
    yield "done      workers ms/clip   director ms/clip   largest worker MB   director MB"
    before = samples[0]
    for tenth in range(1, TENTHS + 1):
        reached = [each for each in samples if each.n_done >= n * tenth / TENTHS]
        if not reached or reached[0].n_done == before.n_done:
            continue
        now, some = reached[0], reached[0].n_done - before.n_done
        workers_ms = 1000 * (now.workers_cpu_s - before.workers_cpu_s) / some
        director_ms = 1000 * (now.director_cpu_s - before.director_cpu_s) / some
        yield f"{now.n_done:>6,}{workers_ms:>18.1f}{director_ms:>19.2f}{now.workers_mb:>20.0f}{now.director_mb:>14.0f}"
        before = now


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Run a command and return its CPU time with that of its children."""
    before = os.times()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
