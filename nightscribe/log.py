"""Log dotted past-tense events with fields: readable on a terminal, JSON elsewhere; never transcript text."""

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from nightscribe.terminal import visible


class RotatedFile:
    """A stream into a file that is begun anew after some hours; earlier ones are kept beside it, with their dates."""

    def __init__(self, path: Path, hours: float, n_kept: int) -> None:
        """Open the file. `n_kept`: earlier files that are kept; 0 for all. Raises: OSError: if it cannot be opened."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handler = TimedRotatingFileHandler(
            path, when="S", interval=max(1, round(hours * 3600)), backupCount=n_kept, encoding="utf-8", utc=True
        )

    def write(self, text: str) -> int:
        """Write an event, which ends with a line break."""
        self._handler.emit(logging.makeLogRecord({"msg": text.removesuffix("\n")}))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        self._handler.flush()

    def isatty(self) -> bool:
        """Return False: a file is no terminal."""
        return False


class _Unfailing:
    """Swallows the errors of a stream, because a disk too full for the log must not end the work."""

    def __init__(self, stream: TextIO | RotatedFile) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _make_visible(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep names and reasons in an event from steering the terminal; a stack trace keeps its lines."""
    for name, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if name in ("exception", "stack") else [value]
            event[name] = "\n".join(map(visible, lines))
    return event


def configure_logging(level: str, stream: TextIO | RotatedFile = sys.stderr) -> None:
    """Send structlog events of at least `level` to `stream`."""
    shown: list[structlog.typing.Processor] = (
        [_make_visible, structlog.dev.ConsoleRenderer()] if stream.isatty() else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            *shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Unfailing(stream))),
        cache_logger_on_first_use=False,
    )
