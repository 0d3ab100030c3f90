"""Receive files onto the disk, piece by piece, before they become recordings."""

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nightscribe.server.jobs.model import Refused
from nightscribe.server.jobs.names import clean_name
from nightscribe.shared.errors import MachineError, SetupError
from nightscribe.shared.model.paths import suffix
from nightscribe.shared.storage.base import Intake, RecordingSource

RESERVE_BYTES = 256 * 2**20  # that stay free for transcripts and the database
CHECKED_EVERY_BYTES = 64 * 2**20
PART = ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Upload:
    """A file that has arrived completely, and that no power failure can take away."""

    path: Path
    name: str
    """As it was given."""
    size: int
    sha256: str | None = None
    """Hash of the whole content, where it was computed on the way."""

    def discard(self) -> None:
        """Remove the file, unless it has become a recording."""
        self.path.unlink(missing_ok=True)


class Spool:
    """Keeps files that have not arrived completely, on the file system of the source where that is a folder."""

    def __init__(self, source: RecordingSource, fallback: Path, *, most_bytes: int) -> None:
        """`fallback`: a folder of this machine for sources that are no folder. `most_bytes`: of one file."""
        self._source = source
        self._fallback = fallback
        self.most_bytes = most_bytes

    @property
    def folder(self) -> Path:
        """Return the folder of the files.

        Raises: SetupError: if recordings cannot be added to the source, or the folder cannot be made.
        """
        if not isinstance(self._source, Intake):
            raise SetupError("Recordings cannot be uploaded, because this kind of source only reads.")
        if folder := self._source.waiting_room():
            return folder
        try:
            self._fallback.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"The folder {str(self._fallback)!r} cannot be made ({error.strerror}).") from None
        return self._fallback

    def require_room(self, size: int) -> None:
        """Refuse a file of this size if it is too large, or if the disk would be full.

        Raises: Refused: with the code `too_large`. MachineError: with the code `disk_full`.
        """
        if size > self.most_bytes:
            raise Refused(f"The file is too large: at most {_shown(self.most_bytes)} are accepted.", code="too_large")
        free = shutil.disk_usage(self.folder).free
        if size > free - RESERVE_BYTES:
            raise MachineError(
                f"The server's disk has no room for {_shown(size)}; {_shown(max(0, free - RESERVE_BYTES))} are free.",
                code="disk_full",
            )

    def begin(self, name: str, size: int | None = None) -> "Incoming":
        """Begin a file of `size` bytes; None if that is unknown. Raises: what `require_room` and `folder` raise."""
        self.require_room(size or 0)
        return Incoming(self, self.path_of(secrets.token_hex(16), name), name, size)

    def path_of(self, upload: str, name: str) -> Path:
        """Return the path of an upload's file, which has the suffix of its name: ffmpeg knows a few formats by that."""
        return self.folder / f"{upload}{PART}{suffix(clean_name(name))}"

    def abandoned(self, older_than_s: float) -> Iterator[tuple[str, Path]]:
        """Yield the ids and paths of files that nobody has written to for so long."""
        with suppress(SetupError, OSError):
            for path in self.folder.glob(f"*{PART}*"):
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime > older_than_s:
                        yield path.name.partition(PART)[0], path


class Incoming:
    """A file that is arriving. End it with `finish` or `abort`."""

    def __init__(self, spool: Spool, path: Path, name: str, size: int | None) -> None:
        self._spool = spool
        self._path = path
        self._expected = size
        self.name = name
        self.size = 0
        self._checked = 0
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise unwritable(error) from error

    def write(self, data: bytes) -> None:
        """Add the next bytes. Raises: Refused: if the file grows too large. MachineError: if the disk is full."""
        assert self._file  # noqa: S101  it is open until the end
        self.size += len(data)
        if self.size > self._spool.most_bytes or self.size - self._checked > CHECKED_EVERY_BYTES:
            self._spool.require_room(self.size if self.size > self._spool.most_bytes else 0)
            self._checked = self.size
        self._hash.update(data)
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise unwritable(error) from error

    def finish(self) -> Upload:
        """Return the complete file. Raises: Refused: with `cut_off` if bytes are missing. MachineError: as `write`."""
        assert self._file  # noqa: S101
        if self._expected is not None and self.size != self._expected:
            self.abort()
            raise Refused(f"The file is cut off: {self.size} of {self._expected} bytes arrived.", code="cut_off")
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise unwritable(error) from error
        self._file = None
        return Upload(self._path, self.name, self.size, self._hash.hexdigest())

    def abort(self) -> None:
        """Remove what has arrived; it does nothing after `finish`."""
        if self._file:
            self._file.close()
            self._file = None
            self._path.unlink(missing_ok=True)


def unwritable(error: OSError) -> MachineError:
    """Return the error for a file that cannot be written."""
    return MachineError(
        f"The server cannot store the file now ({error.strerror or error}).",
        code="disk_full" if error.errno in _FULL else "storage_unreachable",
    )


def _shown(n_bytes: int) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} bytes"
