"""What ffmpeg can open: a file of this machine, or a recording that is read from elsewhere."""

from pathlib import Path
from typing import BinaryIO, Literal, Protocol, runtime_checkable


@runtime_checkable
class RemoteRecording(Protocol):
    """An open recording that ffmpeg reads over HTTP, through a proxy of ours and from nowhere else."""

    url: str
    """Where it is, for ffmpeg."""
    proxy: str
    """Address of the proxy that serves it."""

    def open(self, mode: Literal["rb"] = "rb", /) -> BinaryIO:
        """Open it as a file of bytes."""
        ...

    def check(self) -> None:
        """Raise what kept ffmpeg from reading all that it asked for, which it takes for the end of the recording."""
        ...


Readable = Path | RemoteRecording
"""A recording that can be read here and now."""
