"""Chaos: workers and directors at work while they are killed, stopped, starved and cut off; then an audit.

The queue and its server, the store, the decoding, leases and records are the project's own, each worker and director
is a process of its own. Three things are not: the engine sleeps as long as it is told and reads from the sound which
words are said; the speech detector takes that sound for speech; leases are of some seconds, so that a night fits into
minutes. What is done to them, in which order and to whom, follows from the seed; when exactly does not.

While they work, workers are killed (SIGKILL), stopped for longer than their lease (SIGSTOP, SIGCONT) and asked to end
(SIGTERM), the director is killed and run again, more directors come and go or are killed, the queue's server is killed
and begins anew with nothing, the disk of the transcripts is slow for a while, and full (a small tmpfs; not done where
none can be mounted).

At the end a director comes by as if the user ran it again, then one that tries again what failed. The audit reads the
files alone: each recording has one transcript, of which every word is right; its text files are what it says; there are
no temporary files and no parts. From a diary of what each process began and ended it is counted what was done in vain,
what was done twice, and how long it took until the job of a killed worker was begun again. Exit code: 0 if all is well.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import track
from storm.account import RECOVERED_WITHIN, Account, Book
from storm.acts import FILL, Storm, planned
from storm.audit import audit
from storm.crew import Location
from storm.sound import jobs, record, written

from nightscribe.local.queue_server import local_queue
from nightscribe.shared.settings import Settings

MOST_DOUBLE = 0.01
LISTED = 15
BUSY_SHARE = 0.5  # of its time a worker spends in the engine; the rest goes for its deaths and the machine's noise
PATIENCE = 4  # times the minutes asked for
DISK_BYTES, RECORDING_BYTES = 64_000_000, 40_000  # of the destination


def main() -> None:
    """Do it, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500, help="messages that the first director queues (500)")
    parser.add_argument("--minutes", type=float, default=3, help="that it is to take, roughly (3)")
    parser.add_argument("--seed", type=int, default=1, help="of the recordings and of what is done (1)")
    parser.add_argument("--kills", type=int, help="of workers; of everything else in proportion (a tenth of the jobs)")
    parser.add_argument("--workers", type=int, default=8, help="at a time (8)")
    parser.add_argument("--lease", type=float, default=4, help="visibility timeout in seconds (4)")
    parser.add_argument("--keep", action="store_true", help="keep logs, diary and transcripts even if all is well")
    given = parser.parse_args()
    chooser = random.Random(given.seed)
    scripts = written(given.jobs, chooser)
    acts = planned(given.jobs // 10 if given.kills is None else given.kills, chooser)
    settings = Settings(
        queue_name="chaos.fifo",
        visibility_timeout_s=given.lease,
        heartbeat_s=given.lease / 4,
        retry_delay_s=1,
        window=max(100, given.jobs // 4),
    )
    pace = given.minutes * 60 * given.workers * BUSY_SHARE / sum(script.seconds for script in scripts)
    print(
        f"{len(scripts)} recordings in {jobs(scripts)} jobs, {given.workers} workers, a lease of {given.lease:g} s, "
        f"seed {given.seed}"
    )
    with (
        _folder(keep=given.keep) as folder,
        _disk(folder / "dest", DISK_BYTES + RECORDING_BYTES * len(scripts)) as own_disk,
    ):
        if not own_disk:
            print("No disk of its own could be mounted, so none is filled up.")
            acts = [act for act in acts if act.what != FILL]
        place = Location(folder, settings, pace)
        for script in track(scripts, "Recording …", transient=True):
            record(script, place.source)
        began = time.monotonic()
        until = began + PATIENCE * 60 * given.minutes + 120
        with local_queue(folder / "logs" / "queue.log") as server:
            storm = Storm(place, server, given.workers, acts, scripts)
            storm.rage(until)
            raged_s = time.monotonic() - began
            storm.settle(until, retry_failed=False)
            wrong, reasons = audit(place, scripts, may_fail=True)
            storm.settle(until, retry_failed=True)
            storm.end()
        wrong += [each for each in audit(place, scripts, may_fail=False)[0] if each not in wrong]
        account = Book(place.diary.new(), scripts, settings).account
        print(f"The storm lasted {raged_s:.0f} s, all of it {time.monotonic() - began:.0f} s. What was done:")
        for what, n in storm.done.most_common():
            print(f"{n:>6} × {what}")
        print(f"Failures before the last run: {reasons.total()}")
        for reason, n in reasons.most_common():
            print(f"{n:>6} × {reason}")
        _print_account(account)
        print(f"Left in the machine's folder for temporary files: {len(list((folder / 'tmp').iterdir()))}")
        bad = [*storm.troubles, *wrong, *_judged(account)]
        if storm.done.total() < len(acts):
            bad.append("The work was done before all was done to it: give it more --minutes.")
        if bad:
            _print_some(bad, "WRONG")
            sys.exit(1)
    print(f"The audit is clean: {len(scripts)} recordings, each with its one transcript, every word right.")


def _print_account(account: Account) -> None:
    needed_s = account.needed_s or 1.0
    print(f"Engine time that was needed: {needed_s:.0f} s")
    print(f"Lost, because never stored: {sum(account.lost_s.values()) / needed_s:.2%} of that")
    for why, seconds in account.lost_s.most_common():
        print(f"{seconds / needed_s:>10.2%}  {why}")
    print(f"Done twice: {sum(account.double_s.values()) / needed_s:.2%} of that")
    for why, seconds in account.double_s.most_common():
        print(f"{seconds / needed_s:>10.2%}  {why}")
    print(f"Stored or deleted by a worker whose lease had run out: {account.stored_late} times")
    print(f"Kills in the middle of a job: {account.interrupted}; begun again elsewhere, in visibility timeouts:")
    if account.recoveries:
        in_time = [each for each in account.recoveries if each <= RECOVERED_WITHIN]
        print(
            f"     after {statistics.median(account.recoveries):.2f} (median), {max(account.recoveries):.2f} (worst); "
            f"{len(in_time)} within {RECOVERED_WITHIN}"
            + (f", the worst of them {max(in_time):.2f}" if in_time else "")
            + f"; of it waiting for a worker to be free {statistics.median(account.waited):.2f} (median)"
        )
    for why, n in account.late.most_common():
        print(f"{n:>6} later: {why or 'nobody knows why'}")
    _print_some(account.examples, "such as")


def _print_some(lines: Sequence[str], heading: str) -> None:
    for line in lines[:LISTED]:
        print(f"{heading}: {line}")
    if len(lines) > LISTED:
        print(f"… and {len(lines) - LISTED} more")


def _judged(account: Account) -> Iterator[str]:
    double = sum(account.double_s.values()) / (account.needed_s or 1.0)
    if double > MOST_DOUBLE:
        yield f"{double:.2%} of the work was done twice."
    if account.late[""]:
        yield f"{account.late['']} jobs of killed workers were begun again too late, and nobody knows why."
    if account.stored_late:
        yield f"A worker whose lease had run out stored or deleted {account.stored_late} times."


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """Where it all happens; it stays there if anything is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="nightscribe-chaos-"))
    for name in ("source", "dest", "logs", "tmp"):
        (folder / name).mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    try:
        yield folder
    except BaseException:
        keep = True
        raise
    finally:
        if keep:
            print(f"Logs, the diary and what was in the destination are kept in {folder}.")
        else:
            shutil.rmtree(folder)


@contextmanager
def _disk(folder: Path, n_bytes: int) -> Iterator[bool]:
    """A disk of its own for the transcripts, which can be filled up; gives whether there is one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        shutil.copytree(folder, folder.with_name("kept"))
        subprocess.run(["umount", "--lazy", folder], check=True)


if __name__ == "__main__":
    main()
