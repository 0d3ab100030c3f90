"""Choose where the index of a destination lies, and open it there."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import structlog

from nightscribe.search.sqlite_index import IndexDamaged, SqliteIndex
from nightscribe.shared.destination.keys import with_suffix
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.settings import cache_folder
from nightscribe.shared.storage.base import Location

log = structlog.get_logger()

FILE = "index.sqlite"
MOUNTS = Path("/proc/self/mountinfo")
# SQLite's locks do not work between machines, so that two of them would damage a file that both see.
_SHARED = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs", "virtiofs", "vboxsf"}


def index_path(dest: Location) -> Path:
    """Return the file of the index: in the destination if that is a local folder, else in this user's cache."""
    folder = dest.local_path
    if folder is not None:
        inside = folder.absolute() / RECORDS_FOLDER / "search"
        nearest = inside if inside.is_dir() else inside.parent
        if os.access(nearest, os.W_OK) and not is_shared(nearest):
            return inside / FILE
    name = quote(str(dest.absolute()), safe="")
    return cache_folder() / "search" / with_suffix(name, "") / FILE


def is_shared(path: Path, mounts: Path = MOUNTS) -> bool:
    """Return whether a folder lies on a file system that other machines may use at the same time."""
    nearest, kind = "", ""
    with suppress(OSError):
        real = str(path.resolve())
        for line in mounts.read_text(errors="surrogateescape").splitlines():
            fields, _, source = line.partition(" - ")
            point = fields.split()[4].encode().decode("unicode_escape").encode("latin-1").decode(errors="replace")
            if (real + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(nearest):
                nearest, kind = point, source.split()[0]
    return kind in _SHARED or kind.startswith("fuse.")


def open_index(path: Path) -> SqliteIndex:
    """Open an index; one that is damaged is deleted and made again, because the records hold everything."""
    try:
        return SqliteIndex(path)
    except IndexDamaged as error:
        log.warning("index.damaged", why=str(error))
        delete(path)
        return SqliteIndex(path)


def delete(path: Path) -> None:
    """Delete an index."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def only_updater(path: Path, waiting: Callable[[], None] | None) -> Iterator[bool]:
    """Keep other processes of this machine from updating the index meanwhile, so that nothing is done twice.

    A process that is killed releases the lock. Nothing but time depends on it.

    `waiting`: called before waiting for another process; with None, yield False instead of waiting.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name("update.lock").open("w") as file:
        is_free = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_free = waiting is not None
            if waiting:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield is_free
