"""Signs of life: a process touches a file as its work goes on, if a supervisor names one."""

import contextlib
import os
import time
from pathlib import Path

VARIABLE = "NIGHTSCRIBE_PULSE"  # names the file; no setting, since `nightscribe health` must not load the settings
# A slow machine may take minutes for one step of a large model, and a worker that pauses takes five. If this is too
# short, a process is killed in the middle of its work; if it is too long, that costs minutes.
MAX_AGE_S = 600.0
MIN_INTERVAL_S = 1.0
# For a step that reads gigabytes, perhaps from a slow share, without a sign of life: loading a model.
LONG_S = 1800.0

_last: float | None = None
_due: float | None = None


def report_alive(extra_s: float = 0.0) -> None:
    """Report that the work goes on. Call it between two steps of the work, never from a thread that outlives a hang.

    `extra_s`: how much longer than usual the next step may take.
    """
    global _last, _due  # noqa: PLW0603  one process, one life
    now, last = time.monotonic(), _last  # another thread may change it meanwhile
    if not extra_s and last is not None and now - last < MIN_INTERVAL_S:
        return  # cheap enough to be called for each of a million files
    _last = None if extra_s else now  # the next sign ends the extra time, however soon it comes
    _due = now + MAX_AGE_S + extra_s
    if path := os.environ.get(VARIABLE):
        with contextlib.suppress(OSError):  # a full disk is no reason to stop working
            Path(path).touch()
            if extra_s:
                until = time.time() + extra_s
                os.utime(path, (until, until))


def is_overdue() -> bool:
    """Return whether this process has reported nothing for too long."""
    return _due is not None and time.monotonic() > _due


def why_dead(max_age_s: float = MAX_AGE_S) -> str | None:
    """Return a sentence on why the process is taken for dead, or None if it has shown a sign of life lately."""
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
