"""Receive the body of a request onto the disk while it arrives. Memory does not grow with it, and no thread waits."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message

from fastapi import Request
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from nightscribe.server.errors import ApiError
from nightscribe.server.jobs.spool import Incoming, Spool, Upload

SILENT_S = 30.0  # so long may a client send nothing
FIRST_S = 60.0  # after so long, a client must have sent LEAST_BYTES_PER_S
LEAST_BYTES_PER_S = 1024
PIECE_BYTES = 256 * 1024
MOST_FIELD_BYTES = 64 * 1024
MOST_FIELDS_BYTES = 512 * 1024
MOST_PARTS = 200
DRAINED_BYTES = 32 * 2**20
DRAINED_S = 10.0


async def pieces(request: Request, unwanted: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    """Yield the body of a request, until its end or until `unwanted` is set.

    Raises: ApiError: with the status 408 if the client sends too slowly. ClientDisconnect: if it is gone.
    """
    began, received = time.monotonic(), 0
    stream = aiter(request.stream())
    stopping = asyncio.ensure_future((unwanted or asyncio.Event()).wait())
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(stream))
            await asyncio.wait({coming, stopping}, timeout=SILENT_S, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                if stopping.done():
                    return
                raise _too_slow()
            try:
                piece = coming.result()
            except StopAsyncIteration:
                return
            received += len(piece)
            elapsed_s = time.monotonic() - began
            if elapsed_s > FIRST_S and received < LEAST_BYTES_PER_S * elapsed_s:
                raise _too_slow()
            if piece:
                yield piece
    finally:
        stopping.cancel()
        if coming:
            coming.cancel()


def _too_slow() -> ApiError:
    return ApiError(
        408, "too_slow", "The file arrived too slowly, so the upload was ended.",
        "Try again, or use a resumable upload, which goes on where it stopped.", headers={"Connection": "close"},
    )  # fmt: skip


class Gathered:
    """Collects small pieces, and passes larger ones to a function in a thread, in order."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._gathered: list[bytes] = []
        self._n_bytes = 0

    async def add(self, piece: bytes) -> None:
        """Add a piece."""
        self._gathered.append(piece)
        self._n_bytes += len(piece)
        if self._n_bytes >= PIECE_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Pass on what is left."""
        if self._gathered:
            data, self._gathered, self._n_bytes = b"".join(self._gathered), [], 0
            await run_in_threadpool(self._write, data)


@dataclass
class Form:
    """A form with files that have arrived."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)

    def last(self, name: str) -> str | None:
        """Return the last value of a field, or None."""
        values = self.fields.get(name)
        return values[-1] if values else None

    def discard(self) -> None:
        """Remove the files that have not become recordings."""
        for upload in self.files.values():
            upload.discard()


async def receive_form(request: Request, spool: Spool, file_fields: tuple[str, ...] = ("file",)) -> Form:
    """Receive a form (multipart/form-data); files go to the disk at once. Call `Form.discard` when it is done with.

    Files in other fields than `file_fields` are an error, and so are two files in one field.

    Raises: ApiError: if it is not such a form, or arrives too slowly. Refused, MachineError: see `Incoming`.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ApiError(
            415, "not_a_form", "The request is not a form with a file.", "Send multipart/form-data with the field file."
        )
    receiver = _Receiver(spool, file_fields)
    try:
        await receiver.receive(request, boundary)
    except BaseException:
        await run_in_threadpool(receiver.abort)
        raise
    return receiver.form


class _Receiver:
    def __init__(self, spool: Spool, file_fields: tuple[str, ...]) -> None:
        self.form = Form()
        self._spool = spool
        self._file_fields = file_fields
        self._events: list[tuple[str, bytes]] = []
        self._header_name = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._incoming: Incoming | None = None
        self._gathered: Gathered | None = None
        self._value = b""
        self._fields_bytes = 0
        self._n_parts = 0
        self._ended = False

    async def receive(self, request: Request, boundary: bytes) -> None:
        """Parse the body."""

        def note(kind: str) -> Callable[..., None]:
            def noted(data: bytes = b"", start: int = 0, end: int = 0) -> None:
                self._events.append((kind, data[start:end]))

            return noted

        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end")
        callbacks = {f"on_{name}": note(name) for name in (*names, "headers_finished", "end")}
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        try:
            async for piece in pieces(request):
                parser.write(piece)
                for kind, data in self._events:
                    await self._handle(kind, data)
                self._events.clear()
            parser.finalize()
        except ValueError as error:  # the parser's own errors
            raise _malformed(str(error)) from None
        if not self._ended:
            raise _malformed("it is cut off")

    async def _handle(self, kind: str, data: bytes) -> None:
        match kind:
            case "part_begin":
                self._n_parts += 1
                if self._n_parts > MOST_PARTS:
                    raise _malformed("it has too many parts")
                self._headers, self._header_name, self._header_value = {}, b"", b""
            case "header_field":
                self._header_name += data
            case "header_value":
                self._header_value += data
                if len(self._header_value) > MOST_FIELD_BYTES:
                    raise _malformed("a header is too long")
            case "header_end":
                self._headers[self._header_name.lower()] = self._header_value
                self._header_name, self._header_value = b"", b""
            case "headers_finished":
                await self._begin()
            case "part_data":
                await self._add(data)
            case "part_end":
                await self._end()
            case "end":
                self._ended = True

    async def _begin(self) -> None:
        self._name, file_name = _names(self._headers.get(b"content-disposition", b""))
        self._value, self._incoming = b"", None
        if file_name is None:
            return
        if self._name not in self._file_fields:
            raise ApiError(
                422, "unexpected_file", f"The form has a file in the field {self._name!r}.",
                f"Send it in the field {self._file_fields[0]}.",
            )  # fmt: skip
        if self._name in self.form.files:
            raise ApiError(422, "two_files", "The form has several files.", "Send one file in each request.")
        self._incoming = await run_in_threadpool(self._spool.begin, file_name)
        self._gathered = Gathered(self._incoming.write)

    async def _add(self, data: bytes) -> None:
        if self._gathered:
            await self._gathered.add(data)
            return
        self._fields_bytes += len(data)
        self._value += data
        if len(self._value) > MOST_FIELD_BYTES or self._fields_bytes > MOST_FIELDS_BYTES:
            raise ApiError(413, "too_large", f"The field {self._name!r} is too large.", "Send less.")

    async def _end(self) -> None:
        if self._incoming and self._gathered:
            await self._gathered.flush()
            self.form.files[self._name] = await run_in_threadpool(self._incoming.finish)
        elif self._name:
            self.form.fields.setdefault(self._name, []).append(self._value.decode(errors="replace"))
        self._incoming = self._gathered = None

    def abort(self) -> None:
        """Remove everything that has arrived."""
        if self._incoming:
            self._incoming.abort()
        self.form.discard()


def _names(disposition: bytes) -> tuple[str, str | None]:
    """Return the name of a field, and that of its file; None if it is no file."""
    header = Message()
    header["content-disposition"] = disposition.decode(errors="replace").replace("\r", " ").replace("\n", " ")
    name = header.get_param("name", "", "content-disposition")
    file_name = header.get_param("filename", None, "content-disposition")
    return _text(name) or "", None if file_name is None else _text(file_name) or "recording"


def _text(value: object) -> str:
    if isinstance(value, tuple):  # RFC 2231: charset, language, value
        charset, _, encoded = value
        with suppress(LookupError):
            return str(encoded).encode("latin-1", "replace").decode(charset or "utf-8", "replace")
        return str(encoded)
    return str(value)


def _malformed(why: str) -> ApiError:
    return ApiError(400, "form_not_valid", f"The form cannot be read: {why}.", "Send multipart/form-data.")


async def drain(request: Request) -> None:
    """Read the rest of a body that is refused, within bounds; otherwise most clients never see why it is refused."""
    if "100-continue" in request.headers.get("expect", "").lower():
        return
    n_bytes = 0
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAINED_S):
            async for piece in request.stream():
                n_bytes += len(piece)
                if n_bytes > DRAINED_BYTES:
                    return
