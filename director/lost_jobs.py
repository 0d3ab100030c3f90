"""Detect that a queue server was restarted and has lost its messages. Pure, except for the clock."""

from collections.abc import Callable

from nightscribe.shared.queue.inspector import Counts

STALLED_S = 15.0  # an empty queue with jobs outstanding has lost them; counts may lag for some seconds


class LostJobDetector:
    """Compares the queue's counts with what should be on it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._empty_since: float | None = None
        self._made_at = ""

    def are_lost(self, counts: Counts, *, any_outstanding: bool) -> bool:
        """Return whether the outstanding jobs have to be sent again."""
        before, self._made_at = self._made_at, counts.made_at
        was_recreated = bool(before) and before != counts.made_at  # by a worker that was faster than the director
        if was_recreated or not any_outstanding or counts.queued + counts.in_flight:
            self._empty_since = None
            return was_recreated and any_outstanding
        if self._empty_since is None:
            self._empty_since = self._clock()
        if self._clock() - self._empty_since > STALLED_S:
            self._empty_since = None
            return True
        return False

    def expect_new_queue(self) -> None:
        """Forget the previous queue, which the director has just created again."""
        self._empty_since = None
        self._made_at = ""
