"""Use some files and folders below a folder as SOURCE, as a user lists them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.errors import PermanentError, RetryableError, SetupError
from nightscribe.shared.model.recording import Folder, Recording, Unreadable
from nightscribe.shared.storage.base import Location, StorageOptions
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore


@dataclass(frozen=True)
class ChosenLocation(Location):
    """Some recordings and folders below one folder. Their paths are below that folder, as if all of it were used."""

    folder: FolderLocation
    names: tuple[str, ...]
    """Paths below the folder, with forward slashes; those of folders end in one."""

    def __str__(self) -> str:
        first = str(self.folder.path / self.names[0])
        return first if len(self.names) == 1 else f"{first} and {len(self.names) - 1:,} more"

    @property
    def root(self) -> Location:
        """See `Location.root`."""
        return self.folder

    def arguments(self) -> list[str]:
        """See `Location.arguments`."""
        return [str(self.folder.path / name) for name in self.names]

    def absolute(self) -> "ChosenLocation":
        """See `Location.absolute`."""
        return replace(self, folder=self.folder.absolute())

    def open_source(self, options: StorageOptions, *, leave_out: Location | None = None) -> "ChosenSource":
        """See `Location.open_source`."""
        return ChosenSource(self.folder.open_source(options, leave_out=leave_out), self.names)

    def open_store(self, options: StorageOptions) -> FolderStore:  # noqa: ARG002  none concerns it
        """See `Location.open_store`. Raises: SetupError: always."""
        raise SetupError(f"DEST {str(self)!r} is a file; give a folder.")

    def check_source(self, options: StorageOptions) -> None:
        """See `Location.check_source`."""
        self.folder.check_source(options)
        for name in self.names:
            if not (self.folder.path / name).exists():
                raise SetupError(f"SOURCE {str(self.folder.path / name)!r} does not exist.")


class ChosenSource:
    """Lists only the chosen recordings, and reads them as the folder does."""

    max_concurrency = 1

    def __init__(self, source: FolderSource, names: tuple[str, ...]) -> None:
        self._source = source
        self._files = [name for name in names if not name.endswith("/")]
        self._folders = tuple(name for name in names if name.endswith("/"))

    def folders(self) -> Iterator[Folder]:
        """See `RecordingSource.folders`."""
        by_folder: dict[str, list[str]] = {}
        for name in sorted(set(self._files)):
            if not name.startswith(self._folders):
                by_folder.setdefault(name[: name.rfind("/") + 1], []).append(name)
        for path in sorted(by_folder):
            yield self._some(path, by_folder[path])
        if self._folders:
            for folder in self._source.folders():
                if folder.path.startswith(self._folders):
                    yield folder

    def _some(self, path: str, names: list[str]) -> Folder:
        folder = Folder(path, [], [], [])
        for name in names:
            try:
                folder.recordings.append(self._source.stat(name))
            except (PermanentError, RetryableError) as error:
                folder.unreadable.append(Unreadable(name, str(error)))
        return folder

    def stat(self, path: str) -> Recording:
        """See `RecordingSource.stat`."""
        return self._source.stat(path)

    def fingerprint(self, recording: Recording) -> str:
        """See `RecordingSource.fingerprint`."""
        return self._source.fingerprint(recording)

    def local(self, path: str) -> AbstractContextManager[Readable]:
        """See `RecordingSource.local`."""
        return self._source.local(path)
