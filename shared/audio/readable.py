"""Types of recordings that ffmpeg can open: a local file, or a remote recording."""

from pathlib import Path
from typing import BinaryIO, Literal, Protocol, runtime_checkable


@runtime_checkable
class RemoteRecording(Protocol):
    """An open recording that ffmpeg reads over HTTP, and only through our own proxy."""

    url: str
    """URL for ffmpeg."""
    proxy: str
    """Address of the proxy that serves it."""

    def open(self, mode: Literal["rb"] = "rb", /) -> BinaryIO:
        """Open the recording as a binary file."""
        ...

    def check(self) -> None:
        """Raise the error that interrupted ffmpeg's reading, which ffmpeg mistakes for the end of the recording."""
        ...


Readable = Path | RemoteRecording
"""A recording that is open for reading."""
