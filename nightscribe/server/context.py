"""Hold what every request works on: a destination, its source, the settings and the database."""

import threading
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from nightscribe.server.config import ServerSettings
from nightscribe.server.database.database import Database
from nightscribe.server.errors import ApiError
from nightscribe.server.jobs.service import Jobs
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location, StorageOptions


@dataclass(frozen=True)
class Context:
    """What a server serves."""

    dest: Location
    source: Location | None
    settings: Settings
    server: ServerSettings
    database: Database
    changed: threading.Event = field(default_factory=threading.Event)
    """Set it after a record was changed, and the list of recordings is brought up to date at once."""
    jobs: Jobs | None = None
    """The jobs of this server; None if it takes none."""

    @property
    def storage(self) -> StorageOptions:
        """Return the settings that concern the storage."""
        return self.settings.storage


def context_of(request: Request) -> Context:
    """Return the context of the application to which a request came."""
    return cast("Context", request.app.state.context)


def jobs_of(request: Request) -> Jobs:
    """Return the jobs of the application. Raises: ApiError: if it takes none."""
    jobs = context_of(request).jobs
    if jobs is None:
        raise ApiError(
            503,
            "no_jobs",
            "This server takes no recordings, because it knows no source or no queue.",
            "Start it with --source, and without --no-workers or with the queue of a fleet.",
        )
    return jobs


Serving = Annotated[Context, Depends(context_of)]
"""Parameter of an endpoint: the context."""
Working = Annotated[Jobs, Depends(jobs_of)]
"""Parameter of an endpoint: the jobs."""
