"""Speech engines: one file each, behind `Engine`, imported only when chosen."""

from importlib.util import find_spec
from pathlib import Path

from nightscribe.shared.errors import SetupError
from nightscribe.worker.engines.whisper.base import Engine
from nightscribe.worker.weights.catalogue import Layout

# name: (package it needs, layout of its weights); `auto` takes the first that is installed.
ENGINES: dict[str, tuple[str, Layout]] = {
    "faster-whisper": ("faster_whisper", "ctranslate2"),
    "openai-whisper": ("whisper", "openai"),
}


def choose(name: str) -> str:
    """The engine that `auto` means here, or `name` itself. Raises: SetupError: if it is not installed."""
    installed = [engine for engine, (package, _) in ENGINES.items() if find_spec(package)]
    if name == "auto" and installed:
        return installed[0]
    if name in installed:
        return name
    wanted = "faster-whisper" if name == "auto" else name
    raise SetupError(f"The speech engine {wanted} is not installed. Install it: pip install 'nightscribe[{wanted}]'.")


def layout(engine: str) -> Layout:
    """In which form an engine wants its weights."""
    return ENGINES[engine][1]


def load(engine: str, weights: Path, *, threads: int) -> Engine:
    """The engine with its model in memory, which takes seconds."""
    if engine == "faster-whisper":
        from nightscribe.worker.engines.whisper.faster_whisper import FasterWhisper

        return FasterWhisper(weights, threads=threads)
    from nightscribe.worker.engines.whisper.openai_whisper import OpenAIWhisper

    return OpenAIWhisper(weights, threads=threads)
