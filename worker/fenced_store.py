"""Fence a store so that a worker writes only while it holds its lease."""

import hashlib
from collections.abc import Collection, Iterator

from nightscribe.shared.errors import LeaseLost
from nightscribe.shared.storage.base import Fence, FencedWrites, TranscriptStore
from nightscribe.worker.lease import Lease


def fence_token(worker: str, message_id: str) -> str:
    """Return the token of a worker's writes for one message, which whoever reads its claim can compute."""
    return hashlib.sha256(f"{worker}\0{message_id}".encode()).hexdigest()[:16]


class FencedStore:
    """Wraps a store, and refuses to write or delete once another worker may hold the job.

    It checks the lease before each file, because a process that was suspended between two files may resume an hour
    later. A store with `FencedWrites` checks it again when everything is written, and lets the next worker take back
    what is not finished by then.
    """

    def __init__(self, store: TranscriptStore, lease: Lease, *, worker: str, message_id: str) -> None:
        self._store = store
        self._lease = lease
        self._fence = Fence(fence_token(worker, message_id), self._require)

    @property
    def max_concurrency(self) -> int:
        """See `TranscriptStore.max_concurrency`."""
        return self._store.max_concurrency

    def get(self, key: str) -> bytes | None:
        """See `TranscriptStore.get`."""
        return self._store.get(key)

    def ends(self, key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        """See `TranscriptStore.ends`."""
        return self._store.ends(key, n_first, n_last)

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        """See `TranscriptStore.put`. Raises: LeaseLost: if the lease is over."""
        self._require()
        if isinstance(self._store, FencedWrites):
            self._store.put_fenced(key, content, self._fence, is_new=False, durable=durable)
        else:
            self._store.put(key, content, durable=durable)

    def put_new(self, key: str, content: bytes) -> bool:
        """See `TranscriptStore.put_new`. Raises: LeaseLost: if the lease is over."""
        self._require()
        if isinstance(self._store, FencedWrites):
            return self._store.put_fenced(key, content, self._fence, is_new=True, durable=True)
        return self._store.put_new(key, content)

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

    def delete(self, key: str) -> None:
        """See `TranscriptStore.delete`. Raises: LeaseLost: if the lease is over."""
        self._require()
        self._store.delete(key)

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

    def _require(self) -> None:
        if not self._lease.held:
            raise LeaseLost("The lease ran out before the result could be stored.")
