"""Read ranges of a remote recording: Python as from a file, and ffmpeg over HTTP."""

import contextlib
import io
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from pathlib import PurePosixPath
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, BinaryIO, Literal
from urllib.parse import quote, urlsplit

from nightscribe.shared.errors import NightscribeError, RetryableError
from nightscribe.shared.storage.s3.block_cache import BLOCK_BYTES

if TYPE_CHECKING:
    from typing_extensions import Buffer

HOST = "127.0.0.1"
IN_MEMORY = 4  # blocks: ffmpeg jumps back to the beginning and the end

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Remote:
    """An open recording. It keeps the error that interrupts reading, because ffmpeg mistakes it for the end.

    ffmpeg reads it from our own server on this machine, which knows only this recording, under a secret name. It is
    also ffmpeg's proxy for all other addresses, so that nothing inside a recording can lead elsewhere.
    """

    def __init__(self, path: str, size: int, fetch: Callable[[int], bytes]) -> None:
        """`fetch` returns the n-th block."""
        self.size = size
        self.url = f"http://recording/{secrets.token_urlsafe(32)}{quote(PurePosixPath(path).suffix)}"
        self.proxy = ""
        """Address of the server while it runs."""
        self._block = lru_cache(IN_MEMORY)(fetch)
        self._error: NightscribeError | None = None

    def open(self, _mode: Literal["rb"] = "rb") -> BinaryIO:
        """Open the recording as a binary file."""
        return io.BufferedReader(_File(self))

    def read(self, first: int, n: int) -> bytes:
        """Return at most `n` bytes from offset `first`."""
        at = first % BLOCK_BYTES
        return self._block(first // BLOCK_BYTES)[at : at + n] if first < self.size else b""

    def check(self) -> None:
        """Raise the NightscribeError that kept ffmpeg from reading everything that it requested."""
        if self._error:
            raise self._error

    def pieces(self, first: int, last: int) -> Iterator[bytes]:
        """Yield the bytes from `first` to `last` for ffmpeg; end early on an error, and keep it."""
        try:
            while first <= last:
                piece = self.read(first, last + 1 - first)
                if not piece:
                    raise RetryableError(
                        "The bucket's server returned only a part of the recording.", code="storage_unreachable"
                    )
                yield piece
                first += len(piece)
        except NightscribeError as error:
            self._error = error


@contextmanager
def served(remote: Remote) -> Iterator[Remote]:
    """Serve the recording to ffmpeg until the context ends."""
    with _Server(remote) as server:
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                server.handle_request()

        thread = threading.Thread(target=serve, name="recording-server", daemon=True)
        thread.start()
        remote.proxy = f"http://{HOST}:{server.server_address[1]}"
        try:
            yield remote
        finally:
            over.set()
            with contextlib.suppress(OSError):  # the server thread waits for one more connection
                socket.create_connection((HOST, server.server_address[1]), timeout=1).close()
            thread.join()


class _Server(ThreadingTCPServer):
    daemon_threads = True  # a handler may still wait for the bucket after ffmpeg has ended

    def __init__(self, remote: Remote) -> None:
        super().__init__((HOST, 0), _Handler)
        self.remote = remote

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the error: ffmpeg hangs up when it has read enough."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Send the requested range of the recording."""
        remote = self.server.remote
        if urlsplit(self.path).path != urlsplit(remote.url).path:  # ffmpeg sends the port as well
            self.send_error(403)
            return
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        last = min(int(wanted[2]), remote.size - 1) if wanted and wanted[2] else remote.size - 1
        if first > last:
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(last + 1 - first))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{remote.size}")
        self.end_headers()
        for piece in remote.pieces(first, last):
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Log nothing, because nobody would read it."""


class _File(io.RawIOBase):
    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._remote.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: "Buffer") -> int:
        with memoryview(buffer) as room:
            piece = self._remote.read(self._at, len(room))
            room[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
