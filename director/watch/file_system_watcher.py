"""Notice when something may have arrived in a folder, if the operating system reports it (inotify).

Nothing depends on it: the system reports neither what other machines write to a network share nor what arrives in a
bucket, and nothing at all where there are more folders than it is ready to watch.
"""

import threading
import time
from pathlib import Path, PurePath
from types import TracebackType
from typing import Self

import structlog
from watchdog.events import (
    DirCreatedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from nightscribe.shared.audio.probe import OTHER_SUFFIXES
from nightscribe.shared.model.paths import suffix

log = structlog.get_logger()

# These events are enough; we need not see every write to a growing file, or every file in a folder that is moved in.
EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    DirCreatedEvent,
]

STOP_WITHIN_S = 1.0


class FileSystemWatcher:
    """Watches a folder and those below it from a thread. With `root` None, it never notices a change."""

    def __init__(self, root: Path | None, *, leave_out: Path | None = None) -> None:
        """`leave_out`: a folder below `root` whose changes are ignored."""
        self._root = root.resolve() if root else None
        self._leave_out = leave_out.resolve() if leave_out else None
        self._changed = threading.Event()
        self._observer = Observer()
        self._is_stopped = False
        # Watching a large tree opens each of its folders first, and the caller should not wait for that.
        self._starting = threading.Thread(target=self._observe, name="file-system-watcher", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start watching in a background thread. Call this only once."""
        if self._root:
            self._starting.start()

    def stop(self) -> None:
        """Stop watching."""
        self._is_stopped = True
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(STOP_WITHIN_S)

    @property
    def changed(self) -> bool:
        """Return whether something has changed since the last `clear`."""
        return self._changed.is_set()

    def clear(self) -> None:
        """Forget the changes so far. Call it before a scan, so that no change during the scan is missed."""
        self._changed.clear()

    def wait(self, seconds: float) -> None:
        """Wait for a change, for `seconds` at most. If an earlier change is not cleared, wait for the full time."""
        if self._changed.is_set():
            time.sleep(seconds)
        else:
            self._changed.wait(seconds)

    def notice(self, path: str) -> None:
        """Note that a file changed, unless the file is hidden, is ours, or cannot be a recording."""
        place = PurePath(path)
        if self._root is None or not place.is_relative_to(self._root):
            return
        names = place.relative_to(self._root).parts
        is_hidden = any(name.startswith(".") for name in names)
        is_ours = self._leave_out not in (None, self._root) and place.is_relative_to(str(self._leave_out))
        if not (is_hidden or is_ours or suffix(path).removeprefix(".") in OTHER_SUFFIXES):
            self._changed.set()

    def _observe(self) -> None:
        handler = _Handler(self)
        try:
            self._observer.schedule(handler, str(self._root), recursive=True, event_filter=EVENTS)
            self._observer.start()
        except OSError as error:
            log.info(
                "watcher.unavailable",
                why=f"New files are found by scanning only: the system does not report them ({error.strerror}).",
            )
            return
        log.debug("watcher.started", folder=str(self._root))
        self._changed.set()  # so that a scan finds files that arrived before this
        if self._is_stopped:  # stopped in the meantime
            self.stop()


class _Handler(FileSystemEventHandler):
    def __init__(self, watcher: FileSystemWatcher) -> None:
        self._watcher = watcher

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = event.dest_path or event.src_path
        self._watcher.notice(path if isinstance(path, str) else path.decode(errors="replace"))
