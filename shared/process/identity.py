"""Processes by name: those of this machine can be asked for, those of others only waited for."""

import os
import socket


def process_name(pid: int) -> str:
    """What a process of this machine is called among those of all machines."""
    return f"{socket.gethostname()}-{pid}"


def has_ended(name: str) -> bool:
    """Whether a process of that name was one of this machine and is no more."""
    host, _, pid = name.rpartition("-")
    return host == socket.gethostname() and pid.isdecimal() and not is_alive(int(pid))


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
