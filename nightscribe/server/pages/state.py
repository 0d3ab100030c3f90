"""Hold what pages keep between requests. All of it can be made again."""

import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import cast

from fastapi import Request

from nightscribe.search.library import Facets
from nightscribe.server.context import Context
from nightscribe.server.pages.peaks import Peaks
from nightscribe.server.pages.readings import Readings
from nightscribe.services.library import facets
from nightscribe.shared.errors import NightscribeError

FRESH_S = 1.0
SHARE_OF_TIME = 20
"""Counts that take long are kept for this many times as long."""
MOST_FOLDERS = 200


class KeptFacets:
    """Keeps what there is to choose from in each folder, because counting a million recordings takes seconds.

    What is old is shown once more, and counted again in a thread.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[Facets, float]] = OrderedDict()
        """By folder: the counts, and until when they are fresh."""
        self._counting: set[str] = set()

    def get(self, folder: str) -> Facets:
        """Return the counts of a folder. Raises: SetupError: if the index cannot be opened."""
        with self._lock:
            found = self._found.get(folder)
            if found and (time.monotonic() < found[1] or folder in self._counting):
                return found[0]
            self._counting.add(folder)
        if found is None:
            return self._count(folder)
        threading.Thread(target=self._count_quietly, args=(folder,), name="facets", daemon=True).start()
        return found[0]

    def _count(self, folder: str) -> Facets:
        began = time.monotonic()
        try:
            counted = facets(self._context.dest, folder)
            now = time.monotonic()
            with self._lock:
                self._found[folder] = counted, now + max(FRESH_S, SHARE_OF_TIME * (now - began))
                self._found.move_to_end(folder)
                while len(self._found) > MOST_FOLDERS:
                    self._found.popitem(last=False)
            return counted
        finally:
            with self._lock:
                self._counting.discard(folder)

    def _count_quietly(self, folder: str) -> None:
        with suppress(NightscribeError):  # the next page counts again, and says so
            self._count(folder)


class State:
    """What the pages of one application keep."""

    def __init__(self, context: Context) -> None:
        self.facets = KeptFacets(context)
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
