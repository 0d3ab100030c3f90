"""Repair a destination without deleting a record or a text."""

import hashlib
from collections.abc import Iterable

from nightscribe.shared.destination.keys import DAMAGED, TRANSCRIPTS, output_key, transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.formats.registry import format_names
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.model.paths import without_suffix


class Repairs:
    """Removes what is left over, and moves aside what cannot be read. Each method returns what was done, or None."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._store = records.store

    def remove(self, keys: Iterable[str]) -> str:
        """Remove leftovers."""
        for key in keys:
            self._store.delete(key)
        return "Removed."

    def set_all_aside(self, keys: Iterable[str]) -> str:
        """Move files to where nothing reads them."""
        for key in keys:
            if (content := self._store.get(key)) is not None:
                self.set_aside(key, hashlib.sha256(content).digest())
        return f"Moved to {DAMAGED!r}."

    def set_aside(self, key: str, digest: bytes) -> str | None:
        """Move a file to where nothing reads it, unless it has been rewritten in the meantime."""
        content = self._store.get(key)
        if content is None or hashlib.sha256(content).digest() != digest:
            return None
        below = key.removeprefix(f"{RECORDS_FOLDER}/")
        target, number = DAMAGED + below, 1
        while not self._store.put_new(target, content):
            number += 1
            target = f"{DAMAGED}{number}/{below}"
        if key.startswith(TRANSCRIPTS):
            self._reserve(key)
        self._store.delete(key)
        return f"Moved to {target!r}."

    def _reserve(self, key: str) -> None:
        """Have the next run do a recording again although its texts are there, which would be taken for another tool's.

        Any corrections that a user made in them are then kept beside the new ones.
        """
        recording = key.removeprefix(TRANSCRIPTS).removesuffix(".json")
        if header := self._records.damaged(recording):
            if transcript_key(header.recording) == key:
                self._records.partial_results.reserve(header.recording, header.stem)
            return
        for stem in (without_suffix(recording), recording):
            if any(self._store.ends(output_key(stem, fmt), 1, 0) is not None for fmt in format_names()):
                self._records.partial_results.reserve(recording, stem)
                return
