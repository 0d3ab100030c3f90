"""Keep the search index and the list of recordings up to date while the server runs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from nightscribe.server.context import Context
from nightscribe.services import search
from nightscribe.shared.errors import NightscribeError

log = structlog.get_logger()

LOCAL_EVERY_S = 3.0
SHARE_OF_TIME = 10
"""An update that takes long is repeated after this many times its duration, so that it never fills the day."""


@contextmanager
def keep_index(context: Context) -> Iterator[None]:
    """Update the index in a thread: at once, whenever `context.changed` is set, and from time to time."""
    stop = threading.Event()
    thread = threading.Thread(target=_keep, args=(context, stop), name="index", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        context.changed.set()
        thread.join(timeout=5)  # an update that is still running is only interrupted, and continues next time


def _keep(context: Context, stop: threading.Event) -> None:
    every_s = LOCAL_EVERY_S if context.dest.local_path is not None else search.REMOTE_AGE_S
    said = ""
    while not stop.is_set():
        context.changed.clear()
        began = time.monotonic()
        try:
            search.index(context.dest, options=context.storage, source=context.source)
            said = ""
        except NightscribeError as error:
            if str(error) != said:
                said = str(error)
                log.warning("index.not_updated", why=said)
        except Exception as error:
            log.error("index.not_updated", exc_info=error)
        context.changed.wait(max(every_s, SHARE_OF_TIME * (time.monotonic() - began)))
