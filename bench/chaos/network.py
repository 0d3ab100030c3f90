"""Stand between processes and HTTP servers, and delay, cut off, lose, hold up or repeat what passes.

`Network` starts this module as a process of its own. Each link is a port that leads to one server, for example that of
one worker to the queue, so that a fault hits one process alone. Faults are injected one by one; nothing happens by
chance. It knows enough of HTTP to find where a request and its response end.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaos.event_log import EventLog

HOST = "127.0.0.1"
HEAD_BYTES = 1 << 20

SLOW = "slow"
"""Delay everything that passes for a while."""
CUT_OFF = "cut off"
"""Break every connection, and refuse new ones for a while."""
CUT_REQUEST = "cut the request"
"""Pass half of the next request, then break the connections."""
CUT_RESPONSE = "cut the response"
"""Pass half of the next response, then break the connection."""
LOSE_RESPONSE = "lose the response"
"""Let the server act, then break the connection."""
HOLD = "hold up the request"
"""Pass the next request late, even if the client has given up or died by then."""
REPEAT = "repeat the request"
"""Pass the next request twice, the second time late."""

LASTING = (SLOW, CUT_OFF)
ONCE = (CUT_REQUEST, CUT_RESPONSE, LOSE_RESPONSE, HOLD, REPEAT)


class Network:
    """Starts the links, and injects faults into them."""

    def __init__(self, servers: Mapping[str, int], events: Path) -> None:
        """`servers`: the port on this machine to which each link leads. What happens is appended to the event log."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.network", str(events), json.dumps(dict(servers))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
            text=True,
            bufsize=1,
        )
        assert self._process.stdout
        self.ports: dict[str, int] = json.loads(self._process.stdout.readline())
        """The port of each link."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def address(self, link: str) -> str:
        """Return the URL of a link."""
        return f"http://{HOST}:{self.ports[link]}"

    def inject(self, link: str, kind: str, *, match: str = "", for_s: float = 0.0, delay_s: float = 0.0) -> None:
        """Inject a fault: a lasting one at once `for_s` seconds, another into the next request that contains `match`.

        A request is matched by its method, path and X-Amz-Target. `delay_s`: how long something is delayed or held up.
        """
        self._tell(link=link, kind=kind, match=match, for_s=for_s, delay_s=delay_s)

    def release(self) -> None:
        """Pass all requests that are held up, and forget the faults that have not met their request."""
        self._tell(release=True)

    def _tell(self, **command: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()


@dataclass(frozen=True)
class _Fault:
    kind: str
    match: str
    delay_s: float


@dataclass(frozen=True)
class _Message:
    """A request or a response."""

    head: bytes
    body: bytes

    @property
    def content(self) -> bytes:
        return self.head + self.body

    @property
    def half(self) -> bytes:
        return self.content[: len(self.head) + len(self.body) // 2] if self.body else self.head[: len(self.head) // 2]


@dataclass
class _Link:
    name: str
    server: int
    log: EventLog
    faults: list[_Fault] = field(default_factory=list)
    clients: set[asyncio.StreamWriter] = field(default_factory=set)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    delay_s: float = 0.0
    is_cut_off: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass the requests of one connection, one after the other."""
        self.clients.add(writer)
        server: _Connection | None = None
        try:
            while not self.is_cut_off and (request := await _request(reader, writer)):
                server = await self._pass(request, writer, server)
        except (OSError, EOFError, _Broken):
            pass
        finally:
            self.clients.discard(writer)
            writer.transport.abort()
            if server:
                server.close()

    async def _pass(
        self, request: _Message, writer: asyncio.StreamWriter, server: "_Connection | None"
    ) -> "_Connection":
        await asyncio.sleep(random.random() * self.delay_s)
        operation = _operation(request)
        fault = next((each for each in self.faults if each.match in operation), None)
        if fault:
            self.faults.remove(fault)
            self._log(fault.kind, operation)
        kind = fault.kind if fault else ""
        if kind == HOLD:
            assert fault
            response = await asyncio.shield(asyncio.create_task(self._late(request, operation, fault.delay_s)))
            writer.write(response.content)
            await writer.drain()
            return server or await _Connection.to(self.server)
        server = server or await _Connection.to(self.server)
        if kind == CUT_REQUEST:
            server.writer.write(request.half)
            with suppress(OSError):
                await server.writer.drain()
            server.close()
            raise _Broken
        response = await server.exchange(request)
        if kind == REPEAT:
            assert fault
            task = asyncio.create_task(self._late(request, operation, fault.delay_s))
            _running.add(task)
            task.add_done_callback(_ended)
        if kind == LOSE_RESPONSE:
            raise _Broken
        if kind == CUT_RESPONSE:
            writer.write(response.half)
            await writer.drain()
            raise _Broken
        writer.write(response.content)
        await writer.drain()
        return server

    async def _late(self, request: _Message, operation: str, delay_s: float) -> _Message:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.released.wait(), delay_s)
        connection = await _Connection.to(self.server)
        try:
            response = await connection.exchange(request)
        finally:
            connection.close()
        self._log("passed late", operation, status=response.head.split(b" ", 2)[1].decode())
        return response

    def begin(self, command: dict[str, Any]) -> None:
        """Inject a fault."""
        match command["kind"]:
            case "slow":
                self.delay_s = command["delay_s"]
            case "cut off":
                self.is_cut_off = True
                for writer in list(self.clients):
                    writer.transport.abort()
            case kind:
                self.faults.append(_Fault(kind, command["match"], command["delay_s"]))
                return
        self._log(command["kind"], "", for_s=command["for_s"])
        asyncio.get_running_loop().call_later(command["for_s"], self._end, command["kind"])

    def _end(self, kind: str) -> None:
        if kind == SLOW:
            self.delay_s = 0.0
        else:
            self.is_cut_off = False
        self._log("over", "", kind=kind)

    def release(self) -> None:
        """Pass what is held up, and forget the faults that wait."""
        self.faults.clear()
        self.released.set()
        self.released = asyncio.Event()

    def _log(self, what: str, operation: str, **fields: Any) -> None:
        self.log.append("network", who=self.name, fault=what, operation=operation, **fields)


_running: set[asyncio.Task[_Message]] = set()


def _ended(task: "asyncio.Task[_Message]") -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # nobody waits for the response to a repeated request


class _Broken(Exception):
    """This connection must be broken."""


@dataclass(frozen=True)
class _Connection:
    """A connection to a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection(HOST, port, limit=HEAD_BYTES))

    def close(self) -> None:
        self.writer.transport.abort()

    async def exchange(self, request: _Message) -> _Message:
        """Return the response to a request."""
        self.writer.write(request.content)
        await self.writer.drain()
        while True:
            head = await self.reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
        if request.head.startswith(b"HEAD ") or status in (204, 304):
            return _Message(head, b"")
        return _Message(head, await _body(self.reader, _fields(head)))


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Message | None:
    """Read a request whole; return None if the client has closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    fields = _fields(head)
    if fields.pop("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
    has_body = "content-length" in fields or "transfer-encoding" in fields
    return _Message(head, await _body(reader, fields) if has_body else b"")


async def _body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> bytes:
    if "chunked" in fields.get("transfer-encoding", ""):
        content = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            content += line + await reader.readexactly(size + 2)
            if not size:
                return content
    if "content-length" in fields:
        return await reader.readexactly(int(fields["content-length"]))
    return await reader.read()


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if value}


def _operation(request: _Message) -> str:
    method, path, _ = request.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    return f"{method} {path} {_fields(request.head).get('x-amz-target', '')}".strip()


async def _main(events: Path, servers: dict[str, int]) -> None:
    log = EventLog(events)
    links = {name: _Link(name, port, log) for name, port in servers.items()}
    listening = [await asyncio.start_server(link.serve, HOST, 0, limit=HEAD_BYTES) for link in links.values()]
    ports = [server.sockets[0].getsockname()[1] for server in listening]
    print(json.dumps(dict(zip(links, ports, strict=True))), flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        command = json.loads(line)
        if command.get("release"):
            for link in links.values():
                link.release()
        else:
            links[command["link"]].begin(command)
    os._exit(0)  # whatever still passes: both of its ends are no longer of interest


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), json.loads(sys.argv[2])))
