"""Where recordings come from."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.errors import PermanentError, RetryableError

FINGERPRINT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of the source that may hold sound. `path` is relative to the source, with forward slashes."""

    path: str
    size: int
    mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something in the source that cannot be looked at, and what to do about it in a plain sentence."""

    path: str
    reason: str


class RecordingSource(Protocol):
    """A pile of files; which of them are recordings is for the director to say."""

    def list(self) -> Iterator[Recording | Unreadable]:
        """Every file that is not hidden, folder by folder (those of one folder follow each other)."""
        ...

    def stat(self, path: str) -> Recording:
        """Size and time of one recording as they are now. Raises: PermanentError: if it is gone."""
        ...

    def fingerprint(self, recording: Recording) -> str:
        """Size and a hash of the first and last 64 KiB: cheap on a network share, and the same after a rename.

        Raises: PermanentError: if it is gone or may not be read. RetryableError: if reading fails.
        """
        ...

    def local(self, path: str) -> AbstractContextManager[Path]:
        """The recording as a file ffmpeg can open, for as long as the context lasts."""
        ...


class FolderSource:
    """A folder and the folders below it. Symbolic links are followed; a loop is walked once."""

    def __init__(self, root: Path, *, leave_out: Path | None = None) -> None:
        self.root = root.resolve()
        self._leave_out = leave_out.resolve() if leave_out else None

    def list(self) -> Iterator[Recording | Unreadable]:
        """See `RecordingSource.list`; `leave_out` (the destination) is not entered."""
        pending, seen = [self.root], set()
        while pending:
            folder = pending.pop()
            try:
                real = folder.resolve()
                above = real in self.root.parents  # a link up leads to everything else there is
                if real in seen or above or (real == self._leave_out and real != self.root):
                    continue
                seen.add(real)
                with os.scandir(folder) as entries:
                    found = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
            except OSError as error:
                yield self._unreadable(folder, error)
                continue
            below = []
            for entry in found:
                try:
                    if entry.is_dir():
                        below.append(folder / entry.name)
                    elif entry.is_file():
                        yield self._recording(folder / entry.name, entry.stat())
                except OSError as error:
                    yield self._unreadable(folder / entry.name, error)
            pending.extend(reversed(below))

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _recording(self, path: Path, stat: os.stat_result) -> Recording | Unreadable:
        name = self._relative(path)
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            return Unreadable(shown, "Its name is not valid UTF-8; rename it.")
        return Recording(name, stat.st_size, stat.st_mtime_ns)

    def _unreadable(self, path: Path, error: OSError) -> Unreadable:
        name = os.fsencode(self._relative(path)).decode("utf-8", "backslashreplace")
        return Unreadable(name, f"It cannot be read ({error.strerror or error}); give this user the right to read it.")

    def stat(self, path: str) -> Recording:
        """See `RecordingSource.stat`."""
        with self._errors(path):
            stat = (self.root / path).stat()
            return Recording(path, stat.st_size, stat.st_mtime_ns)

    def fingerprint(self, recording: Recording) -> str:
        """See `RecordingSource.fingerprint`."""
        digest = hashlib.sha256()
        with self._errors(recording.path), (self.root / recording.path).open("rb") as file:
            digest.update(file.read(FINGERPRINT_BYTES))
            size = file.seek(0, os.SEEK_END)
            if size > FINGERPRINT_BYTES:
                file.seek(max(FINGERPRINT_BYTES, size - FINGERPRINT_BYTES))
                digest.update(file.read(FINGERPRINT_BYTES))
        return f"{size}-{digest.hexdigest()[:32]}"

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See `RecordingSource.local`; what goes wrong while the file is read is translated as well."""
        with self._errors(path):
            yield self.root / path

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if not self.root.is_dir():  # a share that is not mounted says nothing about its recordings
                raise RetryableError(f"The source {str(self.root)!r} is not there now.") from None
            if (self.root / path).exists():  # something else is missing
                raise
            raise PermanentError(f"{path!r} is no longer in the source.") from None
        except PermissionError:
            raise PermanentError(f"{path!r} may not be read by this user; change its permissions.") from None
        except OSError as error:
            raise RetryableError(f"{path!r} cannot be read now ({error.strerror or error}).") from error
