"""Notes that a server leaves in a destination for workers and directors: what is cancelled, and what it has queued."""

from pydantic import AwareDatetime

from nightscribe.shared.destination.json_store import JsonStore
from nightscribe.shared.destination.keys import CANCELLED, SUBMITTED, cancelled_key, submitted_key
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.model.versioned import Stored
from nightscribe.shared.storage.base import Ages, TranscriptStore

SUBMITTED_FOR_S = 24 * 3600.0
"""A note that a recording is queued counts for so long. A server that runs renews it."""
CANCELLED_FOR_S = 15 * 24 * 3600.0  # a queue keeps messages for two weeks


class Cancelled(Stored):
    """The work on a job is to stop."""

    at: AwareDatetime


class Submitted(Stored):
    """A server has queued a recording with the options that somebody chose, so a director leaves it alone."""

    recording: str
    job: str


class Notes:
    """Reads and writes these notes."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store
        self._typed = JsonStore(store)

    def cancel(self, job: str) -> None:
        """Request that the work on a job stops."""
        self._typed.save(cancelled_key(job), Cancelled(at=utc_now()), durable=False)

    def is_cancelled(self, job: str) -> bool:
        """Return whether the work on a job is to stop."""
        return self._store.ends(cancelled_key(job), 1, 0) is not None

    def submit(self, recording: str, job: str) -> None:
        """Note that a server has queued a recording, or that it still waits for it."""
        self._typed.save(submitted_key(recording), Submitted(recording=recording, job=job), durable=False)

    def settle(self, recording: str) -> None:
        """Remove the note about a recording."""
        self._store.delete(submitted_key(recording))

    def submitted(self) -> frozenset[str]:
        """Return the keys of all notes about queued recordings; usually there are none."""
        return frozenset(SUBMITTED + name for name in self._store.names(SUBMITTED))

    def counts(self, key: str) -> bool:
        """Return whether a note about a queued recording is so young that a server still waits for it."""
        return self._age_s(key) < SUBMITTED_FOR_S

    def remove_old(self) -> None:
        """Remove notes that do not count any more."""
        for folder, most_s in ((CANCELLED, CANCELLED_FOR_S), (SUBMITTED, 2 * SUBMITTED_FOR_S)):
            for name in self._store.names(folder):
                if self._age_s(folder + name) > most_s:
                    self._store.delete(folder + name)

    def _age_s(self, key: str) -> float:
        return (self._store.age_s(key) or 0.0) if isinstance(self._store, Ages) else 0.0
