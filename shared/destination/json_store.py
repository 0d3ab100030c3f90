"""Store records as JSON under keys."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import structlog
from pydantic import ValidationError

from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.versioned import Stored, Versioned, stated_version
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.storage.base import TranscriptStore

log = structlog.get_logger()

T = TypeVar("T", bound=Stored)


class NewerRecord(SetupError):
    """A record has a version that this release does not know. Leave it unchanged."""

    code = "newer_record"


class JsonStore:
    """Loads and saves records. A damaged record is logged and treated as missing."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store

    def load(self, model: type[T], key: str) -> T | None:
        """Return the record under a key, or None if it is damaged or of a newer version."""
        try:
            return self.load_known(model, key)
        except NewerRecord:
            log.warning("record.unreadable", key=key, why="It was written by a newer nightscribe.")
            return None

    def load_known(self, model: type[T], key: str) -> T | None:
        """Return the record under a key, or None if it is damaged.

        Raises: NewerRecord: if only a newer release can read it.
        """
        content = self._store.get(key)
        return None if content is None else self.parse(model, key, content)

    def parse(self, model: type[T], key: str, content: bytes) -> T | None:
        """Return the record with this content, or None if it is damaged.

        Raises: NewerRecord: if only a newer release can read it.
        """
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            version = stated_version(content)
            if version and issubclass(model, Versioned) and version > model.newest_version():
                raise NewerRecord(
                    f"{key!r} was written by a newer nightscribe (version {version} of its format) and is left "
                    "unchanged. Update nightscribe."
                ) from None
            problem = error.errors(include_url=False, include_input=False)[0]
            log.warning("record.unreadable", key=key, why=problem["msg"])
            return None

    def each(self, model: type[T], keys: Iterable[str]) -> Iterator[T]:
        """Yield the records under these keys that this release can read."""
        for _, load in map_concurrently(lambda key: self.load(model, key), keys, self._store.max_concurrency):
            if record := load():
                yield record

    def save(self, key: str, record: Stored, *, durable: bool = True) -> None:
        """Write a record. `durable`: see `TranscriptStore.put`."""
        self._store.put(key, record.model_dump_json().encode(), durable=durable)
