"""Measure how work spreads: one long recording over two workers, and many jobs over many simulated workers.

The many have the project's own queue, director and store; in place of an engine they sleep as long as one of the given
speed would take. Efficiency is the time that they would need if nothing but the work took any, in proportion to the
time that it took: it bends where the queue's server, the director or the disk of this one machine has no more to give.
"""

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from itertools import takewhile
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

from nightscribe.director.backlog import Settled
from nightscribe.director.enqueue import Director
from nightscribe.director.plan.estimate import Rates
from nightscribe.director.scan.scanner import Scanner
from nightscribe.local.queue_server import local_queue
from nightscribe.log import configure_logging
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.assembly import merge
from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.model.transcript import Part, utc_now
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore

QUEUE = "scaling.fifo"
VISIBILITY_S, HEARTBEAT_S = 120.0, 30.0
STOP_S = 30.0
RATE = 0.5  # seconds of sound in a byte of what stands for a recording
RECORDING_BYTES = 1_200  # ten minutes, which is one job
CLIENT_FOR = 10  # simulated workers, as many as it keeps connections; one for each worker would need gigabytes
GIVE_UP = 5  # times the ideal: there it has bent
OPTIONS = Options(engine="auto", model="base")
FORMATS = ("txt", "vtt", "srt")


def main() -> None:
    """Print a table for each of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path, nargs="?", help="a long recording, for one and for two real workers")
    parser.add_argument("--model", default="base", help="Whisper model of the real workers (base)")
    parser.add_argument("--workers", type=int, nargs="*", default=[10, 100, 1000], help="simulated (10 100 1000)")
    parser.add_argument("--speed", type=float, default=30.0, help="of one simulated worker, in × real time (30)")
    parser.add_argument("--jobs", type=int, default=3, help="of ten minutes for each simulated worker (3)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that hold them (one for each core)")
    given = parser.parse_args()
    if given.recording:
        real(given.recording, given.model)
    if given.workers:
        print(f"{'workers':>8}{'jobs':>8}{'ideal s':>10}{'took s':>10}{'efficiency':>12}{'jobs/s':>8}{'troubles':>10}")
    for n_workers in given.workers:
        simulated(n_workers, given.jobs, given.speed, min(given.processes, n_workers))


def real(recording: Path, model: str) -> None:
    """The command as a user types it, loading of the model included."""
    print(f"{'workers':>8}{'took s':>10}{'ratio':>8}   {recording.name}, {model}")
    alone_s = 0.0
    for n_workers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="nightscribe-scaling-") as folder:
            source = Path(folder, "source")
            source.mkdir()
            shutil.copy2(recording, source)
            program = Path(sysconfig.get_path("scripts"), "nightscribe")
            command = [program, "run", source, Path(folder, "dest"), "--model", model, "--workers", str(n_workers)]
            began = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            took_s = time.monotonic() - began
        if done.returncode:
            sys.exit(done.stderr or done.stdout)
        alone_s = alone_s or took_s
        print(f"{n_workers:>8}{took_s:>10.1f}{alone_s / took_s:>8.2f}", flush=True)


def simulated(n_workers: int, jobs_each: int, speed: float, n_processes: int) -> None:
    """One line: from the first job sent to the last one settled."""
    n_jobs = n_workers * jobs_each
    ideal_s = jobs_each * RECORDING_BYTES * RATE / speed
    with tempfile.TemporaryDirectory(prefix="nightscribe-scaling-") as folder:
        source, dest = Path(folder, "source"), Path(folder, "dest")
        dest.mkdir()
        for at in range(n_jobs):
            file = source / f"{at // 1000:03}" / f"{at:07}.mp3"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f"{at:0{RECORDING_BYTES}}".encode())
        with local_queue(Path(folder, "queue.log")):
            done, took_s, troubles = directed(source, dest, n_workers, speed, n_processes, GIVE_UP * ideal_s)
    efficiency = ideal_s / took_s * done / n_jobs
    print(
        f"{n_workers:>8}{done:>8}{ideal_s:>10.1f}{took_s:>10.1f}{efficiency:>11.0%} {done / took_s:>8.1f}{troubles:>10}"
        + ("" if done == n_jobs else f"  given up with {n_jobs - done} left"),
        flush=True,
    )


def directed(
    source: Path, dest: Path, n_workers: int, speed: float, n_processes: int, retry_timeout_s: float
) -> tuple[int, float, int]:
    """Jobs done, seconds for them once every worker waits for its first, and how often a call of a worker failed."""
    configure_logging("error")
    queue = opened()
    spawn = multiprocessing.get_context("spawn")
    ready, stop, troubles = spawn.Barrier(n_processes + 1), spawn.Event(), spawn.Value("i")
    shares = [n_workers // n_processes + (at < n_workers % n_processes) for at in range(n_processes)]
    crews = [spawn.Process(target=crew, args=(share, source, dest, speed, ready, stop, troubles)) for share in shares]
    for process in crews:
        process.start()
    records, files = Records(FolderStore(dest)), FolderSource(source)
    missing = Scanner(files, records, FORMATS, settle_s=0).scan().missing
    director = Director(queue, files, records, OPTIONS, FORMATS, max_queued_jobs=5_000, max_receives=3)
    try:
        ready.wait()
        began = time.monotonic()
        steps = director.direct(missing, rates=Rates({".mp3": RATE}), follow=True)
        in_time = takewhile(lambda _: time.monotonic() - began < retry_timeout_s, steps)
        done = sum(isinstance(step, Settled) for step in in_time)
        return done, time.monotonic() - began, troubles.value
    finally:
        stop.set()
        for process in crews:
            process.join(timeout=STOP_S)
            process.kill()


def opened() -> JobQueue:
    """The queue on the server of the environment."""
    queue = connect(QUEUE, visibility_timeout_s=VISIBILITY_S, max_receives=3)
    queue.ensure()
    return queue


def crew(
    n_workers: int, source: Path, dest: Path, speed: float, ready: Barrier, stop: Event, troubles: "Synchronized[int]"
) -> None:
    """Simulated workers of one process, each a thread."""
    configure_logging("error")
    records, files = Records(FolderStore(dest)), FolderSource(source)
    queues = [opened() for _ in range(0, n_workers, CLIENT_FOR)]
    threads = [
        threading.Thread(target=worker, args=(queues[at // CLIENT_FOR], files, records, speed, stop, troubles))
        for at in range(n_workers)
    ]
    ready.wait()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def worker(
    queue: JobQueue,
    source: FolderSource,
    records: Records,
    speed: float,
    stop: Event,
    troubles: "Synchronized[int]",
) -> None:
    """What a worker does, but for hearing anything."""
    while not stop.is_set():
        try:
            delivery = queue.receive(wait_s=3)
            if delivery:
                job = Job.from_message(delivery.body)
                for slice_ in job.slices:
                    transcribe(queue, delivery, slice_.size * RATE / speed)
                    store(source, records, job, slice_, slice_.size * RATE)
                queue.delete(delivery)
        except NightscribeError:  # as a worker, it goes on; what it could not do comes back
            with troubles.get_lock():
                troubles.value += 1


def transcribe(queue: JobQueue, delivery: Delivery, seconds: float) -> None:
    """Sleep, with a heartbeat."""
    until = time.monotonic() + seconds
    while (left_s := until - time.monotonic()) > HEARTBEAT_S:
        time.sleep(min(left_s, HEARTBEAT_S))
        queue.change_visibility(delivery, VISIBILITY_S)
    time.sleep(max(0.0, left_s))


def store(source: FolderSource, records: Records, job: Job, slice_: Slice, audio_s: float) -> None:
    """Everything that is read and written for one recording."""
    found = source.stat(slice_.recording)
    assert source.fingerprint(found) == slice_.fingerprint
    part = Part(
        segments=(), engine="asleep", language=None, container_s=audio_s, decoded_s=audio_s, processing_s=1.0, flags=()
    )
    records.partial_results.put(job, slice_, part)
    parts = records.partial_results.all(job, slice_)
    assert parts is not None
    records.finish(merge(job, slice_, parts, mtime_ns=found.mtime_ns, finished_at=utc_now()), job.formats)
    records.partial_results.drop(slice_.recording)


if __name__ == "__main__":
    main()
