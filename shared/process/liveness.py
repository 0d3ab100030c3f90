"""Show that a process is alive: it touches a file as it works, if its supervisor names one."""

import contextlib
import os
import time
from pathlib import Path

VARIABLE = "NIGHTSCRIBE_PULSE"  # names the file; not a setting, because `nightscribe health` must not load settings
# A slow machine may take minutes for one step of a large model, and a paused worker waits for five. Too short a limit
# kills a process in the middle of its work; too long a limit costs only minutes.
MAX_AGE_S = 600.0
MIN_INTERVAL_S = 1.0
# Loading a model may read gigabytes from a slow share without a sign of life.
LONG_S = 1800.0

_last: float | None = None
_due: float | None = None


def report_alive(extra_s: float = 0.0) -> None:
    """Report that work continues. Call it between steps of the work, never from a thread that would outlive a hang.

    `extra_s`: how much longer than usual the next step may take.
    """
    global _last, _due  # noqa: PLW0603  liveness belongs to the process
    now, last = time.monotonic(), _last  # another thread may change `_last` at any time
    if not extra_s and last is not None and now - last < MIN_INTERVAL_S:
        return  # cheap enough to be called for each of a million files
    _last = None if extra_s else now  # the next report ends the extra time, however soon it comes
    _due = now + MAX_AGE_S + extra_s
    if path := os.environ.get(VARIABLE):
        with contextlib.suppress(OSError):  # a full disk must not stop the work
            Path(path).touch()
            if extra_s:
                until = time.time() + extra_s
                os.utime(path, (until, until))


def is_overdue() -> bool:
    """Return whether the last report of this process is too old."""
    return _due is not None and time.monotonic() > _due


def why_dead(max_age_s: float = MAX_AGE_S) -> str | None:
    """Return a sentence on why the process is considered dead, or None if it has recently reported."""
    path = os.environ.get(VARIABLE)
    if not path:
        return f"{VARIABLE} is not set, so no process is watched. Set it to one file for the worker and this command."
    try:
        age_s = max(0.0, time.time() - Path(path).stat().st_mtime)
    except OSError:
        return f"No sign of life yet: {path} does not exist."
    if age_s > max_age_s:
        return f"No sign of life for {age_s:.0f} s, which is more than {max_age_s:.0f} s."
    return None
