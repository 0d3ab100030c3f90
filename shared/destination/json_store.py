"""Records of one type each, as JSON under their keys in a store."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.jobs import Frozen
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.storage.base import TranscriptStore

log = structlog.get_logger()

T = TypeVar("T", bound=BaseModel)


class NewerRecord(SetupError):
    """A record is of a version that this program does not know yet: it is to be left as it is."""


class _AnyVersion(BaseModel):
    """As much of a record as every version has."""

    version: int


class JsonStore:
    """A damaged record counts as absent, and is logged."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store

    def load(self, model: type[T], key: str) -> T | None:
        """The record under a key, unless it is damaged or of a newer version."""
        try:
            return self.load_known(model, key)
        except NewerRecord:
            log.warning("record.unreadable", key=key, why="It was written by a newer nightscribe.")
            return None

    def load_known(self, model: type[T], key: str) -> T | None:
        """The same of a record that must not be done without. Raises: NewerRecord: if only a newer version knows it."""
        content = self._store.get(key)
        if content is None:
            return None
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            with contextlib.suppress(ValidationError):
                version = _AnyVersion.model_validate_json(content).version
                if "version" in model.model_fields and version > model.model_fields["version"].default:
                    raise NewerRecord(
                        f"{key!r} was written by a newer nightscribe (version {version} of its format) and is left "
                        "alone. Update nightscribe."
                    ) from None
            problem = error.errors(include_url=False, include_input=False)[0]
            log.warning("record.unreadable", key=key, why=problem["msg"])
            return None

    def each(self, model: type[T], keys: Iterable[str]) -> Iterator[T]:
        """The records under these keys that this version can read."""
        for _, load in map_concurrently(lambda key: self.load(model, key), keys, self._store.max_concurrency):
            if record := load():
                yield record

    def save(self, key: str, record: Frozen, *, durable: bool = True) -> None:
        """See `TranscriptStore.put`."""
        self._store.put(key, record.model_dump_json().encode(), durable=durable)
