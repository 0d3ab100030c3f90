"""Hold what every request works on: a destination, its source, the settings and the database."""

import threading
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from nightscribe.server.config import ServerSettings
from nightscribe.server.database.database import Database
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

    @property
    def storage(self) -> StorageOptions:
        """Return the settings that concern the storage."""
        return self.settings.storage


def context_of(request: Request) -> Context:
    """Return the context of the application to which a request came."""
    return cast("Context", request.app.state.context)


Serving = Annotated[Context, Depends(context_of)]
"""Parameter of an endpoint: the context."""
