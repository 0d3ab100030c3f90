"""Name processes, and check whether they are alive. Only a process's own machine can tell that."""

import hashlib
import os
import re
import secrets
import socket
import sys
import uuid
from functools import cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROCESS_IDS = Path("/proc/self/ns/pid")
_MACHINE = re.compile(r"\.[0-9a-f]{12}-(?=\d+$)")


def process_name(pid: int) -> str:
    """Return a name for a process on this machine that is unique among all machines: `HOST.MACHINE-PID`."""
    return f"{socket.gethostname()}.{machine_id()}-{pid}"


def short_name(name: str) -> str:
    """Return the name of a process as people see it, without its machine's id."""
    return _MACHINE.sub("-", name)


def has_ended(name: str) -> bool:
    """Return whether the named process ran on this machine and has ended.

    False for a name of an earlier release, which does not tell machines with the same host name apart.
    """
    machine, _, pid = name.rpartition("-")
    return machine == f"{socket.gethostname()}.{machine_id()}" and pid.isdecimal() and not is_alive(int(pid))


def is_alive(pid: int) -> bool:
    """Return whether a process with this id exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@cache
def machine_id() -> str:
    """Return 12 hex digits that identify the set of processes whose ids can be compared with those of this process.

    A host name or /etc/machine-id will not do, because machines made from one image share them. The kernel gives each
    boot its own id, and containers on one kernel differ in the namespace of their process ids. If these cannot be read,
    every process gets its own id, so that nothing is concluded about any other.
    """
    try:
        parts = BOOT_ID.read_text().strip(), str(PROCESS_IDS.readlink())
    except OSError:
        parts = ("", f"{uuid.getnode():x}" if sys.platform == "darwin" else secrets.token_hex())
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:12]
