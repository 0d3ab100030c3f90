"""Something appears in a cache whole or not at all, and is made by one process at a time."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nightscribe.shared.process.liveness import LONG_S, report_alive

POLL_S = 0.2


@contextmanager
def workshop(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` to build it in, while every other process waits that wants to.

    Look again for `target` inside the block: the process waited for may have made it. The folder is gone afterwards,
    and so is what a killed process left in it: whoever holds the lock knows that nobody is at work there.

    Raises: OSError: if the folder of `target` cannot be written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.partial")
    # The lock file stays: removing it would let a third process lock a new file while a second waits for the old one.
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        _wait_for(lock)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def publish(built: Path, target: Path) -> None:
    """Move a file, or a folder of files, to its final name, on the disk before it is seen there.

    Raises: OSError: also if `target` is a folder with something in it.
    """
    for path in [*built.iterdir(), built] if built.is_dir() else [built]:
        report_alive(LONG_S)
        _sync(path)
    report_alive()
    built.replace(target)
    _sync(target.parent)


def _wait_for(lock: IO[str]) -> None:
    """Until no other process holds it. Waiting is no silence: should the other hang, it is the one to be ended."""
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report_alive()
            time.sleep(POLL_S)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
