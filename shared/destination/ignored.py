"""Remember which recordings a user wants left alone because they always fail."""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase

from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.storage.base import TranscriptStore

IGNORED = f"{RECORDS_FOLDER}/ignored.json"


class Ignored:
    """The patterns of a destination: paths of recordings or folders below SOURCE, and globs of whole paths."""

    def __init__(self, store: TranscriptStore) -> None:
        """Read the patterns. Raises: RetryableError: if the storage is unreachable. SetupError: if they are damaged."""
        self._store = store
        content = store.get(IGNORED)
        try:
            found = json.loads(content) if content else []
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise SetupError(f"{IGNORED} in DEST is damaged; delete it and name again what is to be ignored.")
        self.patterns: tuple[str, ...] = tuple(found)

    def has(self, recording: str) -> bool:
        """Return whether a recording is to be left alone."""
        return any(is_meant(recording, pattern) for pattern in self.patterns)

    def add(self, patterns: Sequence[str]) -> None:
        """Add patterns."""
        self._put((*self.patterns, *patterns))

    def remove(self, patterns: Sequence[str]) -> None:
        """Remove patterns."""
        self._put([each for each in self.patterns if each not in patterns])

    def _put(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(dict.fromkeys(patterns))
        self._store.put(IGNORED, json.dumps(self.patterns, ensure_ascii=False).encode())


def is_meant(recording: str, pattern: str) -> bool:
    """Return whether a pattern is the path of a recording, of a folder above it, or a glob of its whole path."""
    return recording == pattern or recording.startswith(f"{pattern.rstrip('/')}/") or fnmatchcase(recording, pattern)
