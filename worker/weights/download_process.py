"""Run a download program that ends with this process, and watch its progress on the disk."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nightscribe.shared.process.children import ends_with_parent
from nightscribe.shared.process.liveness import report_alive

POLL_S = 1.0


def fetched(
    command: list[str], into: Path, *, stdout: int | None, stderr: int | None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that downloads into a folder, and report this process alive whenever data arrives there.

    `into` need not exist yet. `stdout` and `stderr` are passed to `subprocess`.
    """
    seen = _size(into)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=env,
        text=True,
        preexec_fn=ends_with_parent(),  # noqa: PLW1509  the function takes no lock that another thread may hold
    ) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    output, errors = process.communicate(timeout=POLL_S)
                    return subprocess.CompletedProcess(command, process.returncode, output, errors)
                before, seen = seen, _size(into)
                if seen != before:
                    report_alive()
        except BaseException:
            process.kill()
            process.wait()  # its context manager does not wait after Ctrl-C
            raise


def _size(root: Path) -> int:
    """Return a number that grows as files are written below a folder."""
    n = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                stat = os.lstat(f"{folder}/{name}")
            except OSError:  # just renamed or removed
                continue
            n += stat.st_size + 512 * stat.st_blocks  # blocks, because some files have their full length from the start
    return n
