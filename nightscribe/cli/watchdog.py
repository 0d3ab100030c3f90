"""End a director or worker that hangs: whatever started it mostly does not.

Docker only shows that a container is not well, and a task that ECS runs by a schedule goes on for as long as it likes.
"""

import faulthandler
import os
import threading
import time

import structlog

from nightscribe.shared.process.liveness import VARIABLE, is_overdue, report_alive

log = structlog.get_logger()

EXIT_CODE = 3
LOOK_S = 60.0
# A machine that slept has been silent as well. It gives a sign of life as soon as it goes on.
N_LOOKS = 3


def end_once_silent() -> None:
    """From now on, end this process when its signs of life cease, if the environment asks for them.

    Whoever asks for them starts it again. Any other process may wait for a share as long as that takes.
    """
    if os.environ.get(VARIABLE):
        report_alive()
        threading.Thread(target=_watch, name="watchdog", daemon=True).start()


def _watch() -> None:
    n_silent = 0
    while n_silent < N_LOOKS:
        time.sleep(LOOK_S)
        n_silent = n_silent + 1 if is_overdue() else 0
    log.error("process.hung", why="It has given no sign of life for too long, and is ended. Below is where it stood.")
    faulthandler.dump_traceback()
    os._exit(EXIT_CODE)
