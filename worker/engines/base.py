"""What the worker asks of a speech engine."""

from collections.abc import Iterator
from typing import Protocol

from shared.audio import Waveform
from shared.transcript import Segment


class Engine(Protocol):
    """A model in memory."""

    name: str
    """Of the engine, with the version of its library."""

    def detect_language(self, waveform: Waveform) -> dict[str, float]:
        """Probability of each language code, from at most the first 30 s."""
        ...

    def transcribe(self, waveform: Waveform, *, language: str, task: str) -> Iterator[Segment]:
        """Segments with times in seconds from the beginning of the waveform, as they are found."""
        ...
