"""A download by others' code: what arrives on the disk is seen, and it ends when we do."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nightscribe.shared.process.children import ends_with_parent
from nightscribe.shared.process.liveness import report_alive

LOOK_S = 1.0


def fetched(
    command: list[str], into: Path, *, stdout: int | None, stderr: int | None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run what brings something into a folder: what arrives there is a sign of life, time that passes is none.

    `into` may come to be later. `stdout` and `stderr` are those of `subprocess`.
    """
    seen = _size(into)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=env,
        text=True,
        preexec_fn=ends_with_parent(),  # noqa: PLW1509  see there
    ) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    said, told = process.communicate(timeout=LOOK_S)
                    return subprocess.CompletedProcess(command, process.returncode, said, told)
                before, seen = seen, _size(into)
                if seen != before:
                    report_alive()
        except BaseException:
            process.kill()
            process.wait()  # which its context does not do after Ctrl-C
            raise


def _size(slice_: Path) -> int:
    """Of all that is in a folder and below."""
    n = 0
    for folder, _, names in os.walk(slice_):
        for name in names:
            try:
                stat = os.lstat(f"{folder}/{name}")
            except OSError:  # renamed or removed at this moment
                continue
            n += stat.st_size + 512 * stat.st_blocks  # of a file that has its full length from the first
    return n
