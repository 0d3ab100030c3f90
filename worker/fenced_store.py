"""Fence a store so that a worker writes only while it holds its lease."""

import contextlib
import hashlib
from collections.abc import Collection, Iterator
from typing import TypeVar

from nightscribe.shared.destination.keys import FAILURES, FAILURES_OF_REQUESTS
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX
from nightscribe.shared.errors import LeaseLost, RetryableError
from nightscribe.shared.storage.base import (
    Ages,
    ConditionalWrites,
    Exchange,
    Fence,
    FencedWrites,
    TranscriptStore,
    VersionConflict,
    put_if_same,
)
from nightscribe.worker.lease import Lease

T = TypeVar("T")

MAX_CONFLICTS = 5  # each means that another process has changed the file in the meantime


def fence_token(worker: str, message_id: str) -> str:
    """Return the token of a worker's writes for one message, which whoever reads its claim can compute."""
    return hashlib.sha256(f"{worker}\0{message_id}".encode()).hexdigest()[:16]


def _is_note(key: str) -> bool:
    """Return whether a file says only what its writer does or why it failed. Results are good even if they are late."""
    return key.endswith(CLAIM_SUFFIX) or key.startswith((FAILURES, FAILURES_OF_REQUESTS))


class FencedStore:
    """Wraps a store, and refuses to write or delete once another worker may hold the job.

    It checks the lease before each file, because a process that was suspended between two files may resume an hour
    later. A store with `FencedWrites` checks it again when everything is written, and lets the next worker take back
    what is not finished by then. With `ConditionalWrites`, each change depends on the version of the file that was
    read while the lease was held, so it fails if the next worker has changed the file since then.
    """

    def __init__(self, store: TranscriptStore, lease: Lease, *, worker: str, message_id: str) -> None:
        self._store = store
        self._lease = lease
        self._fence = Fence(fence_token(worker, message_id), self._require)
        self._versions: dict[str, str] = {}
        """Versions of the files that this attempt has read or written. It takes others to be absent: most are."""
        self._absent: set[str] = set()
        """Files that were absent when this attempt began, and that it has not read again."""

    @property
    def max_concurrency(self) -> int:
        """See `TranscriptStore.max_concurrency`."""
        return self._store.max_concurrency

    def get(self, key: str) -> bytes | None:
        """See `TranscriptStore.get`."""
        if not isinstance(self._store, ConditionalWrites):
            return self._store.get(key)
        if key in self._absent:  # spare a request: whatever depends on the absence, the next write finds out
            self._absent.discard(key)
            return None
        return self._noted(key, self._store.get_version(key))

    def ends(self, key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        """See `TranscriptStore.ends`."""
        if not isinstance(self._store, ConditionalWrites):
            return self._store.ends(key, n_first, n_last)
        found = self._store.ends_version(key, n_first, n_last)
        (self._absent.discard if found else self._absent.add)(key)
        return self._noted(key, found)

    def _noted(self, key: str, found: tuple[T, str] | None) -> T | None:
        if found is None:
            self._versions.pop(key, None)
            return None
        self._versions[key] = found[1]
        return found[0]

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        """See `TranscriptStore.put`. Raises: LeaseLost: if the lease is over."""
        self._require()
        if isinstance(self._store, FencedWrites):
            self._store.put_fenced(key, content, self._fence, is_new=False, durable=durable)
        elif isinstance(self._store, ConditionalWrites):
            self._put_version(self._store, key, content)
        else:
            self._store.put(key, content, durable=durable)

    def put_new(self, key: str, content: bytes) -> bool:
        """See `TranscriptStore.put_new`. Raises: LeaseLost: if the lease is over."""
        self._require()
        if isinstance(self._store, FencedWrites):
            return self._store.put_fenced(key, content, self._fence, is_new=True, durable=True)
        if isinstance(self._store, ConditionalWrites):
            return self._put_version(self._store, key, content, is_new=True)
        return self._store.put_new(key, content)

    def put_if_same(self, key: str, content: bytes, before: bytes, fence: Fence | None = None) -> bool:
        """See `Exchange.put_if_same`. Raises: LeaseLost: if the lease is over."""
        self._require()
        if isinstance(self._store, Exchange):
            return self._store.put_if_same(key, content, before, fence or self._fence)
        if not isinstance(self._store, ConditionalWrites):
            return put_if_same(self._store, key, content, before)
        found = self._store.get_version(key)
        self._require()  # after reading, as in `_put_version`
        if self._noted(key, found) != before:
            return False
        try:
            self._versions[key] = self._store.put_version(key, content, self._versions[key], self._require)
        except VersionConflict:
            return self.get(key) == content  # stored by a try whose response was lost
        return True

    def _put_version(self, store: ConditionalWrites, key: str, content: bytes, *, is_new: bool = False) -> bool:
        """Store a file in place of the version that was read; return whether the file has this content now."""
        version = None if is_new else self._versions.get(key)
        for _ in range(MAX_CONFLICTS):
            try:
                self._versions[key] = store.put_version(key, content, version, self._require)
            except VersionConflict:
                found = store.get_version(key)
            else:
                if version is None and _is_note(key) and not self._lease.held:
                    self._take_back(store, key, content)
                return True
            # Keep this order: the next worker changes the file only once this lease is over, so what was read before
            # the check is no work of that worker, and what it writes later has another version.
            self._require()
            there = self._noted(key, found)
            if there == content:  # stored by a try whose response was lost
                return True
            if is_new and found:
                return False
            version = self._versions.get(key)
        raise self._contested(key)

    def revoke(self, worker: str, message_id: str, folders: Collection[str]) -> None:
        """Take back what another worker has begun to write in these folders, if the store can."""
        if isinstance(self._store, FencedWrites):
            self._store.revoke(fence_token(worker, message_id), folders)

    def takes(self, key: str) -> bool:
        """See `TranscriptStore.takes`."""
        return self._store.takes(key)

    def is_one(self, key: str, other: str) -> bool:
        """See `TranscriptStore.is_one`."""
        return self._store.is_one(key, other)

    def _take_back(self, store: ConditionalWrites, key: str, content: bytes) -> None:
        """Remove a note that this attempt created too late: the next worker may have ended, and nobody would tidy up.

        Raises: LeaseLost.
        """
        version = self._versions.pop(key)
        # A server may ignore the version in a deletion, but then the content is compared.
        if store.get_version(key) == (content, version):
            with contextlib.suppress(VersionConflict):
                store.delete_version(key, version, lambda: None)
        self._require()

    def delete(self, key: str) -> None:
        """See `TranscriptStore.delete`. Raises: LeaseLost: if the lease is over."""
        self._require()
        version = self._versions.pop(key, None)
        if version is None or not isinstance(self._store, ConditionalWrites):
            self._store.delete(key)
            return
        for _ in range(MAX_CONFLICTS):
            try:
                self._store.delete_version(key, version, self._require)
                return
            except VersionConflict:
                found = self._store.get_version(key)
            self._require()  # after reading, as in `_put_version`
            if found is None:
                return
            version = found[1]
        raise self._contested(key)

    def age_s(self, key: str) -> float | None:
        """See `Ages.age_s`; None also if the store does not know it."""
        return self._store.age_s(key) if isinstance(self._store, Ages) else None

    def names(self, folder: str) -> list[str]:
        """See `TranscriptStore.names`."""
        return self._store.names(folder)

    def names_in(self, folders: Collection[str]) -> dict[str, list[str]]:
        """See `TranscriptStore.names_in`."""
        return self._store.names_in(folders)

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """See `TranscriptStore.listing`."""
        return self._store.listing(folder)

    def walk(self, folder: str) -> Iterator[str]:
        """See `TranscriptStore.walk`."""
        return self._store.walk(folder)

    @staticmethod
    def _contested(key: str) -> RetryableError:
        return RetryableError(f"Other processes keep changing {key!r}.", code="storage_unreachable")

    def _require(self) -> None:
        if not self._lease.held:
            raise LeaseLost("The lease ran out before the result could be stored.")
