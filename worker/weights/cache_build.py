"""Build a file or folder in a cache so that it appears whole or not at all, one process at a time."""

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
    """Yield an empty folder beside `target` to build it in, while other processes that want to build it wait.

    Check for `target` again inside the block, because another process may have built it in the meantime. The folder is
    emptied first and removed afterwards.

    Raises: OSError: if the folder of `target` cannot be written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.partial")
    # Keep the lock file: if it were removed, one process could lock a new file while another waits for the old one.
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        _wait_for(lock)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def publish(built: Path, target: Path) -> None:
    """Flush a file or a folder of files to the disk, then move it to its final name.

    Raises: OSError: if the disk fails, or `target` is a folder that is not empty.
    """
    for path in [*built.iterdir(), built] if built.is_dir() else [built]:
        report_alive(LONG_S)
        _sync(path)
    report_alive()
    built.replace(target)
    _sync(target.parent)


def _wait_for(lock: IO[str]) -> None:
    """Wait for the lock, and report this process alive while waiting, because only the lock's holder can hang."""
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
