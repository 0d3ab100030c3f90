"""Use a folder as SOURCE or DEST, and check it before any work is wasted."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.storage.base import LOGS, Location, StorageOptions
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore

MIN_FREE_BYTES = 64 * 2**20  # transcripts are small, but a disk with less would be full before morning


@dataclass(frozen=True)
class FolderLocation(Location):
    """A folder in this machine's file system."""

    poll_s: ClassVar[float] = 5.0

    path: Path

    @classmethod
    def parse(cls, text: str) -> "FolderLocation":
        """Return the folder with this path."""
        return cls(Path(text))

    def __str__(self) -> str:
        return str(self.path)

    def open_source(self, options: StorageOptions, *, leave_out: Location | None = None) -> FolderSource:
        """See `Location.open_source`."""
        others = leave_out.local_path if leave_out else None
        return FolderSource(self.path, leave_out=others, follow_links=options.follow_links)

    def open_store(self, options: StorageOptions) -> FolderStore:  # noqa: ARG002  none concerns it
        """See `Location.open_store`."""
        return FolderStore(self.path)

    def absolute(self) -> "FolderLocation":
        """See `Location.absolute`."""
        return FolderLocation(self.path.absolute())

    def display(self, key: str) -> str:
        """See `Location.display`."""
        return str(self.path / key)

    @property
    def local_path(self) -> Path:
        """Return the folder."""
        return self.path

    def volume(self) -> int:
        """See `Location.volume`."""
        return self.path.stat().st_dev

    def lack_of_room(self) -> str | None:
        """See `Location.lack_of_room`."""
        with suppress(OSError):  # the next write reports a share that is unreachable
            free = shutil.disk_usage(self.path).free
            if free < MIN_FREE_BYTES:
                return f"DEST {str(self)!r} has only {free // 2**20} MB free"
        return None

    def check_source(self, options: StorageOptions) -> None:  # noqa: ARG002  none concerns it
        """See `Location.check_source`."""
        if not _is_utf8(self.path.absolute()):
            raise SetupError(
                f"The path of SOURCE {str(self)!r} is not valid UTF-8, which ffmpeg requires; rename that folder."
            )
        with self._inspecting("SOURCE"):
            is_file, is_folder = self.path.is_file(), self.path.is_dir()
        if is_file:
            raise SetupError(f"SOURCE {str(self)!r} is a file; give the folder that holds it.")
        if not is_folder:
            raise SetupError(f"SOURCE {str(self)!r} does not exist; give the folder that holds your recordings.")
        if not os.access(self.path, os.R_OK | os.X_OK):
            raise SetupError(f"SOURCE {str(self)!r} may not be read by this user; change its permissions.")

    def check_dest(self, options: StorageOptions, *, create: bool) -> None:  # noqa: ARG002  none concerns it
        """See `Location.check_dest`; with `create`, it creates the folder and those for records and logs."""
        with self._inspecting("DEST"):
            is_other = self.path.exists() and not self.path.is_dir()
        if is_other:
            raise SetupError(f"DEST {str(self)!r} is a file; give a folder.")
        if not create:
            return
        try:
            logs = self.path / RECORDS_FOLDER / LOGS
            logs.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.path / RECORDS_FOLDER, logs):
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            raise SetupError(
                f"DEST {str(self)!r} cannot be written ({error.strerror}: {error.filename}); choose another folder or "
                "change its permissions."
            ) from None
        if lack := self.lack_of_room():
            raise SetupError(f"{lack}; free up space (at least 64 MB) or choose another.")

    def check_records(self, options: StorageOptions) -> None:  # noqa: ARG002  none concerns it
        """See `Location.check_records`."""
        with self._inspecting("DEST"):
            is_folder, has_records = self.path.is_dir(), (self.path / RECORDS_FOLDER).is_dir()
        if not is_folder:
            raise SetupError(f"DEST {str(self)!r} does not exist; give the folder of your transcripts.")
        if not has_records:
            raise SetupError(
                f"DEST {str(self)!r} holds no records of nightscribe (no folder {RECORDS_FOLDER} in it); "
                "give the DEST of an earlier `run` or `director`."
            )

    @contextmanager
    def _inspecting(self, argument: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SetupError(
                f"{argument} {str(self)!r} cannot be accessed ({error.strerror}: {error.filename}); give another "
                "folder, or change the permissions of this one and its parents."
            ) from None


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
