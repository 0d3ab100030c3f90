"""Find the texts in a destination that belong to no record."""

import re
from collections.abc import Iterator

from nightscribe.services.verification.findings import Found, Problem
from nightscribe.shared.destination.keys import TRANSCRIPTS, output_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.formats.registry import format_names, suffix_of
from nightscribe.shared.model.paths import without_suffix

_KEPT = re.compile(r" \(kept(?: \d+)?\)$")


class KnownTexts:
    """Remembers the stems of all texts with a record, as hashes because there may be a million."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._store = records.store
        self._stems: set[int] = set()

    def remember(self, stem: str) -> None:
        """Remember the stem of texts of ours."""
        self._stems.add(hash(stem))
        keys = {fmt: output_key(stem, fmt) for fmt in format_names()}
        self._stems.update(hash(key) for fmt, key in keys.items() if key != stem + suffix_of(fmt))

    def remember_named(self, key: str) -> None:
        """Remember where the texts of a recording may be if its record cannot be read."""
        recording = key.removeprefix(TRANSCRIPTS).removesuffix(".json")
        header = self._records.damaged(recording) if key.startswith(TRANSCRIPTS) else None
        for stem in (recording, without_suffix(recording), *([header.stem] if header else ())):
            self.remember(stem)

    def strays(self) -> Iterator[Found]:
        """Yield the texts that belong to no record. Call it once all are remembered."""
        suffixes = sorted({suffix_of(fmt) for fmt in format_names()}, key=len, reverse=True)
        for key in self._store.walk(""):
            if any(part.startswith(".") for part in key.split("/")):
                continue
            for suffix in suffixes:
                if not key.endswith(suffix):
                    continue
                stem = key.removesuffix(suffix)
                if self._stems.isdisjoint(map(hash, (key, stem, _KEPT.sub("", stem)))):
                    why = "It is the text of no record: its record was lost, or another tool or a person wrote it."
                    yield Found(Problem("text_without_record", key, why), None, (key,))
                break
