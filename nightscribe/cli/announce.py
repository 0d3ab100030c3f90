"""Tell the webhooks of a destination's server that a run has ended."""

from datetime import UTC, datetime

import structlog

from nightscribe.server.config import load_server_settings
from nightscribe.server.database.place import default_path
from nightscribe.services.run import RunResult
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.storage.base import Location

log = structlog.get_logger()


def announce_run(dest: Location, result: RunResult) -> None:
    """Queue a message for the webhooks, if this machine knows the database of a server.

    The server sends it, now or when it starts. A database that cannot be used never fails a run.
    """
    try:
        url = load_server_settings().database
        if not url and not default_path(dest).is_file():
            return
        from nightscribe.server.database.database import open_database
        from nightscribe.server.webhooks.events import EventType
        from nightscribe.server.webhooks.store import emit

        database = open_database(dest, url)
        try:
            with database.write() as session:
                emit(
                    session,
                    EventType.RUN_FINISHED,
                    datetime.now(UTC),
                    n_done=result.n_done,
                    n_failed=len(result.failures),
                    n_left=result.n_left,
                )
        finally:
            database.close()
    except NightscribeError as error:
        log.warning("run.not_announced", why=str(error))
    except ModuleNotFoundError as error:  # a server of another installation serves this destination
        log.warning("run.not_announced", why=f"{error.name} is not installed here")
