"""Hold what pages keep between requests. All of it can be made again."""

import threading
from typing import cast

from fastapi import Request

from nightscribe.server.context import Context
from nightscribe.server.pages.peaks import Peaks
from nightscribe.server.pages.readings import Readings


class State:
    """What the pages of one application keep."""

    def __init__(self, context: Context) -> None:
        self.readings = Readings(context.dest, context.storage)
        self.peaks = Peaks(context)


_making = threading.Lock()


def state_of(request: Request) -> State:
    """Return what the pages of the application keep."""
    state = request.app.state
    with _making:
        if not hasattr(state, "pages"):
            state.pages = State(cast("Context", state.context))
    return cast("State", state.pages)
