"""Stretches of recordings from afar, kept on this machine's disk: so many bytes in all, and the last used stay."""

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

from shared.scratch import SharedScratch

log = structlog.get_logger()

BLOCK_BYTES = 2 * 2**20  # a clip is one of them (`shared.clips.CLIP_BYTES`)
KEPT_FREE_BYTES = 2**30
KEPT_FREE = 0.1  # of the disk


class Blocks:
    """Blocks by name, shared with every process of this user on this machine; what is in use is never removed.

    A disk that has no room or fails is no trouble: then a block is fetched again.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._scratch: SharedScratch | None = None
        self._lock = threading.Lock()

    def get(self, name: str, fetch: Callable[[], bytes]) -> bytes:
        """A block, fetched if it is not here."""
        with self.pinned(name, fetch) as (content, _):
            return content

    @contextmanager
    def pinned(self, name: str, fetch: Callable[[], bytes]) -> Iterator[tuple[bytes, Path | None]]:
        """A block and the file it is in for as long as the context lasts; no file, if there is no room for one."""
        path = self._path(name)
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
                os.close(file)  # with its lock

    def _path(self, name: str) -> Path | None:
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
        return self._scratch.folder / hashlib.sha256(name.encode()).hexdigest()

    def _keep(self, path: Path, content: bytes) -> int | None:
        """Write a block, if there is room or can be made; gives it opened."""
        temporary = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
        try:
            if not self._make_room(path.parent, len(content)):
                return None
            temporary.write_bytes(content)
            temporary.replace(path)
            return _opened(path)
        except OSError as error:
            log.debug("block.unkept", why=str(error))
            temporary.unlink(missing_ok=True)
            return None

    def _make_room(self, folder: Path, n_bytes: int) -> bool:
        disk = shutil.disk_usage(folder)
        with os.scandir(folder) as entries:
            found = sorted((stat.st_mtime, stat.st_size, each.path) for each in entries for stat in [each.stat()])
        used = sum(size for _, size, _ in found)
        free = disk.free - max(KEPT_FREE_BYTES, KEPT_FREE * disk.total)
        excess = n_bytes - min(self._limit_bytes - used, free)
        for _, size, path in found:
            if excess <= 0:
                break
            if size and _removed(path):
                excess -= size
        return excess <= 0


def _opened(path: Path) -> int | None:
    """A file that nobody removes until it is closed, if it is there."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:
            return file
    except OSError:  # it is being removed at this moment
        pass
    os.close(file)
    return None


def _removed(path: str) -> bool:
    """Whether it could be removed, because nobody has it open."""
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
