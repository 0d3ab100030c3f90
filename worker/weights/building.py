"""Build a file or folder of a cache: it appears whole or not at all, and one process at a time builds it."""

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
    """Provide an empty folder beside `target` to build it in; other processes that want to build it wait.

    Look for `target` again inside the block: another process may have built it meanwhile. The folder is removed
    afterwards. What a killed process left in it is removed first, since only the holder of the lock works there.

    Raises: OSError: if the folder of `target` cannot be written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.partial")
    # Keep the lock file: were it removed, a third process could lock a new one while a second waits for the old one.
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        _wait_for(lock)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def publish(built: Path, target: Path) -> None:
    """Move a file, or a folder of files, to its final name after its content has reached the disk.

    Raises: OSError: if the disk refuses, or `target` is a folder that is not empty.
    """
    for path in [*built.iterdir(), built] if built.is_dir() else [built]:
        report_alive(LONG_S)
        _sync(path)
    report_alive()
    built.replace(target)
    _sync(target.parent)


def _wait_for(lock: IO[str]) -> None:
    """Wait until no other process holds the lock, reporting alive: the holder of the lock is the one that may hang."""
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
