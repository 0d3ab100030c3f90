"""Cache blocks of remote recordings on this machine's disk, up to a limit, dropping the least recently used."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from nightscribe.shared.process.scratch import SharedScratch

log = structlog.get_logger()

BLOCK_BYTES = 2 * 2**20  # a clip fits into one (`CLIP_BYTES` in audio/clips.py)
KEPT_FREE_BYTES = 2**30  # absolute, not a percentage: a large, nearly full disk would never have room
# The cache may hold forty thousand clips, and listing them takes longer than decoding one. So a listing stays valid
# until this share of its room is used (other processes use some too), and several blocks are removed at once.
LOOK_SHARE = 1 / 64
REMOVED_SHARE = 1 / 8


class Blocks:
    """Caches blocks by name for all processes of this user on this machine, and never removes a block in use.

    If the disk is full or fails, blocks are fetched again.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._scratch: SharedScratch | None = None
        self._lock = threading.Lock()
        self._room_bytes = 0
        """Bytes that may be kept until the next listing."""

    def get(self, name: str, fetch: Callable[[], bytes]) -> bytes:
        """Return a block; call `fetch` if it is not in the cache."""
        with self.pinned(name, fetch) as (content, _):
            return content

    @contextmanager
    def pinned(self, name: str, fetch: Callable[[], bytes], *, suffix: str = "") -> Iterator[tuple[bytes, Path | None]]:
        """Yield a block and its file, which stays until the context ends; the file is None if there is no room.

        `suffix` is the end of the file's name, if its reader depends on it.
        """
        path = self._path(name, suffix)
        file = _opened(path) if path else None
        if file is None:
            content = fetch()
            file = self._keep(path, content) if path else None
        else:
            with contextlib.suppress(OSError):
                os.utime(file)
            content = os.pread(file, BLOCK_BYTES, 0)
        try:
            yield content, path if file is not None else None
        finally:
            if file is not None:
                os.close(file)  # releases its lock

    def _path(self, name: str, suffix: str) -> Path | None:
        if not self._limit_bytes:
            return None
        with self._lock:
            if self._scratch is None:
                try:
                    self._scratch = SharedScratch()
                except OSError as error:
                    log.warning("cache.unusable", why=str(error))
                    self._limit_bytes = 0
                    return None
                weakref.finalize(self, self._scratch.close)
        return self._scratch.folder / (hashlib.sha256(name.encode()).hexdigest() + suffix)

    def _keep(self, path: Path, content: bytes) -> int | None:
        """Write a block if there is room or some can be made; return its open file, or None."""
        temporary = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
        try:
            if not self._has_room(path.parent, len(content)):
                return None
            temporary.write_bytes(content)
            temporary.replace(path)
            return _opened(path)
        except OSError as error:
            log.debug("block.unkept", why=str(error))
            temporary.unlink(missing_ok=True)
            return None

    def _has_room(self, folder: Path, n_bytes: int) -> bool:
        free = shutil.disk_usage(folder).free - KEPT_FREE_BYTES  # other programs fill the disk as well
        with self._lock:
            if n_bytes > min(self._room_bytes, free):
                more = self._make_room(folder, n_bytes, free) - n_bytes
                self._room_bytes = n_bytes + int(LOOK_SHARE * more) if more >= 0 else 0
                if more < 0:
                    return False
            self._room_bytes -= n_bytes
            return True

    def _make_room(self, folder: Path, n_bytes: int, free: int) -> float:
        """Remove the least recently used blocks if there is no room for `n_bytes`; return the room in bytes."""
        with os.scandir(folder) as entries:
            found = sorted((stat.st_mtime, stat.st_size, each.path) for each in entries for stat in [each.stat()])
        used = sum(size for _, size, _ in found)
        room = min(self._limit_bytes - used, free)
        more = min(int(REMOVED_SHARE * len(found)) * n_bytes, REMOVED_SHARE * self._limit_bytes)
        wanted = n_bytes if room >= n_bytes else n_bytes + more
        for _, size, path in found:
            if room >= wanted:
                break
            if size and _removed(path):
                room += size
        return room


def _opened(path: Path) -> int | None:
    """Open a file and lock it against removal until it is closed; return None if it does not exist."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:
            return file
    except OSError:  # another process is removing it
        pass
    os.close(file)
    return None


def _removed(path: str) -> bool:
    """Remove a file unless a process has it open; return whether it was removed."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(path).unlink()
        return True
    except OSError:
        return False
    finally:
        os.close(file)
