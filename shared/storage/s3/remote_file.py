"""A recording that is elsewhere, read by the stretches that are asked for: by Python, and by ffmpeg as it is."""

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
IN_MEMORY = 4  # blocks: ffmpeg goes back to the beginning and the end

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Remote:
    """An open recording; what goes wrong while it is read is kept, because ffmpeg cannot tell it from an end.

    ffmpeg reads it from a server of ours on this machine that knows this one recording under a secret name and answers
    in place of every other (it is ffmpeg's proxy): so nothing that stands in a recording can lead elsewhere.
    """

    def __init__(self, path: str, size: int, fetch: Callable[[int], bytes]) -> None:
        """`fetch`: gives the n-th block."""
        self.size = size
        self.url = f"http://recording/{secrets.token_urlsafe(32)}{quote(PurePosixPath(path).suffix)}"
        self.proxy = ""
        """Where it is served, while it is."""
        self._block = lru_cache(IN_MEMORY)(fetch)
        self._trouble: NightscribeError | None = None

    def open(self, _mode: Literal["rb"] = "rb") -> BinaryIO:
        """As a file."""
        return io.BufferedReader(_File(self))

    def read(self, first: int, n: int) -> bytes:
        """So many bytes at most, from the `first` on."""
        at = first % BLOCK_BYTES
        return self._block(first // BLOCK_BYTES)[at : at + n] if first < self.size else b""

    def check(self) -> None:
        """Raises: NightscribeError: what kept ffmpeg from reading all that it asked for."""
        if self._trouble:
            raise self._trouble

    def pieces(self, first: int, last: int) -> Iterator[bytes]:
        """What lies between, for ffmpeg; ends early where there is trouble."""
        try:
            while first <= last:
                piece = self.read(first, last + 1 - first)
                if not piece:
                    raise RetryableError("The bucket's server gave less of the recording than it has.")
                yield piece
                first += len(piece)
        except NightscribeError as error:
            self._trouble = error


@contextmanager
def served(remote: Remote) -> Iterator[Remote]:
    """Let ffmpeg read it for as long as the context lasts."""
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
            with contextlib.suppress(OSError):  # it waits for somebody to come
                socket.create_connection((HOST, server.server_address[1]), timeout=1).close()
            thread.join()


class _Server(ThreadingTCPServer):
    daemon_threads = True  # one may wait for the bucket while ffmpeg has ended

    def __init__(self, remote: Remote) -> None:
        super().__init__((HOST, 0), _Handler)
        self.remote = remote

    def handle_error(self, request: object, client_address: object) -> None:
        """ffmpeg hangs up when it has seen enough."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """The recording from where it is asked for."""
        remote = self.server.remote
        if urlsplit(self.path).path != urlsplit(remote.url).path:  # the port comes as well
            self.send_error(403)
            return
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2]), remote.size - 1) if asked and asked[2] else remote.size - 1
        if first > last:
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(last + 1 - first))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{remote.size}")
        self.end_headers()
        for piece in remote.pieces(first, last):
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


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
