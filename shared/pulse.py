"""A sign of life: a file that a process touches as its work goes on, where whoever looks after it asks for one."""

import contextlib
import os
import time
from pathlib import Path

VARIABLE = "NIGHTSCRIBE_PULSE"  # the file; no setting, since `nightscribe health` must not load what reads those
# A slow machine may take minutes for one step of a large model, and a worker that rests takes five. Whoever is thought
# dead too early is killed in the middle of its work; too late costs minutes.
MAX_AGE_S = 600.0
SELDOM_S = 1.0

_last: float | None = None


def beat() -> None:
    """Say that the work goes on: between two steps of it, never from a thread that would go on without it."""
    global _last  # noqa: PLW0603  one process, one life
    now = time.monotonic()
    if _last is not None and now - _last < SELDOM_S:  # first: a look at the environment for each of a million files
        return
    _last = now
    if path := os.environ.get(VARIABLE):
        with contextlib.suppress(OSError):  # a full disk is no reason to stop working
            Path(path).touch()


def why_dead(max_age_s: float = MAX_AGE_S) -> str | None:
    """Why the process is taken for dead, in a sentence; None if it has shown a sign of life lately."""
    path = os.environ.get(VARIABLE)
    if not path:
        return f"{VARIABLE} names no file, so no process is watched; give it to the worker and to this command."
    try:
        age_s = max(0.0, time.time() - Path(path).stat().st_mtime)
    except OSError:
        return f"No sign of life yet: there is no {path}."
    if age_s > max_age_s:
        return f"No sign of life for {age_s:.0f} s, which is more than {max_age_s:.0f} s."
    return None
