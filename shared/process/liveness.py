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
# One step that goes through gigabytes, perhaps on a slow share, and tells nothing before it has: a model is loaded.
LONG_S = 1800.0

_last: float | None = None
_due: float | None = None


def report_alive(retry_timeout_s: float = 0.0) -> None:
    """Say that the work goes on: between two steps of it, never from a thread that would go on without it.

    `patience_s`: how much longer than others the next step may take.
    """
    global _last, _due  # noqa: PLW0603  one process, one life
    now, last = time.monotonic(), _last  # another thread may change it meanwhile
    if not retry_timeout_s and last is not None and now - last < SELDOM_S:
        return  # before the environment is looked at, for each of a million files
    _last = None if retry_timeout_s else now  # the next sign ends the patience, however soon it comes
    _due = now + MAX_AGE_S + retry_timeout_s
    if path := os.environ.get(VARIABLE):
        with contextlib.suppress(OSError):  # a full disk is no reason to stop working
            Path(path).touch()
            if retry_timeout_s:
                until = time.time() + retry_timeout_s
                os.utime(path, (until, until))


def is_overdue() -> bool:
    """Whether this process itself has given no sign of life for too long."""
    return _due is not None and time.monotonic() > _due


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
