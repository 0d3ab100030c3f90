"""Define the interface between nightscribe and the storage of recordings and transcripts.

A backend is a subclass of `Location`, which opens a `RecordingSource`, a `TranscriptStore` or both, and a function that
makes a location from a user's argument (see `registry`). Code outside a backend must not depend on a particular one.
"""

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
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
CHANGED = "It was changed while it was transcribed; the next run transcribes its new content."


class Denied(RetryableError):
    """This recording may not be read until its owner allows it. Others may be readable."""


@dataclass(frozen=True)
class StorageOptions:
    """Settings for storage. Each backend uses those that concern it."""

    follow_links: bool = False
    """Follow links in a source that lead out of it."""
    s3_requester_pays: bool = False
    """Pay for requests to a source bucket that is set to requester pays."""
    s3_encryption: Mapping[str, str] = field(default_factory=dict)
    """Arguments of S3's PutObject that select the encryption."""
    audio_column: str = ""
    """Column of a table that names the recordings; "" to find it by its name."""
    layout: str = "auto"
    """Layout of a corpus that is used as source: common-voice, librispeech, or auto for none."""
    cache_bytes: int = 2 * 2**30
    """Maximum bytes of remote recordings that are cached on this machine's disk."""


class RecordingSource(Protocol):
    """A place with files, some of which are recordings; the director decides which."""

    max_concurrency: int
    """Number of calls worth making at the same time; 1 if a call is faster than starting a thread."""

    def folders(self) -> Iterator[Folder]:
        """Yield every folder with all its files that are not hidden, sorted by name; parents come before children."""
        ...

    def stat(self, path: str) -> Recording:
        """Return the size and time of one recording as they are now. Raises: PermanentError: if it is gone."""
        ...

    def fingerprint(self, recording: Recording) -> str:
        """Return the fingerprint of the recording as `fingerprint.fingerprint` computes it.

        Raises: PermanentError: if it is gone or may not be read. RetryableError: if reading fails.
        """
        ...

    def local(self, path: str) -> AbstractContextManager[Readable]:
        """Open the recording in a form that ffmpeg can read, until the context ends."""
        ...


@runtime_checkable
class Intake(Protocol):
    """Additional methods for a source to which recordings can be added."""

    def waiting_room(self) -> Path | None:
        """Return a folder from which `add` moves a file without copying it, or None if any will do.

        Raises: StorageError: if recordings cannot be written there.
        """
        ...

    def add(self, file: Path, path: str) -> bool:
        """Take a file of this machine as a new recording, whole or not at all; return False if the name is taken.

        The file is durable by then, and it is gone from its place if this returns True.
        Raises: PermanentError: if the path leads out of the source. RetryableError: if the storage is unreachable.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a recording; it is not an error if it does not exist."""
        ...

    def requests(self, older_than_s: float) -> Iterator[str]:
        """Yield the paths of recordings in the hidden folder of requests that were added so long ago."""
        ...


@runtime_checkable
class Links(Protocol):
    """Additional method for a source whose server lets anyone read a recording under an address for a while."""

    def link(self, path: str, lifetime_s: int) -> str:
        """Return the address. Raises: PermanentError: if the recording is gone."""
        ...


@runtime_checkable
class NamesRecordings(Protocol):
    """A source that lists only what a user named one by one, so everything in it is a recording, whatever its name."""

    names_recordings: bool


class TranscriptStore(Protocol):
    """Stores whole files under keys with forward slashes. Methods raise RetryableError if storage is unreachable."""

    @property
    def max_concurrency(self) -> int:
        """Return how many calls are worth making at the same time; 1 if a call is faster than starting a thread."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return the whole file, or None if it does not exist."""
        ...

    def ends(self, key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        """Return the first and last bytes of a file, which overlap if it is short, or None if it does not exist."""
        ...

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        """Store the whole file or nothing; if `durable`, it survives a power failure once this returns."""
        ...

    def put_new(self, key: str, content: bytes) -> bool:
        """Store the whole file unless one exists; return whether the file has this content now.

        If several processes do so at the same time, one succeeds. Storage without the means (hard links, conditional
        requests) may overwrite a file that was created a moment ago.
        """
        ...

    def takes(self, key: str) -> bool:
        """Return whether the storage accepts a name of this length; otherwise `put` raises NameTooLong."""
        ...

    def is_one(self, key: str, other: str) -> bool:
        """Return whether two keys name one file, as `a` and `A` do on most disks of macOS and Windows."""
        ...

    def delete(self, key: str) -> None:
        """Remove the file; it is not an error if it does not exist."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files directly in a folder ("" or ending in "/")."""
        ...

    def names_in(self, folders: Collection[str]) -> dict[str, list[str]]:
        """Return the names of the files directly in each of several folders, which should be close in sort order."""
        ...

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the names of the files and the names of the folders directly in a folder."""
        ...

    def walk(self, folder: str) -> Iterator[str]:
        """Yield the key of every file in a folder ("" or ending in "/") and below it."""
        ...


@dataclass(frozen=True)
class Fence:
    """Lets a store finish a write only while its writer may still write."""

    token: str
    """Sixteen hex digits that name the writer; the worker that takes its place revokes them."""
    check: Callable[[], None]
    """Called when everything is written and only the name is missing; raises to leave the file out."""


@runtime_checkable
class FencedWrites(Protocol):
    """Additional methods for a store that can take back a write until the moment at which the file has its name.

    Without them and without `ConditionalWrites`, a worker checks its lease before each write, and a write that has
    begun may end late.
    """

    def put_fenced(self, key: str, content: bytes, fence: Fence, *, is_new: bool, durable: bool) -> bool:
        """Store a file as `put` or, with `is_new`, as `put_new`, unless the fence is revoked or its check raises."""
        ...

    def revoke(self, token: str, folders: Collection[str]) -> None:
        """Make every write with this token that is not finished in these folders fail at its next step."""
        ...


class VersionConflict(Exception):
    """The file is not in the version on which a write or a deletion depends."""


@runtime_checkable
class ConditionalWrites(Protocol):
    """Additional methods for a store that changes a file only if it is still in the version that the writer has read.

    A version is an opaque string that differs between any two contents of a file. Storage whose server has no
    conditional requests may implement these methods all the same, and ignore the version. `check` is called before
    each request, also a repeated one, and raises to prevent it.
    """

    def get_version(self, key: str) -> tuple[bytes, str] | None:
        """Return the whole file and its version, or None if it does not exist."""
        ...

    def ends_version(self, key: str, n_first: int, n_last: int) -> tuple[tuple[bytes, bytes], str] | None:
        """Return what `TranscriptStore.ends` returns, and the version."""
        ...

    def put_version(self, key: str, content: bytes, version: str | None, check: Callable[[], None]) -> str:
        """Store the whole file or nothing, and return its new version. `version` None: only if there is no file.

        Raises: VersionConflict: if the file has another version, perhaps because this call stored it and the response
        was lost.
        """
        ...

    def delete_version(self, key: str, version: str, check: Callable[[], None]) -> None:
        """Remove the file; it is not an error if it does not exist. Raises: VersionConflict: as `put_version`."""
        ...


@runtime_checkable
class Exchange(Protocol):
    """Additional method for a store that compares a file before it replaces it."""

    def put_if_same(self, key: str, content: bytes, before: bytes, fence: Fence | None = None) -> bool:
        """Store the whole file in place of one with the content `before`; return whether that was its content."""
        ...


@runtime_checkable
class Ages(Protocol):
    """Additional method for a store that knows how old its files are."""

    def age_s(self, key: str) -> float | None:
        """Return the age of a file in seconds, by the clock that dates the files, or None if it does not exist."""
        ...


@runtime_checkable
class Housekeeping(Ages, Protocol):
    """Additional methods for `verify`. A store without them has no temporary files, and its files no known ages."""

    def temporary_files(self) -> Iterator[str]:
        """Yield the keys of temporary files that no writer is known to hold."""
        ...


def put_if_same(store: TranscriptStore, key: str, content: bytes, before: bytes) -> bool:
    """Store a file in place of the one that was read; return False if another process has changed it since then.

    A store without the means for that may overwrite what was stored a moment ago.
    """
    if isinstance(store, Exchange):
        return store.put_if_same(key, content, before)
    if isinstance(store, ConditionalWrites):
        found = store.get_version(key)
        if found is None or found[0] != before:
            return False
        try:
            store.put_version(key, content, found[1], lambda: None)
        except VersionConflict:
            return store.get(key) == content  # stored by a try whose response was lost
        return True
    if store.get(key) != before:
        return False
    store.put(key, content)
    return True


@dataclass(frozen=True)
class FolderRevisions:
    """The files directly in one folder of a store, and the states in which they are."""

    path: str
    """"" or a path that ends in "/", below the folder that was asked about."""
    state: str
    """Changes whenever a file in the folder is added, replaced or removed; "" if that is not certain."""
    files: Mapping[str, str] | None
    """The revision of each file by its name, or None if the folder has the state that the caller has seen before."""


@runtime_checkable
class Revisions(Protocol):
    """Additional methods for a store that knows whether a file was written again without reading it."""

    def revisions(self, top: str, seen: Mapping[str, str]) -> Iterator[FolderRevisions]:
        """Yield every folder in and below `top` ("" or ending in "/"), itself included.

        `seen`: states of folders that the caller has seen before, by path below `top`.
        """
        ...


class Location(ABC):
    """A place that a user names as SOURCE or DEST. `str()` returns its name; locations are compared by value.

    Only the first three methods must be written. The others have defaults that suit remote storage.
    """

    poll_s: ClassVar[float] = 60.0
    """Seconds between scans of `director --watch`, unless the user sets an interval. Listing may cost money."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def open_source(self, options: StorageOptions, *, leave_out: "Location | None" = None) -> RecordingSource:
        """Return the recordings in this place, except those in `leave_out`, which is a destination inside it.

        Raises: SetupError: if the place cannot hold recordings, or its address is incomplete.
        """

    @abstractmethod
    def open_store(self, options: StorageOptions) -> TranscriptStore:
        """Return the transcripts and records in this place.

        Raises: SetupError: if the place cannot hold transcripts, or its address is incomplete.
        """

    def absolute(self) -> "Location":
        """Return this place under a name that does not depend on the working directory."""
        return self

    @property
    def root(self) -> "Location":
        """Return the place below which the paths of recordings are: this one, unless it is a choice from another."""
        return self

    def arguments(self) -> list[str]:
        """Return the words by which a user names this place."""
        return [str(self)]

    def display(self, key: str) -> str:
        """Return the name of a file or a folder in this place as shown to users."""
        return f"{self}/{key.removesuffix('/')}"

    @property
    def local_path(self) -> Path | None:
        """Return this place as a folder of this machine's file system, or None if it is not one.

        Such a folder can be watched for changes, and holds the lock and the logs of a `run` into it.
        """
        return None

    def volume(self) -> int | None:
        """Return the number of the volume of this place, which changes when a share is no longer mounted.

        Raises: OSError: if the place does not exist.
        """
        return None

    def lack_of_room(self) -> str | None:
        """Return the beginning of a sentence about how little space is left, or None while there is enough."""
        return None

    # Checks before any work is wasted

    def check_source(self, options: StorageOptions) -> None:
        """Raise SetupError unless recordings can be read here, and RetryableError if the storage is unreachable."""
        next(iter(self.open_source(options).folders()), None)

    def check_dest(self, options: StorageOptions, *, create: bool) -> None:
        """Raise SetupError unless transcripts can be stored here, and RetryableError if the storage is unreachable.

        It writes nothing unless `create` is true.
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
    """Return the key of a file that tests whether files can be stored, unique to this process."""
    return f"{RECORDS_FOLDER}/trial-{socket.gethostname()}-{os.getpid()}"


def no_records(location: Location) -> SetupError:
    """Return the error for a place that is not a destination of nightscribe."""
    return SetupError(
        f"DEST {str(location)!r} holds no records of nightscribe (nothing below {RECORDS_FOLDER}/ in it); give the "
        "DEST of an earlier `run` or `director`."
    )
