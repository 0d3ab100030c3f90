"""End a director or worker that hangs, because most orchestrators do not.

Docker only shows that a container is unhealthy, and ECS lets a scheduled task run for ever.
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
# A machine that slept was silent, too, and its processes report again once they resume: one silent check is no proof.
N_LOOKS = 3


def end_once_silent() -> None:
    """Start to watch this process and end it when its signs of life cease, if the environment requests them.

    An environment that requests them restarts the process. Any other process may wait for a share indefinitely.
    """
    if os.environ.get(VARIABLE):
        report_alive()
        threading.Thread(target=_watch, name="watchdog", daemon=True).start()


def _watch() -> None:
    n_silent = 0
    while n_silent < N_LOOKS:
        time.sleep(LOOK_S)
        n_silent = n_silent + 1 if is_overdue() else 0
    log.error(
        "process.hung", why="It has given no sign of life for too long and is being ended. Its stack traces follow."
    )
    faulthandler.dump_traceback()
    os._exit(EXIT_CODE)
