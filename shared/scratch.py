"""Folders for what lies on the disk for a moment: gone with the process that made them, however that ended."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.processes import is_alive

NAME = re.compile(r"^nightscribe-(\d+)-")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix=f"nightscribe-{os.getpid()}-") as folder:
        yield Path(folder)


def sweep_scratch() -> None:
    """Remove what processes left that were killed."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(tempfile.gettempdir()):
            if (match := NAME.match(entry.name)) and not is_alive(int(match[1])):
                shutil.rmtree(entry.path, ignore_errors=True)
