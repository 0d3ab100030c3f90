"""Names of processes. Whether a process is alive can be told only on its own machine."""

import os
import socket


def process_name(pid: int) -> str:
    """Return the name of a process of this machine, unique among all machines."""
    return f"{socket.gethostname()}-{pid}"


def has_ended(name: str) -> bool:
    """Return whether that process was one of this machine and has ended."""
    host, _, pid = name.rpartition("-")
    return host == socket.gethostname() and pid.isdecimal() and not is_alive(int(pid))


def is_alive(pid: int) -> bool:
    """Return whether a process with that id exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
