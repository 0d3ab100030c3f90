"""Find the texts in a destination that belong to no record."""

import re
from collections.abc import Iterator

from nightscribe.services.verification.findings import Found, Problem
from nightscribe.shared.destination.keys import REPORT_PAGE, TRANSCRIPTS, output_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.formats.registry import format_names, suffix_of
from nightscribe.shared.formats.seal import has_seal
from nightscribe.shared.model.paths import without_suffix

SEALED = (".html", ".docx", ".pdf")
"""Suffixes of formats whose files say who wrote them, in their last `SEAL_BYTES`."""
SEAL_BYTES = 200
UNMARKED = (".md",)
"""Suffixes of formats that people write themselves."""
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
            if any(part.startswith(".") for part in key.split("/")) or key == REPORT_PAGE:
                continue
            for suffix in suffixes:
                if not key.endswith(suffix):
                    continue
                stem = key.removesuffix(suffix)
                is_known = not self._stems.isdisjoint(map(hash, (key, stem, _KEPT.sub("", stem))))
                if not is_known and self._may_be_ours(key, suffix):
                    why = "It is the text of no record: its record was lost, or another tool or a person wrote it."
                    yield Found(Problem("text_without_record", key, why), None, (key,))
                break

    def _may_be_ours(self, key: str, suffix: str) -> bool:
        """Return whether we may have written a text. People keep documents of their own beside recordings."""
        if suffix in SEALED:
            ends = self._store.ends(key, 0, SEAL_BYTES)
            return ends is not None and has_seal(ends[1])
        return suffix not in UNMARKED
