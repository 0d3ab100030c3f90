"""Dotted past-tense events with fields: readable on a terminal, JSON otherwise. Never transcript text."""

import logging
import sys
from typing import TextIO

import structlog


def configure_logging(level: str, stream: TextIO = sys.stderr) -> None:
    """Send structlog events of at least `level` to `stream`."""
    renderer = structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
