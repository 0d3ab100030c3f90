"""Know which words to listen for in each recording: those of the run, and those that the folders of the source list."""

import structlog

from nightscribe.shared.errors import NightscribeError, PermanentError
from nightscribe.shared.model.hotwords import FILE, check_hotwords, read_hotwords
from nightscribe.shared.model.recording import Folder, Unreadable
from nightscribe.shared.storage.base import RecordingSource

log = structlog.get_logger()


class FolderHotwords:
    """Reads the lists of words in the folders of a source; each is for the recordings in its folder and below it."""

    def __init__(self, source: RecordingSource, everywhere: tuple[str, ...] = ()) -> None:
        """`everywhere`: the words to listen for in all recordings."""
        self._source, self._everywhere = source, everywhere
        self._lists: dict[str, tuple[str, ...]] = {}
        """Only folders that have a list."""
        self._of_folders: dict[str, tuple[str, ...]] = {}

    def learn(self, folder: Folder) -> Unreadable | None:
        """Read the list of a folder as it is now, if it has one; return why that cannot be read.

        Raises: RetryableError: if the source is unreachable.
        """
        if FILE not in folder.lists:
            if self._lists.pop(folder.path, None) is not None:
                self._of_folders.clear()
            return None
        path = folder.path + FILE
        problem = None
        try:
            with self._source.local(path) as file, file.open("rb") as opened:
                words = read_hotwords(opened.read())
            check_hotwords((*self._everywhere, *words))
        except PermanentError as error:
            words, problem = (), Unreadable(path, str(error))
        except ValueError as error:
            words, problem = (), Unreadable(path, f"{error} Its words are not listened for.")
        if self._lists.get(folder.path) != words:
            self._lists[folder.path] = words
            self._of_folders.clear()
            log.info("hotwords.read", folder=folder.path, n=len(words))
        return problem

    def of(self, recording: str) -> tuple[str, ...]:
        """Return the words to listen for in a recording, those of the run first."""
        if not self._lists:
            return self._everywhere
        folder = recording[: recording.rfind("/") + 1]
        if (found := self._of_folders.get(folder)) is None:
            names = folder.split("/")[:-1]
            above = ["", *("/".join(names[: n + 1]) + "/" for n in range(len(names)))]
            found = self._everywhere
            for each in above:
                more = self._lists.get(each, ())
                try:
                    found = check_hotwords((*found, *more))
                except (NightscribeError, ValueError):
                    log.warning("hotwords.too_many", folder=each)
            self._of_folders[folder] = found
        return found
