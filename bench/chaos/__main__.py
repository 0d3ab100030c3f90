"""Kill, stop, starve and cut off workers and directors while they work; then audit what they left.

The queue and its server, the store, decoding, leases and records are the project's own, and each worker and director is
a process of its own. Three things are not real: the engine sleeps for a set time and reads the words from the sound
itself, the speech detector takes that sound for speech, and leases last a few seconds, so that a night fits in minutes.
The seed decides which faults happen, in which order and to which process, but not exactly when.

While they work, workers are killed (SIGKILL), stopped for longer than their lease (SIGSTOP, SIGCONT) and asked to end
(SIGTERM); the director is killed and run again; more directors come and go or are killed; the queue server is killed
and starts again empty. The network between each process and the queue, and with --buckets also the store, is slow or
cut off for a while, breaks in the middle of a request or a response, loses responses, and delivers requests late or
twice. In folders, the disk that holds the transcripts is slow for a while, and full (a small tmpfs; skipped where none
can be mounted). The clocks of the processes differ by up to two hours.

At the end one director runs as if the user had typed the command again, then another that retries what failed, and a
third that finds nothing to do. The audit reads only what is left: each recording has one transcript with every word
right, its text files match it, no temporary file, partial result or message is left, and no recording failed before the
retry unless its workers died each time. An event log of what each process began and ended shows how much work was lost,
how much was done twice, and how long each interrupted job waited for the next worker.

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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path

from rich.progress import track

from chaos.accounting import RECOVERED_WITHIN, Account, Accounting
from chaos.audit import audit, overwritten, unfounded
from chaos.buckets import bucket_server, upload
from chaos.faults import FILL, NETWORK, Chaos, planned
from chaos.network import Network
from chaos.processes import EVENTS, Location
from chaos.sound import jobs, record, written
from nightscribe.local.queue_server import local_queue
from nightscribe.services.request import open_queue
from nightscribe.shared.process.scratch import LOCK, sweep_scratch
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
    parser.add_argument("--network", type=int, help="network faults (a quarter of the kills)")
    parser.add_argument("--buckets", action="store_true", help="keep recordings and transcripts in buckets, in memory")
    parser.add_argument(
        "--untimed", action="store_true", help="judge what is left and not how fast, for a machine with other work"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs, event log and transcripts even if all is well")
    given = parser.parse_args()
    chooser = random.Random(given.seed)
    scripts = written(given.jobs, chooser)
    n_kills = given.jobs // 10 if given.kills is None else given.kills
    n_network = n_kills // 4 if given.network is None else given.network
    faults = planned(n_kills, n_network, given.workers, chooser, in_buckets=given.buckets)
    settings = Settings(
        queue_name="chaos.fifo",
        visibility_timeout_s=given.lease,
        heartbeat_s=given.lease / 4,
        retry_delay_s=1,
        max_queued_jobs=max(100, given.jobs // 4),
    )
    pace = given.minutes * 60 * given.workers * BUSY_SHARE / sum(script.seconds for script in scripts)
    print(
        f"{len(scripts)} recordings in {jobs(scripts)} jobs in {'buckets' if given.buckets else 'folders'}, "
        f"{given.workers} workers, a lease of {given.lease:g} s, seed {given.seed}"
    )
    with _folder(keep=given.keep) as folder, ExitStack() as servers:
        if not given.buckets and any(fault.what == FILL for fault in faults):
            disk_bytes = DISK_BYTES + RECORDING_BYTES * len(scripts)
            if not servers.enter_context(_disk(folder / "dest", disk_bytes)):
                print("No disk could be mounted for the transcripts, so the fault 'fill the disk' is left out.")
                faults = [fault for fault in faults if fault.what != FILL]
        server = servers.enter_context(local_queue(folder / "logs" / "queue.log"))
        ports = {"queue": server.port}
        if given.buckets:
            ports["store"] = servers.enter_context(bucket_server(folder))
        places = ["director", *(f"worker-{at}" for at in range(given.workers))]
        leads_to = {f"{place}.{name}": port for place in places for name, port in ports.items()}
        network = servers.enter_context(Network(leads_to, folder / EVENTS))
        links = {link: network.address(link) for link in leads_to}
        location = Location(folder, settings, pace, links, given.buckets, given.seed)
        for script in track(scripts, "Recording …", transient=True):
            record(script, location.source)
            if given.buckets:
                upload(location.source / script.name, script.name)
        began = time.monotonic()
        until = inf if given.untimed else began + PATIENCE * 60 * given.minutes + 120
        chaos = Chaos(location, server, network, given.workers, faults, scripts)
        chaos.run(until)
        faults_s = time.monotonic() - began
        chaos.settle(until, retry_failed=False)
        wrong, failures = audit(location, scripts, may_fail=True)
        chaos.settle(until, retry_failed=True)
        queue = open_queue(settings)
        queue.find()
        chaos.drain(queue, until)
        chaos.settle(until, retry_failed=False)  # it records dead letters of jobs that others had done
        wrong += [f"A dead letter is left: {letter.reason}" for letter in queue.dead_letters()]
        chaos.end()
        sweep_scratch()  # as the next worker does when it starts
        wrong += [f"{path} is left." for path in _scratch(folder / "tmp")]
        wrong += [each for each in audit(location, scripts, may_fail=False)[0] if each not in wrong]
        events = list(location.event_log.new())
        account = Accounting(events, scripts, settings).account
        wrong += [*unfounded(failures, events, settings.max_receives), *overwritten(location, account.overtaken)]
        print(f"The faults lasted {faults_s:.0f} s, the whole run {time.monotonic() - began:.0f} s. Faults:")
        for what, n in chaos.done.most_common():
            met = chaos.met[what.removeprefix(NETWORK)] if what.startswith(NETWORK) else n
            print(f"{n:>6} × {what}" + (f", {met} of them hit something" if met < n else ""))
        reasons = Counter(failure.reason for failure in failures)
        print(f"Failures before the last run: {reasons.total()}")
        for reason, n in reasons.most_common():
            print(f"{n:>6} × {reason}")
        _print_account(account)
        bad = [*chaos.problems, *wrong, *account.after_lease]
        bad += [] if given.untimed else _judged(account)
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
    for why, seconds in _most(account.lost_s):
        print(f"{seconds / needed_s:>10.2%}  {why}")
    print(f"Done twice: {sum(account.double_s.values()) / needed_s:.2%} of that")
    for why, seconds in _most(account.double_s):
        print(f"{seconds / needed_s:>10.2%}  {why}")
    print(f"Begun by a worker whose lease had run out: {len(account.after_lease)} times")
    print(f"Deleted late, begun in time: {account.late_deletions} files")
    print("Interrupted jobs; visibility timeouts until another worker began them:")
    for why, recoveries in sorted(account.recoveries.items()):
        in_time = sum(each <= RECOVERED_WITHIN for each in recoveries)
        print(
            f"{len(recoveries):>6} × {why}: after {statistics.median(recoveries):.2f} (median), {max(recoveries):.2f} "
            f"(worst); {in_time} within {RECOVERED_WITHIN}"
        )
    if account.claimable:
        print(f"     while a worker was asking and nothing else in the way: {max(account.claimable):.2f} (worst)")
    for why, n in account.allowed.most_common():
        print(f"{n:>6} later, within the bound for: {why}")
    _print_some(account.examples, "such as")


def _most(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(seconds.items(), key=lambda item: -item[1])


def _print_some(lines: Sequence[str], heading: str) -> None:
    for line in lines[:LISTED]:
        print(f"{heading}: {line}")
    if len(lines) > LISTED:
        print(f"… and {len(lines) - LISTED} more")


def _judged(account: Account) -> Iterator[str]:
    double = sum(account.double_s.values()) / (account.needed_s or 1.0)
    if double > MOST_DOUBLE:
        yield f"{double:.2%} of the work was done twice."
    yield from (f"Begun again too late: {each}" for each in account.late)


def _scratch(folder: Path) -> Iterator[Path]:
    """Yield the temporary files of workers and directors; the servers still run."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != LOCK:
            name = path.relative_to(folder).parts[0]
            if not name.startswith(("ministack", f"nightscribe-{os.getpid()}-")):
                yield path


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
    mount = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
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
