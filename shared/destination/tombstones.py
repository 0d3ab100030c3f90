"""Remember which recordings were forgotten, without a word about them, so that no run transcribes them again.

A tombstone is a file whose name holds keyed hashes of the recording's path, size, fingerprint and whole content; the
key is random and belongs to the destination. Whoever has the recording can recognize it. Whoever has only the
destination learns how many recordings were forgotten, and when.
"""

import hashlib
import hmac
import secrets
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from pydantic import AwareDatetime

from nightscribe.shared.destination.keys import FORGOTTEN
from nightscribe.shared.errors import PermanentError
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.model.versioned import Versioned
from nightscribe.shared.storage.base import RecordingSource, TranscriptStore
from nightscribe.shared.storage.content import content_sha256
from nightscribe.shared.storage.fingerprint import covers_all

KEY = f"{FORGOTTEN}key"
SUFFIX = ".json"
HASH_CHARS = 16
UNKNOWN = "-" * HASH_CHARS
REPLACED = "-replaced"


class Tombstone(Versioned):
    """The content of a tombstone; everything else is in its name."""

    version: Literal[1] = 1
    forgotten_at: AwareDatetime


class Hashes(NamedTuple):
    """What the name of a tombstone says, in the order of its parts."""

    path: str
    size: str
    fingerprint: str
    content: str


class Tombstones:
    """Reads and writes the tombstones of a destination."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store
        self._key: bytes | None = None
        self._by_path: dict[str, list[Hashes]] = defaultdict(list)
        self._by_size: dict[str, list[Hashes]] = defaultdict(list)

    def __len__(self) -> int:
        return sum(map(len, self._by_path.values()))

    def load(self) -> "Tombstones":
        """Read the names of all tombstones, and return this object; mostly there are none."""
        self._by_path.clear()
        self._by_size.clear()
        for name in self._store.names(FORGOTTEN):
            parts = [name[at : at + HASH_CHARS] for at in range(0, 4 * HASH_CHARS, HASH_CHARS)]
            if name.endswith(SUFFIX) and len(name) == 4 * HASH_CHARS + len(SUFFIX):
                self._note(Hashes(*parts))
        return self

    def add(self, recording: str, size: int | None, fingerprint: str | None, sha256: str | None) -> None:
        """Write the tombstone of a recording; None stands for what is not known."""
        fingerprint = fingerprint and fingerprint.removesuffix(REPLACED)
        hashes = Hashes(
            self._hash("path", recording),
            UNKNOWN if size is None else self._hash("size", str(size)),
            self._hash("fingerprint", fingerprint) if fingerprint else UNKNOWN,
            self._hash("content", sha256) if sha256 else UNKNOWN,
        )
        tombstone = Tombstone(forgotten_at=utc_now()).model_dump_json().encode()
        self._store.put(self._name(hashes), tombstone)
        self._note(hashes)

    def has(self, recording: str, fingerprint: str) -> bool:
        """Return whether the recording with this path and fingerprint was forgotten."""
        return self._at(recording, fingerprint) is not None

    def _at(self, recording: str, fingerprint: str) -> Hashes | None:
        if not self._by_path:
            return None
        sought = self._hash("fingerprint", fingerprint.removesuffix(REPLACED))
        found = self._by_path.get(self._hash("path", recording), [])
        return next((each for each in found if each.fingerprint in (sought, UNKNOWN)), None)

    def find(self, recording: Recording, source: RecordingSource) -> Hashes | None:
        """Return the tombstone of a recording of the source, also under another name, or None.

        Only recordings whose path or size is that of a tombstone are read. Under another name, only the hash of the
        whole content proves that it is the same one.

        Raises: PermanentError: if it cannot be read. RetryableError: if reading fails.
        """
        if not self._by_path:
            return None
        here = self._by_path.get(self._hash("path", recording.path), [])
        alike = self._by_size.get(self._hash("size", str(recording.size)), [])
        if not here and not alike:
            return None
        fingerprint = source.fingerprint(recording)
        if found := self._at(recording.path, fingerprint):
            return found
        sought = self._hash("fingerprint", fingerprint)
        same_ends = [each for each in alike if each.fingerprint == sought]
        if same_ends and covers_all(recording.size):
            return same_ends[0]
        if any(each.content != UNKNOWN for each in same_ends):
            content = self._hash("content", content_sha256(source, recording.path))
            return next((each for each in same_ends if each.content == content), None)
        return None

    def remove(self, hashes: Iterable[Hashes]) -> None:
        """Remove tombstones, so that the next run transcribes these recordings again."""
        for each in hashes:
            self._store.delete(self._name(each))
        self.load()

    def of_path(self, recording: str) -> list[Hashes]:
        """Return the tombstones of recordings with this path."""
        return self._by_path.get(self._hash("path", recording), []) if self._by_path else []

    def _note(self, hashes: Hashes) -> None:
        if hashes not in self._by_path[hashes.path]:
            self._by_path[hashes.path].append(hashes)
            self._by_size[hashes.size].append(hashes)

    @staticmethod
    def _name(hashes: Hashes) -> str:
        return FORGOTTEN + "".join(hashes) + SUFFIX

    def _hash(self, what: str, value: str) -> str:
        if self._key is None:
            self._key = self._load_key()
        return hmac.new(self._key, f"{what}\0{value}".encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[
            :HASH_CHARS
        ]

    def _load_key(self) -> bytes:
        if found := self._store.get(KEY):
            return found
        self._store.put_new(KEY, secrets.token_hex(32).encode())
        key = self._store.get(KEY)
        if key is None:
            raise PermanentError("The key of the forgotten recordings was removed a moment ago.", code="changed")
        return key
