"""Store transcripts and records in a bucket."""

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping

from nightscribe.shared.formats.registry import content_type_of
from nightscribe.shared.storage.base import FolderRevisions
from nightscribe.shared.storage.s3.objects import MAX_CONCURRENCY, Objects, Replaced

# With this content type, a browser shows the report instead of downloading it.
HTML = "text/html; charset=utf-8"


class BucketStore:
    """Stores files as objects below a prefix. S3 stores each whole or not at all; the last of several writers wins."""

    max_concurrency = MAX_CONCURRENCY

    def __init__(self, objects: Objects, encryption: Mapping[str, str] | None = None) -> None:
        """`encryption`: arguments of PutObject that select the encryption."""
        self._objects = objects
        self._encryption = encryption or {}

    def get(self, key: str) -> bytes | None:
        """See `TranscriptStore.get`."""
        found = self._objects.read(key)
        return found.content if found else None

    def ends(self, key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        """See `TranscriptStore.ends`; it makes one call for a short file, or if `n_last` is 0."""
        found = self.ends_version(key, n_first, n_last)
        return found and found[0]

    def get_version(self, key: str) -> tuple[bytes, str] | None:
        """See `ConditionalWrites.get_version`."""
        found = self._objects.read(key)
        return (found.content, found.etag) if found else None

    def ends_version(self, key: str, n_first: int, n_last: int) -> tuple[tuple[bytes, bytes], str] | None:
        """See `ConditionalWrites.ends_version`; it makes one call for a short file, or if `n_last` is 0."""
        while True:
            first = self._objects.read(key, 0, max(1, n_first))
            if first is None:
                return None
            head, n_before = first.content[:n_first], max(0, first.size - n_last)
            if first.size <= len(first.content):
                return (head, first.content[n_before:]), first.etag
            if not n_last:
                return (head, b""), first.etag
            try:
                last = self._objects.read(key, n_before, n_last, etag=first.etag)
            except Replaced:
                continue
            return ((head, last.content), first.etag) if last else None

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:  # noqa: ARG002  it always is
        """See `TranscriptStore.put`."""
        self._objects.put(key, content, **self._arguments_for(key))

    def put_new(self, key: str, content: bytes) -> bool:
        """See `TranscriptStore.put_new`."""
        return self._objects.put_new(key, content, **self._arguments_for(key))

    def put_version(self, key: str, content: bytes, version: str | None, check: Callable[[], None]) -> str:
        """See `ConditionalWrites.put_version`."""
        return self._objects.put_version(key, content, version, self._arguments_for(key), check)

    def delete_version(self, key: str, version: str, check: Callable[[], None]) -> None:
        """See `ConditionalWrites.delete_version`."""
        self._objects.delete_version(key, version, check)

    def takes(self, key: str) -> bool:
        """See `TranscriptStore.takes`."""
        return self._objects.takes(key)

    def _arguments_for(self, key: str) -> dict[str, str]:
        kind = HTML if key.endswith(".html") else content_type_of(key) or "application/octet-stream"
        return {"ContentType": kind, **self._encryption}

    def is_one(self, key: str, other: str) -> bool:
        """See `TranscriptStore.is_one`."""
        return key == other

    def delete(self, key: str) -> None:
        """See `TranscriptStore.delete`."""
        self._objects.delete(key)

    def age_s(self, key: str) -> float | None:
        """See `Housekeeping.age_s`."""
        return self._objects.age_s(key)

    def revisions(self, top: str, seen: Mapping[str, str]) -> Iterator[FolderRevisions]:  # noqa: ARG002  none are kept
        """See `Revisions.revisions`; a bucket has no folders of its own, so that all keys are listed each time."""
        folders: dict[str, dict[str, str]] = {"": {}}
        for objects, _ in self._objects.pages(top, deep=True):
            for each in objects:
                folder, slash, name = each.key[len(top) :].rpartition("/")
                if name:
                    folders.setdefault(folder + slash, {})[name] = each.etag
        for path, files in folders.items():
            yield FolderRevisions(path, "", files)

    def temporary_files(self) -> Iterator[str]:
        """See `Housekeeping.temporary_files`; a put is whole by itself."""
        return iter(())

    def names(self, folder: str) -> list[str]:
        """See `TranscriptStore.names`."""
        return self.listing(folder)[0]

    def names_in(self, folders: Collection[str]) -> dict[str, list[str]]:
        """See `TranscriptStore.names_in`; it makes one call for all folders if few other keys lie between them."""
        if not folders:
            return {}
        found: dict[str, list[str]] = {folder: [] for folder in folders}
        last = max(found)
        above = posixpath.commonpath(found)
        for objects, _ in self._objects.pages(above and above + "/", deep=True, after=min(found)):
            for each in objects:
                folder, slash, name = each.key.rpartition("/")
                if name and folder + slash in found:
                    found[folder + slash].append(name)
            if objects and objects[-1].key > last and not objects[-1].key.startswith(last):
                break
        return found

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """See `TranscriptStore.listing`."""
        names: list[str] = []
        folders: list[str] = []
        for objects, below in self._objects.pages(folder, deep=False):
            names.extend(each.key[len(folder) :] for each in objects if each.key != folder)
            folders.extend(path[len(folder) : -1] for path in below)
        return names, folders

    def walk(self, folder: str) -> Iterator[str]:
        """See `TranscriptStore.walk`."""
        for objects, _ in self._objects.pages(folder, deep=True):
            yield from (each.key for each in objects if not each.key.endswith("/"))
