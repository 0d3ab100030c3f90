"""The command under test and what it leaves behind."""

import sys
from pathlib import Path

COMMAND = [sys.executable, "-P", "-m", "nightscribe"]


def texts(dest: Path) -> dict[str, bytes]:
    """Every file of a destination that is not one of the program's own records."""
    return {
        path.relative_to(dest).as_posix(): path.read_bytes()
        for path in dest.rglob("*")
        if path.is_file() and ".nightscribe" not in path.relative_to(dest).parts
    }
