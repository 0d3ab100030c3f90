"""Kill, stop, starve and cut off workers and directors while they work; then audit what they left.

The queue and its server, the store, decoding, leases and records are the project's own, and each worker and director is
a process of its own. Three things are not real: the engine sleeps for a set time and reads the words from the sound
itself, the speech detector takes that sound for speech, and leases last a few seconds, so that a night fits in minutes.
The seed decides which faults happen, in which order and to which process, but not exactly when.

While they work, workers are killed (SIGKILL), stopped for longer than their lease (SIGSTOP, SIGCONT) and asked to end
(SIGTERM); the director is killed and run again; more directors come and go or are killed; the queue server is killed
and starts again empty; the disk that holds the transcripts is slow for a while, and full (a small tmpfs; skipped where
none can be mounted).

At the end one director runs as if the user had typed the command again, then another that retries what failed. The
audit reads only the files: each recording has one transcript with every word right, its text files match it, and no
temporary file or partial result is left. An event log of what each process began and ended shows how much work was
lost, how much was done twice, and how long the job of a killed worker waited for the next one.

Exit code: 0 if all is well.
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

from chaos.accounting import RECOVERED_WITHIN, Account, Accounting
from chaos.audit import audit
from chaos.faults import FILL, Chaos, planned
from chaos.processes import Location
from chaos.sound import jobs, record, written
from nightscribe.local.queue_server import local_queue
from nightscribe.shared.settings import Settings

MOST_DOUBLE = 0.01
LISTED = 15
BUSY_SHARE = 0.5  # of its time a worker spends in the engine; the rest goes for its deaths and the machine's noise
PATIENCE = 4  # times the minutes asked for
DISK_BYTES, RECORDING_BYTES = 64_000_000, 40_000  # of the destination


def main() -> None:
    """Run the faults, audit the destination and print the accounting."""
    parser = argparse.ArgumentParser(
        prog="chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=500, help="messages that the first director queues (500)")
    parser.add_argument("--minutes", type=float, default=3, help="roughly how long the faults last (3)")
    parser.add_argument("--seed", type=int, default=1, help="decides the recordings and the faults (1)")
    parser.add_argument(
        "--kills", type=int, help="kills of workers; other faults follow in proportion (a tenth of the jobs)"
    )
    parser.add_argument("--workers", type=int, default=8, help="workers at a time (8)")
    parser.add_argument("--lease", type=float, default=4, help="visibility timeout in seconds (4)")
    parser.add_argument("--keep", action="store_true", help="keep logs, event log and transcripts even if all is well")
    given = parser.parse_args()
    chooser = random.Random(given.seed)
    scripts = written(given.jobs, chooser)
    faults = planned(given.jobs // 10 if given.kills is None else given.kills, chooser)
    settings = Settings(
        queue_name="chaos.fifo",
        visibility_timeout_s=given.lease,
        heartbeat_s=given.lease / 4,
        retry_delay_s=1,
        max_queued_jobs=max(100, given.jobs // 4),
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
            print("No disk could be mounted for the transcripts, so the fault 'fill the disk' is left out.")
            faults = [fault for fault in faults if fault.what != FILL]
        location = Location(folder, settings, pace)
        for script in track(scripts, "Recording …", transient=True):
            record(script, location.source)
        began = time.monotonic()
        until = began + PATIENCE * 60 * given.minutes + 120
        with local_queue(folder / "logs" / "queue.log") as server:
            chaos = Chaos(location, server, given.workers, faults, scripts)
            chaos.run(until)
            faults_s = time.monotonic() - began
            chaos.settle(until, retry_failed=False)
            wrong, reasons = audit(location, scripts, may_fail=True)
            chaos.settle(until, retry_failed=True)
            chaos.end()
        wrong += [each for each in audit(location, scripts, may_fail=False)[0] if each not in wrong]
        account = Accounting(location.event_log.new(), scripts, settings).account
        print(f"The faults lasted {faults_s:.0f} s, the whole run {time.monotonic() - began:.0f} s. Faults:")
        for what, n in chaos.done.most_common():
            print(f"{n:>6} × {what}")
        print(f"Failures before the last run: {reasons.total()}")
        for reason, n in reasons.most_common():
            print(f"{n:>6} × {reason}")
        _print_account(account)
        print(f"Left in the folder for temporary files: {len(list((folder / 'tmp').iterdir()))}")
        bad = [*chaos.problems, *wrong, *_judged(account)]
        if chaos.done.total() < len(faults):
            bad.append("The work ended before the last fault: raise --minutes.")
        if bad:
            _print_some(bad, "WRONG")
            sys.exit(1)
    print(f"The audit is clean: {len(scripts)} recordings, each with its one transcript, every word right.")


def _print_account(account: Account) -> None:
    needed_s = account.needed_s or 1.0
    print(f"Engine time needed: {needed_s:.0f} s")
    print(f"Lost, because it was never stored: {sum(account.lost_s.values()) / needed_s:.2%} of that")
    for why, seconds in account.lost_s.most_common():
        print(f"{seconds / needed_s:>10.2%}  {why}")
    print(f"Done twice: {sum(account.double_s.values()) / needed_s:.2%} of that")
    for why, seconds in account.double_s.most_common():
        print(f"{seconds / needed_s:>10.2%}  {why}")
    print(f"Stored or deleted by a worker whose lease had run out: {account.stored_late} times")
    print(f"Kills in the middle of a job: {account.interrupted}; visibility timeouts until another worker began it:")
    if account.recoveries:
        in_time = [each for each in account.recoveries if each <= RECOVERED_WITHIN]
        print(
            f"     after {statistics.median(account.recoveries):.2f} (median), {max(account.recoveries):.2f} (worst); "
            f"{len(in_time)} within {RECOVERED_WITHIN}"
            + (f", the worst of them {max(in_time):.2f}" if in_time else "")
            + f"; of that, waiting for a free worker {statistics.median(account.waited):.2f} (median)"
        )
    for why, n in account.late.most_common():
        print(f"{n:>6} later: {why or 'unexplained'}")
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
        yield f"{account.late['']} jobs of killed workers were begun again too late, for no known reason."
    if account.stored_late:
        yield f"A worker whose lease had run out stored or deleted something {account.stored_late} times."


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """Make the folder of this run; keep it if anything is wrong."""
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
            print(f"Logs, the event log and the content of the destination are kept in {folder}.")
        else:
            shutil.rmtree(folder)


@contextmanager
def _disk(folder: Path, n_bytes: int) -> Iterator[bool]:
    """Mount a small disk for the transcripts, which can be filled up; yield whether that worked."""
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
