"""Rings when something may have arrived in a folder, where the system tells (inotify).

Nothing depends on it. What other machines write to a network share rings nowhere, nor does a bucket; and where there
are more folders than the system is ready to watch, nothing does.
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

# A file that grows tells of every write: that it was created and closed is enough. So do the files of a folder that is
# moved there.
EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    DirCreatedEvent,
]

END_WITHIN_S = 1.0


class FileSystemWatcher:
    """Rings for a folder and those below it, from a thread; `root` may be None, and then it never does."""

    def __init__(self, root: Path | None, *, leave_out: Path | None = None) -> None:
        self._root = root.resolve() if root else None
        self._leave_out = leave_out.resolve() if leave_out else None
        self._rung = threading.Event()
        self._observer = Observer()
        self._over = False
        # Of a large tree every folder is looked into first, and the poll need not wait for that.
        self._beginning = threading.Thread(target=self._begin, name="alarm", daemon=True)

    def __enter__(self) -> Self:
        if self._root:
            self._beginning.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._end()

    @property
    def has_rung(self) -> bool:
        """Whether it rang since it was silenced."""
        return self._rung.is_set()

    def silence(self) -> None:
        """Whatever there is to be heard of is going to be looked at now."""
        self._rung.clear()

    def sleep(self, seconds: float) -> None:
        """Until it rings, at most so long; when it has rung already, just so long."""
        if self._rung.is_set():
            time.sleep(seconds)
        else:
            self._rung.wait(seconds)

    def _begin(self) -> None:
        handler = _Handler(self)
        try:
            self._observer.schedule(handler, str(self._root), recursive=True, event_filter=EVENTS)
            self._observer.start()
        except OSError as error:
            log.info(
                "alarm.absent", why=f"New files are found by looking: the system does not tell ({error.strerror})."
            )
            return
        log.debug("alarm.set", folder=str(self._root))
        self._rung.set()  # for what came before it listened
        if self._over:  # meanwhile
            self._end()

    def _end(self) -> None:
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(END_WITHIN_S)

    def hear(self, path: str) -> None:
        """Something has changed there."""
        place = PurePath(path)
        if self._root is None or not place.is_relative_to(self._root):
            return
        names = place.relative_to(self._root).parts
        is_hidden = any(name.startswith(".") for name in names)
        is_ours = self._leave_out not in (None, self._root) and place.is_relative_to(str(self._leave_out))
        if not (is_hidden or is_ours or suffix(path).removeprefix(".") in OTHER_SUFFIXES):
            self._rung.set()


class _Handler(FileSystemEventHandler):
    def __init__(self, alarm: FileSystemWatcher) -> None:
        self._alarm = alarm

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = event.dest_path or event.src_path
        self._alarm.hear(path if isinstance(path, str) else path.decode(errors="replace"))
