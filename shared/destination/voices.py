"""Store the voices that people have named or set apart.

Each voice has a file of its own. So two commands that change different voices never undo each other's work, and a
worker that reads while one is written sees it as it was before or after.
"""

import time
from collections.abc import Iterator

from nightscribe.shared.destination.json_store import JsonStore
from nightscribe.shared.destination.keys import VOICES
from nightscribe.shared.model.voice import Voice
from nightscribe.shared.storage.base import TranscriptStore

RECENT_S = 60.0


class Voices:
    """Reads and writes the voices of a destination. Those of a newer release are left alone."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store
        self._typed = JsonStore(store)
        self._recent: tuple[Voice, ...] = ()
        self._read_at_s: float | None = None

    def __iter__(self) -> Iterator[Voice]:
        """Yield every voice that this release can read, in the order of their ids."""
        names = sorted(name for name in self._store.names(VOICES) if name.endswith(".json"))
        yield from self._typed.each(Voice, (VOICES + name for name in names))

    def recent(self) -> tuple[Voice, ...]:
        """Return the voices as they were a minute ago at most: a worker needs them for one recording after another."""
        now_s = time.monotonic()
        if self._read_at_s is None or now_s - self._read_at_s > RECENT_S:
            self._recent, self._read_at_s = tuple(self), now_s
        return self._recent

    def get(self, voice_id: str) -> Voice | None:
        """Return a voice, or None if there is none. Raises: NewerRecord: if only a newer release can read it."""
        return self._typed.load_known(Voice, _key(voice_id))

    def put(self, voice: Voice) -> None:
        """Write a voice."""
        self._typed.save(_key(voice.id), voice)

    def delete(self, voice_id: str) -> None:
        """Remove a voice with its voiceprints."""
        self._store.delete(_key(voice_id))


def _key(voice_id: str) -> str:
    return f"{VOICES}{voice_id}.json"
