"""Read recordings from a folder."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path

from nightscribe.shared.audio.probe import OTHER_SUFFIXES
from nightscribe.shared.errors import MachineError, PermanentError, RetryableError, StorageError
from nightscribe.shared.model.hotwords import FILE as HOTWORDS_FILE
from nightscribe.shared.model.jobs import REQUESTS_FOLDER, UPLOADS_FOLDER
from nightscribe.shared.model.paths import suffix
from nightscribe.shared.model.recording import Folder, Recording, Unreadable
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.fingerprint import fingerprint

COPIED_BYTES = 2**20
LEADS_OUT = "is a link that leads out of the source; put a copy there, or allow it with --follow-links."
LEADS_NOWHERE = "It is a link that leads nowhere; restore its target (perhaps a disk is not mounted), or remove it."


class FolderSource:
    """Reads a folder and all folders below it. It follows symbolic links that stay inside, and walks a loop once."""

    max_concurrency = 1

    def __init__(self, root: Path, *, leave_out: Path | None = None, follow_links: bool = False) -> None:
        """`follow_links`: also follow links that lead out, so that a message on the queue can name their targets."""
        self.root = root.resolve()
        self._leave_out = leave_out.resolve() if leave_out else None
        self._follow_links = follow_links

    def folders(self) -> Iterator[Folder]:
        """See `RecordingSource.folders`; it does not enter `leave_out`, the destination."""
        root = str(self.root)
        pending = [("", root)]
        # Keep hashes instead of a million real paths; a collision is less likely than a broken disk.
        seen: set[int] = set()
        while pending:
            path, real = pending.pop()
            if hash(real) in seen or self._is_barred(real):
                continue
            seen.add(hash(real))
            folder = Folder(path, [], [], [])
            try:
                real_below = self._look_into(folder, real)
            except OSError as error:
                folder.unreadable.append(_unreadable(path.removesuffix("/"), error))
                real_below = {}
            yield folder
            pending.extend((f"{path}{name}/", real_below[name]) for name in reversed(folder.below))

    def _leads_out(self, real: str) -> bool:
        return not self._follow_links and not (real + "/").startswith(str(self.root).rstrip("/") + "/")

    def _place(self, path: str) -> Path:
        """Return the path of a recording. Raises: PermanentError: if a link in it leads out of the source."""
        if self._leads_out(os.path.realpath(self.root / path)):
            raise PermanentError(f"{path!r} {LEADS_OUT}", code="outside_source")
        return self.root / path

    def _is_barred(self, real: str) -> bool:
        if real == str(self.root):
            return False
        above = str(self.root).startswith(real.rstrip("/") + "/")  # a link upwards would include unrelated files
        return above or (self._leave_out is not None and real == str(self._leave_out))

    def _look_into(self, folder: Folder, real: str) -> dict[str, str]:
        """Fill in the folder's contents; return the real paths of the folders in it by name."""
        real_below: dict[str, str] = {}
        with os.scandir(f"{self.root}/{folder.path}") as entries:
            for entry in entries:
                report_alive()  # there may be a million entries, and each costs a system call
                if entry.name.startswith("."):
                    if entry.name == HOTWORDS_FILE:
                        folder.lists.append(entry.name)
                    continue
                path = folder.path + entry.name
                try:
                    if entry.is_dir():
                        # Only a link can lead elsewhere; resolving every folder would take minutes.
                        is_link = entry.is_symlink()
                        leads_to = os.path.realpath(entry.path) if is_link else f"{real.rstrip('/')}/{entry.name}"
                        if is_link and self._leads_out(leads_to) and not self._is_barred(leads_to):
                            folder.unreadable.append(Unreadable(path, f"It {LEADS_OUT}"))
                        else:
                            real_below[entry.name] = leads_to
                    elif entry.is_file():
                        stat = entry.stat()
                        path.encode()
                        folder.recordings.append(Recording(path, stat.st_size, stat.st_mtime_ns))
                    elif entry.is_symlink() and suffix(path).removeprefix(".") not in OTHER_SUFFIXES:
                        folder.unreadable.append(Unreadable(_shown(path), LEADS_NOWHERE))
                except UnicodeEncodeError:
                    folder.unreadable.append(Unreadable(_shown(path), "Its name is not valid UTF-8; rename it."))
                except OSError as error:
                    folder.unreadable.append(_unreadable(path, error))
        folder.recordings.sort(key=_by_path)
        folder.unreadable.sort(key=_by_path)
        folder.below.extend(sorted(real_below))
        return real_below

    def stat(self, path: str) -> Recording:
        """See `RecordingSource.stat`."""
        with self._errors(path):
            stat = (self.root / path).stat()
            return Recording(path, stat.st_size, stat.st_mtime_ns)

    def fingerprint(self, recording: Recording) -> str:
        """See `RecordingSource.fingerprint`."""
        with self._errors(recording.path), self._place(recording.path).open("rb") as file:

            def read(first: int, n: int) -> bytes:
                file.seek(first)
                return file.read(n)

            return fingerprint(file.seek(0, os.SEEK_END), read)

    def waiting_room(self) -> Path:
        """See `Intake.waiting_room`."""
        folder = self.root / UPLOADS_FOLDER
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"The source {str(self.root)!r} cannot be written ({error.strerror}); allow this user to write there."
            ) from None
        return folder

    def add(self, file: Path, path: str) -> bool:
        """See `Intake.add`."""
        target = self.root / path
        folder = os.path.realpath(target.parent)
        if self._leads_out(folder) or self._is_in_destination(folder):
            raise PermanentError(
                f"{path!r} is not a place for recordings; choose another folder.", code="outside_source"
            )
        try:
            new = _made_folders(target.parent)
            try:
                os.link(file, target)
            except FileExistsError:
                return False
            except OSError:  # another file system, or one without hard links
                if target.exists():
                    return False
                _moved(file, target)
            file.unlink(missing_ok=True)
            for each in {target.parent, *(folder.parent for folder in new)}:
                sync_folder(each)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise MachineError(
                    f"The disk of the source is full, so {path!r} was not stored.", code="disk_full"
                ) from None
            raise RetryableError(
                f"{path!r} cannot be written now ({error.strerror or error}).", code="storage_unreachable"
            ) from error
        return True

    def remove(self, path: str) -> None:
        """See `Intake.remove`."""
        with self._errors(path), suppress(FileNotFoundError):
            self._place(path).unlink()

    def requests(self, older_than_s: float) -> Iterator[str]:
        """See `Intake.requests`."""
        with suppress(FileNotFoundError), os.scandir(self.root / REQUESTS_FOLDER) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if time.time() - entry.stat().st_mtime > older_than_s:
                        yield f"{REQUESTS_FOLDER}/{entry.name}"

    def _is_in_destination(self, real: str) -> bool:
        """Return whether a folder of the source is part of the destination, where no scan looks."""
        out = self._leave_out
        return out is not None and out.is_relative_to(self.root) and Path(real).is_relative_to(out)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See `RecordingSource.local`; errors while the file is read are translated as well."""
        with self._errors(path):
            yield self._place(path)

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if not self.root.is_dir():  # a share that is not mounted says nothing about its recordings
                raise RetryableError(
                    f"The source {str(self.root)!r} does not exist now.", code="storage_unreachable"
                ) from None
            if (self.root / path).exists():  # something else is missing
                raise
            raise PermanentError(f"{path!r} is no longer in the source.", code="gone") from None
        except PermissionError:
            if not os.access(self.root, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                raise RetryableError(
                    f"The source {str(self.root)!r} cannot be read now.", code="storage_unreachable"
                ) from None
            raise PermanentError(
                f"{path!r} may not be read by this user; change its permissions.", code="not_readable"
            ) from None
        except OSError as error:
            raise RetryableError(
                f"{path!r} cannot be read now ({error.strerror or error}).", code="not_readable"
            ) from error


_by_path = attrgetter("path")


def _made_folders(folder: Path) -> list[Path]:
    """Create a folder with those above it; return those that are new."""
    new = []
    while not folder.is_dir():
        new.append(folder)
        folder = folder.parent
    for each in reversed(new):
        each.mkdir(exist_ok=True)
    return new


def _moved(file: Path, target: Path) -> None:
    """Give a file its name, by way of a copy if it lies on another file system."""
    if file.stat().st_dev == target.parent.stat().st_dev:
        file.rename(target)
        return
    copy = target.with_name(f".{target.name}.part")
    try:
        with file.open("rb") as source, copy.open("wb") as written:
            shutil.copyfileobj(source, written, COPIED_BYTES)
            written.flush()
            os.fsync(written.fileno())
        copy.rename(target)
    finally:
        copy.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _unreadable(path: str, error: OSError) -> Unreadable:
    if error.errno == errno.ELOOP:
        return Unreadable(_shown(path), LEADS_NOWHERE)
    reason = f"It cannot be read ({error.strerror or error}); give this user permission to read it."
    return Unreadable(_shown(path) or ".", reason)
