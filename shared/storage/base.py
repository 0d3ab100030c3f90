"""The seam between nightscribe and the storage that it reads recordings from and writes transcripts to.

A backend is a subclass of `Location`, which opens a `RecordingSource`, a `TranscriptStore` or both, and a function that
makes one from what a user typed (see `registry`). Nothing outside a backend may depend on which one it is.
"""

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.errors import RetryableError, SetupError
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.model.recording import Folder, Recording

LOGS = "logs"
"""Name of the folder for the logs of a `run`, in the records folder of a destination on this machine's file system."""
CHANGED = "It was changed while it was transcribed; the next run takes it as it is then."


class Denied(RetryableError):
    """This one recording may not be read; its owner can change that. The others may be readable."""


@dataclass(frozen=True)
class StorageOptions:
    """What users may set about storage. Each backend takes what concerns it."""

    follow_links: bool = False
    """Follow links in a source that lead out of it."""
    s3_requester_pays: bool = False
    """Pay for reading a source whose owner does not."""
    s3_encryption: Mapping[str, str] = field(default_factory=dict)
    """Arguments of S3's PutObject that say how to encrypt."""
    cache_bytes: int = 2 * 2**30
    """Most bytes of remote recordings that lie on this machine's disk."""


class RecordingSource(Protocol):
    """Files, some of which are recordings: the director decides which."""

    max_concurrency: int
    """Calls worth making at the same time: 1 where a call takes less time than starting a thread."""

    def folders(self) -> Iterator[Folder]:
        """Yield every folder with all its files that are not hidden, sorted by name; parents come before children."""
        ...

    def stat(self, path: str) -> Recording:
        """Return the size and time of one recording as they are now. Raises: PermanentError: if it is gone."""
        ...

    def fingerprint(self, recording: Recording) -> str:
        """Return what `fingerprint.fingerprint` makes of the recording.

        Raises: PermanentError: if it is gone or may not be read. RetryableError: if reading fails.
        """
        ...

    def local(self, path: str) -> AbstractContextManager[Readable]:
        """Open the recording as something that ffmpeg can read, for as long as the context lasts."""
        ...


class TranscriptStore(Protocol):
    """Whole files under keys with forward slashes. Every method raises RetryableError while the storage is away."""

    @property
    def max_concurrency(self) -> int:
        """Return how many calls are worth making at the same time: 1 where a call is faster than starting a thread."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return the whole file, or None if there is none."""
        ...

    def ends(self, key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        """Return the first and the last bytes of a file (they overlap in a short one), or None if there is none."""
        ...

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        """Store the whole file or nothing; if `durable`, it survives a power cut once this returns."""
        ...

    def put_new(self, key: str, content: bytes) -> bool:
        """Store the whole file unless there is one; return whether this content is there now.

        If several processes do so at the same time, one succeeds. Storage that cannot tell (a file system without hard
        links, a server without conditional requests) may overwrite a file that came a moment ago.
        """
        ...

    def takes(self, key: str) -> bool:
        """Return whether a file can have so long a name there; otherwise `put` raises NameTooLong."""
        ...

    def is_one(self, key: str, other: str) -> bool:
        """Return whether two keys name one file, as `a` and `A` do on most disks of macOS and Windows."""
        ...

    def delete(self, key: str) -> None:
        """Remove the file; a missing one is no error."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files directly in a folder ("" or ending in "/")."""
        ...

    def names_in(self, folders: Collection[str]) -> dict[str, list[str]]:
        """Return the names of the files directly in each of several folders, whose names are close in sort order."""
        ...

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the names of the files and the names of the folders directly in a folder."""
        ...

    def walk(self, folder: str) -> Iterator[str]:
        """Yield the key of every file in a folder ("" or ending in "/") and below it."""
        ...


@runtime_checkable
class Housekeeping(Protocol):
    """What `verify` asks a store as well. A store without these methods has no temporary files, and no known ages."""

    def age_s(self, key: str) -> float | None:
        """Return how long ago a file was written, by the clock that dates its files; None if there is no such file."""
        ...

    def temporary_files(self) -> Iterator[str]:
        """Yield the keys of temporary files that no writer is known to hold."""
        ...


class Location(ABC):
    """A place named by a user as SOURCE or DEST; `str()` gives its name. Compared by value.

    Only the first three methods must be written. The others have defaults that suit remote storage.
    """

    poll_s: ClassVar[float] = 60.0
    """Seconds between two scans of `director --watch`, unless the user sets another interval. Lists may cost money."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def open_source(self, options: StorageOptions, *, leave_out: "Location | None" = None) -> RecordingSource:
        """Return the recordings in this place, without those in `leave_out`, the destination, which may lie in it.

        Raises: SetupError: if the place cannot hold recordings, or its address is incomplete.
        """

    @abstractmethod
    def open_store(self, options: StorageOptions) -> TranscriptStore:
        """Return the transcripts and records in this place.

        Raises: SetupError: if the place cannot hold transcripts, or its address is incomplete.
        """

    def absolute(self) -> "Location":
        """Return the same place under a name that means the same in every working directory."""
        return self

    def display(self, key: str) -> str:
        """Return how people are told of a file or a folder in this place."""
        return f"{self}/{key.removesuffix('/')}"

    @property
    def local_path(self) -> Path | None:
        """Return the folder of this machine's file system that this place is, or None if it is something else.

        Such a folder can be watched for changes, and holds the lock and the logs of a `run` into it.
        """
        return None

    def volume(self) -> int | None:
        """Return the number of the volume that the place is on, which changes where a share is no longer mounted.

        Raises: OSError: if nothing is there.
        """
        return None

    def lack_of_room(self) -> str | None:
        """Return the beginning of a sentence about how little room is left, or None while there is enough."""
        return None

    # What can be checked before any work is wasted

    def check_source(self, options: StorageOptions) -> None:
        """Raise SetupError unless recordings can be read here, and RetryableError if the storage is away."""
        next(iter(self.open_source(options).folders()), None)

    def check_dest(self, options: StorageOptions, *, create: bool) -> None:
        """Raise SetupError unless transcripts can be stored here, and RetryableError if the storage is away.

        Nothing is written unless `create` is true.
        """
        store = self.open_store(options)
        store.listing("")
        if create:
            key = trial_key()
            store.put(key, b"")
            store.get(key)
            store.delete(key)

    def check_records(self, options: StorageOptions) -> None:
        """Raise SetupError unless a `run` or a `director` has worked into this place."""
        if not any(self.open_store(options).listing(f"{RECORDS_FOLDER}/")):
            raise no_records(self)


def trial_key() -> str:
    """Return the key of a file that only shows whether files can be stored; no other process writes it."""
    return f"{RECORDS_FOLDER}/trial-{socket.gethostname()}-{os.getpid()}"


def no_records(location: Location) -> SetupError:
    """Return the error for a place that is no destination of nightscribe."""
    return SetupError(
        f"DEST {str(location)!r} holds no records of nightscribe (nothing below {RECORDS_FOLDER}/ in it); give the "
        "place that `run` or `director` was given as DEST."
    )
