"""Log dotted past-tense events with fields: readable on a terminal, JSON elsewhere; never transcript text."""

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

from nightscribe.terminal import visible


class _Unfailing:
    """Swallows the errors of a stream, because a disk too full for the log must not end the work."""

    def __init__(self, stream: TextIO) -> None:
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


def configure_logging(level: str, stream: TextIO = sys.stderr) -> None:
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
