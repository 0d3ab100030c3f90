"""Keep the last few transcripts prepared for reading, because a page loads a long one in many chunks."""

import hashlib
from collections import OrderedDict
from threading import Lock

from nightscribe.server.pages.passages import Reading, reading
from nightscribe.shared.destination.json_store import JsonStore
from nightscribe.shared.destination.keys import transcript_key
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.storage.base import Location, StorageOptions

KEPT = 12


class Readings:
    """Reads transcripts, and prepares each version of a record once. Use it from any thread."""

    def __init__(self, dest: Location, options: StorageOptions) -> None:
        self._store = dest.open_store(options)
        self._typed = JsonStore(self._store)
        self._kept: OrderedDict[tuple[str, str], Reading] = OrderedDict()
        self._lock = Lock()

    def get(self, recording: str) -> Reading | None:
        """Return a transcript as a page shows it, or None if there is none.

        Raises: RetryableError: if the destination is unreachable. NewerRecord: if a newer release wrote it.
        """
        key = transcript_key(recording)
        if (content := self._store.get(key)) is None:
            return None
        version = (recording, hashlib.sha256(content).hexdigest())
        with self._lock:
            if version in self._kept:
                self._kept.move_to_end(version)
                return self._kept[version]
        transcript = self._typed.parse(Transcript, key, content)
        if transcript is None:
            return None
        made = reading(transcript)
        with self._lock:
            self._kept[version] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made
