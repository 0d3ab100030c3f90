"""Store transcripts and records in a folder."""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from nightscribe.shared.errors import MachineError, NameTooLong, RetryableError
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.process.identity import is_alive, machine_id
from nightscribe.shared.storage.base import Fence, FolderRevisions

TEMPORARY = re.compile(r"^\.nightscribe-(?P<host>.+)-(?P<pid>\d+)-(?P<random>[0-9a-f]+)\.tmp$")
TEMPORARY_BYTES = 116  # length of such a name with a long host name, and of the slash before it
STALE_AFTER_S = 24 * 3600  # keeping a leftover file for a day is harmless, but removing one too early costs work
MAX_WRITES = 5
EXCHANGED_WITHIN_S = 30.0  # a suspended process must not hold up all others for ever
LOCK_CHECK_S = 0.02
SETTLED_S = 2.0


class FolderStore:
    """Stores files in a folder; it writes each under a temporary name in the same folder, flushes and renames it."""

    max_concurrency = 1

    def __init__(self, root: Path) -> None:
        self.root = root
        self._longest: tuple[int, int] | None = None
        self._has_locks = True
        # A host name may contain any character, but `_sweep` must be able to parse it; several hosts may share one.
        self._host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:51] + f".{machine_id()}"

    def get(self, key: str) -> bytes | None:
        """See `TranscriptStore.get`."""
        try:
            return (self.root / key).read_bytes()
        except OSError as error:
            if _is_absent(error):
                return None
            raise self._failed("read", key, error) from error

    def ends(self, key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        """See `TranscriptStore.ends`."""
        try:
            file = os.open(f"{self.root}/{key}", os.O_RDONLY)
            try:
                size = os.fstat(file).st_size
                return os.pread(file, n_first, 0), os.pread(file, n_last, max(0, size - n_last))
            finally:
                os.close(file)
        except OSError as error:
            if _is_absent(error):
                return None
            raise self._failed("read", key, error) from error

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        """See `TranscriptStore.put`."""
        self._write(key, content, _moved, durable=durable)

    def put_new(self, key: str, content: bytes) -> bool:
        """See `TranscriptStore.put_new`."""
        return self._write(key, content, _linked) or self.get(key) == content

    def put_if_same(self, key: str, content: bytes, before: bytes, fence: Fence | None = None) -> bool:
        """See `Exchange.put_if_same`. A lock on a file in the records' folder keeps others from comparing meanwhile."""

        def exchanged(temporary: Path, target: Path) -> bool:
            with self._exchanging():
                try:
                    is_same = target.read_bytes() == before
                except FileNotFoundError:
                    is_same = False
                if fence:
                    fence.check()
                if is_same:
                    return _moved(temporary, target)
                temporary.unlink(missing_ok=True)
                return False

        return self._write(key, content, exchanged, token=fence.token if fence else "")

    @contextlib.contextmanager
    def _exchanging(self) -> Iterator[None]:
        folder = self.root / RECORDS_FOLDER
        folder.mkdir(exist_ok=True)
        with (folder / "exchange.lock").open("ab") as file:
            _lock_soon(file)
            yield

    def put_fenced(self, key: str, content: bytes, fence: Fence, *, is_new: bool, durable: bool) -> bool:
        """See `FencedWrites.put_fenced`."""
        name = _linked if is_new else _moved

        def checked(temporary: Path, target: Path) -> bool:
            fence.check()
            # A process that was paused here finds its temporary file gone if the fence was revoked in the meantime.
            return name(temporary, target)

        is_named = self._write(key, content, checked, durable=durable, token=fence.token)
        return is_named or (is_new and self.get(key) == content)

    def revoke(self, token: str, folders: Collection[str]) -> None:
        """See `FencedWrites.revoke`: without its temporary file, a write starts again and checks its fence again."""
        for folder in folders:
            try:
                for path in list((self.root / folder).iterdir()):
                    if (match := TEMPORARY.match(path.name)) and match["random"].startswith(token):
                        path.unlink(missing_ok=True)
            except OSError as error:
                if not _is_absent(error):
                    raise self._failed("clear", folder, error) from error

    def _write(
        self, key: str, content: bytes, named: Callable[[Path, Path], bool], *, durable: bool = True, token: str = ""
    ) -> bool:
        """Write a file under a temporary name, let `named` rename it, and return the result of `named`."""
        target = self.root / key
        for n_left in reversed(range(MAX_WRITES)):
            try:
                self._require_root()
                return self._write_once(target, content, named, durable=durable, token=token)
            except OSError as error:
                # The temporary file may be gone: a person tidied up, or an older release on another machine swept it.
                if not (isinstance(error, FileNotFoundError) and n_left and self.root.is_dir()):
                    raise self._failed("write", key, error) from error
        raise AssertionError  # the last round returns or raises

    def _require_root(self) -> None:
        """Raise FileNotFoundError if the folder is missing: creating it would hide a share that is not mounted."""
        if not self.root.is_dir():
            raise FileNotFoundError(f"the destination {str(self.root)!r} is gone")

    def _write_once(
        self, target: Path, content: bytes, named: Callable[[Path, Path], bool], *, durable: bool, token: str
    ) -> bool:
        temporary = self._temporary(target.parent, token)
        with _made(temporary) as file:
            try:
                self._lock(file)
                file.write(content)
                file.flush()  # otherwise a reader could find the file renamed but still empty
                if durable:
                    os.fsync(file.fileno())
                return named(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def _temporary(self, folder: Path, token: str = "") -> Path:
        return folder / f".nightscribe-{self._host}-{os.getpid()}-{token}{secrets.token_hex(4)}.tmp"

    def _lock(self, file: BinaryIO) -> None:
        """Lock the file to protect it from sweeping; the system releases the lock when the process ends."""
        if self._has_locks:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # the share has no locks, and trying again for each file may take long
                self._has_locks = False

    def takes(self, key: str) -> bool:
        """See `TranscriptStore.takes`."""
        if self._longest is None:
            try:
                self._longest = os.pathconf(self.root, "PC_NAME_MAX"), os.pathconf(self.root, "PC_PATH_MAX")
            except OSError:  # the folder is gone, which the next write reports
                return True
        longest_name, longest_path = self._longest
        path = os.fsencode(self.root.absolute() / key)
        folder = path[: path.rfind(b"/")]
        return (
            max(map(len, path.split(b"/"))) <= longest_name
            and max(len(path), len(folder) + TEMPORARY_BYTES) < longest_path
        )

    def is_one(self, key: str, other: str) -> bool:
        """See `TranscriptStore.is_one`."""
        try:
            return (self.root / key).samefile(self.root / other)
        except OSError:
            return False

    def delete(self, key: str) -> None:
        """See `TranscriptStore.delete`; it also removes record folders that become empty."""
        path = self.root / key
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            if _is_absent(error):
                return
            raise self._failed("delete", key, error) from error
        if not key.startswith(".nightscribe/"):
            return
        for folder in path.parents:
            if folder.parent in (self.root, self.root.parent):
                return
            try:
                folder.rmdir()
            except OSError:  # not empty, or already gone
                return

    def names(self, folder: str) -> list[str]:
        """See `TranscriptStore.names`."""
        return self.listing(folder)[0]

    def names_in(self, folders: Collection[str]) -> dict[str, list[str]]:
        """See `TranscriptStore.names_in`."""
        return {folder: self.names(folder) for folder in folders}

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """See `TranscriptStore.listing`; it also removes temporary files of dead writers."""
        found: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(f"{self.root}/{folder}") as entries:
                for entry in entries:
                    if entry.name.startswith(".nightscribe-") and (match := TEMPORARY.match(entry.name)):
                        self._sweep(entry, match)
                    else:
                        (folders if _is_folder(entry) else found).append(entry.name)
        except OSError as error:
            if _is_absent(error):
                return [], []
            raise self._failed("list", folder, error) from error
        return found, folders

    def walk(self, folder: str) -> Iterator[str]:
        """See `TranscriptStore.walk`."""
        top = self.root / folder
        for path, folders, files in os.walk(top):
            folders.sort()
            for name in sorted(files):
                if not TEMPORARY.match(name):
                    yield (Path(path) / name).relative_to(self.root).as_posix()

    def revisions(self, top: str, seen: Mapping[str, str]) -> Iterator[FolderRevisions]:
        """See `Revisions.revisions`; files are replaced by renaming, which changes the time of their folder."""
        below: dict[str, list[str]] = {}
        for path in seen:
            if path:
                below.setdefault(path[: path.rfind("/", 0, -1) + 1], []).append(path)
        paths = [""]
        while paths:
            path = paths.pop()
            try:
                changed_ns = (self.root / top / path).stat().st_mtime_ns
                if seen.get(path) == str(changed_ns):
                    yield FolderRevisions(path, str(changed_ns), None)
                    paths += sorted(below.get(path, ()), reverse=True)
                    continue
                with os.scandir(self.root / top / path) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
                files = {entry.name: _revision(entry) for entry in listed if not _is_folder(entry)}
            except OSError as error:
                if _is_absent(error):
                    continue
                raise self._failed("list", top + path, error) from error
            # A file that is replaced within the resolution of the clock would leave the time as it is.
            is_settled = abs(time.time() - changed_ns / 1e9) > SETTLED_S
            kept = {name: revision for name, revision in files.items() if revision and not TEMPORARY.match(name)}
            yield FolderRevisions(path, str(changed_ns) if is_settled else "", kept)
            paths += [f"{path}{entry.name}/" for entry in reversed(listed) if _is_folder(entry)]

    def age_s(self, key: str) -> float | None:
        """See `Housekeeping.age_s`."""
        path = self.root / key
        try:
            changed_at = path.lstat().st_mtime
        except OSError as error:
            if _is_absent(error):
                return None
            raise self._failed("inspect", key, error) from error
        try:
            now = self._now(path.parent)
        except OSError:  # nothing can be written there, so the clock of this machine must do
            now = time.time()
        return max(0.0, now - changed_at)

    def temporary_files(self) -> Iterator[str]:
        """See `Housekeeping.temporary_files`."""
        for folder, folders, files in os.walk(self.root):
            folders.sort()
            for path in (Path(folder) / name for name in sorted(files) if TEMPORARY.match(name)):
                with contextlib.suppress(OSError):
                    if not _is_locked(path):
                        yield path.relative_to(self.root).as_posix()

    def _sweep(self, entry: "os.DirEntry[str]", match: re.Match[str]) -> None:
        """Remove a temporary file whose writer has certainly ended, but never a locked one.

        Only a process of this machine is known to have ended. Any other file must be a day old, both by this machine's
        clock and by the clock that sets the times of files in that folder.
        """
        path = Path(entry.path)
        try:
            ended = match["host"] == self._host and not is_alive(int(match["pid"]))
            if (ended or self._is_stale(path)) and not _is_locked(path):
                path.unlink(missing_ok=True)
        except OSError:  # another process is removing it, or this user may not
            return

    def _is_stale(self, path: Path) -> bool:
        changed_at = path.lstat().st_mtime
        is_old_here = time.time() - changed_at > STALE_AFTER_S
        return is_old_here and self._now(path.parent) - changed_at > STALE_AFTER_S

    def _now(self, folder: Path) -> float:
        """Return the time by the clock that dates new files in a folder, which on a share is the server's."""
        probe = self._temporary(folder)
        with probe.open("xb") as file:
            try:
                file.write(b".")
                file.flush()
                return os.fstat(file.fileno()).st_mtime
            finally:
                probe.unlink(missing_ok=True)

    def _failed(self, what: str, key: str, error: OSError) -> RetryableError | NameTooLong:
        if error.errno == errno.ENAMETOOLONG:
            return NameTooLong(f"{key!r} in {str(self.root)!r} would have a longer name than the file system allows.")
        said = f"Cannot {what} {key!r} in {str(self.root)!r}: {error.strerror or error}."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return MachineError(said, code="disk_full")
        if error.errno == errno.EROFS:
            return MachineError(said, code="storage_unreachable")
        return RetryableError(said, code="storage_unreachable")


def _moved(temporary: Path, target: Path) -> bool:
    temporary.replace(target)
    return True


def _linked(temporary: Path, target: Path) -> bool:
    """Give the file its name unless another file has that name; return whether it succeeded."""
    try:
        os.link(temporary, target)
    except OSError as error:  # the name is taken, or the file system has no hard links (memory sticks)
        if not isinstance(error, FileExistsError) and not os.path.lexists(target):
            return _moved(temporary, target)
        temporary.unlink(missing_ok=True)
        return False
    temporary.unlink(missing_ok=True)
    return True


def _lock_soon(file: BinaryIO) -> None:
    """Lock a file, or raise RetryableError if another process, which may be suspended, does not unlock it soon."""
    until = time.monotonic() + EXCHANGED_WITHIN_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise RetryableError(
                    f"Another process has held {file.name!r} for {EXCHANGED_WITHIN_S:.0f} s; it may be suspended.",
                    code="storage_unreachable",
                ) from None
            time.sleep(LOCK_CHECK_S)
        except OSError:  # the share has no locks
            return
        else:
            return


def _is_locked(path: Path) -> bool:
    """Return whether a writer holds the lock on a file; False where the file system has no locks."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: NFS grants only this on a file open for reading
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def _made(path: Path) -> BinaryIO:
    """Create and open a file in its folder, which another process may remove while it is empty."""
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("xb")
    return path.open("xb")


def _is_absent(error: OSError) -> bool:
    """Return whether the error means that the file does not exist; one with too long a name cannot."""
    return isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ENAMETOOLONG


def _revision(entry: "os.DirEntry[str]") -> str:
    """Return what changes whenever a file is replaced, or "" if it is gone."""
    try:
        found = entry.stat()
    except OSError:
        return ""
    return f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere, or to itself
        return False
