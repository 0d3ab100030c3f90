"""A web server on loopback that responds as a test says and remembers what it was sent."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False
    delay_s: float = 0
    """Seconds to wait before it; a server that is stopped does not wait."""


@dataclass(frozen=True)
class Received:
    """A request. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class WebServer:
    """Responds to each path with the reply under it in `replies`, else with 404."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.requests: list[Received] = []
        self._stopping = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append(Received(self.command, self.path, headers, body))
                outer.respond(self, outer.replies.get(self.path, Reply(404)))

            do_GET = do_POST = handle_request  # noqa: N815  as http.server calls them

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    def respond(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        """Send a reply."""
        if reply.delay_s:
            self._stopping.wait(reply.delay_s)
        handler.close_connection = True
        handler.send_response(reply.status)
        headers = {"Connection": "close", **reply.headers}
        if reply.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers.setdefault("Content-Length", str(len(reply.body)))
        for name, value in headers.items():
            handler.send_header(name, value)
        try:
            handler.end_headers()
            if reply.chunked:
                handler.wfile.write(f"{len(reply.body):x}\r\n".encode() + reply.body + b"\r\n0\r\n\r\n")
            else:
                handler.wfile.write(reply.body)
        except OSError:
            pass  # the client has had enough

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
