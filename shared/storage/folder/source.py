"""Read recordings from a folder."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path

from nightscribe.shared.audio.probe import OTHER_SUFFIXES
from nightscribe.shared.errors import PermanentError, RetryableError
from nightscribe.shared.model.paths import suffix
from nightscribe.shared.model.recording import Folder, Recording, Unreadable
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.fingerprint import fingerprint

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


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _unreadable(path: str, error: OSError) -> Unreadable:
    if error.errno == errno.ELOOP:
        return Unreadable(_shown(path), LEADS_NOWHERE)
    reason = f"It cannot be read ({error.strerror or error}); give this user permission to read it."
    return Unreadable(_shown(path) or ".", reason)
