"""Start child processes that never outlive their parent."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import IO

PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h


def start_child(
    command: Sequence[str], *, environment: dict[str, str], output: IO[bytes], niceness: int = 0
) -> "subprocess.Popen[bytes]":
    """Start a process that ends with this one. The higher its `niceness`, the less it hinders others.

    It runs in its own session, so that Ctrl-C reaches only the parent, which stops its children in the right order.
    """
    return subprocess.Popen(
        list(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=ends_with_parent(niceness),  # noqa: PLW1509  the function takes no lock that another thread may hold
    )


def ends_with_parent(niceness: int = 0) -> Callable[[], None]:
    """Return a `preexec_fn` that makes Linux send SIGTERM to the child when its parent dies for any reason."""
    parent = os.getpid()
    set_death_signal = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def before_exec() -> None:
        if set_death_signal:
            set_death_signal(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # the parent died before the call
                os._exit(1)
        if niceness:
            os.nice(niceness)

    return before_exec
