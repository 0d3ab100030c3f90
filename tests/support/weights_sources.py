"""Where weights are downloaded from: a folder that pip takes for an index, and a hub on this machine."""

import hashlib
import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from nightscribe.worker.weights.catalogue import MODELS

REPO_ID = MODELS["tiny.en"].repo_id
REVISION = "a" * 40


def sha256(data: bytes) -> str:
    """The hexadecimal digest."""
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path, name: str, members: dict[str, bytes]) -> None:
    """A wheel that pip accepts, version 1.0."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for member, data in members.items():
            wheel.writestr(f"{name}/{member}", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


class HubHandler(BaseHTTPRequestHandler):
    """As much of the Hugging Face hub's interface as a download needs."""

    # So that the client may keep its connection, as with the real one.
    protocol_version = "HTTP/1.1"

    repo_id: str
    files: dict[str, bytes]
    announced: dict[str, bytes]
    """What the hub says the files are; the same as `files` unless it lies."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name it has in http.server
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Headers alone."""
        self.do_GET()

    def do_GET(self) -> None:
        """A description, a listing, a file, or 404."""
        path = self.path.partition("?")[0]
        if path in {f"/api/models/{self.repo_id}", f"/api/models/{self.repo_id}/revision/main"}:
            self._send(json.dumps({"id": REPO_ID, "sha": REVISION, "siblings": []}).encode())
        elif path == f"/api/models/{self.repo_id}/tree/{REVISION}":
            self._send(json.dumps([self._entry(name) for name in self.files]).encode())
        elif path.startswith(f"/{self.repo_id}/resolve/{REVISION}/") and path.rpartition("/")[2] in self.files:
            name = path.rpartition("/")[2]
            self._send(self.files[name], {"ETag": f'"{sha256(self.announced[name])}"', "X-Repo-Commit": REVISION})
        else:
            self._send(b"no such thing", status=404)

    def _entry(self, name: str) -> dict[str, object]:
        data = self.announced[name]
        lfs = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
        return {"type": "file", "path": name, "size": len(data), "oid": "b" * 40, "lfs": lfs}

    def _send(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@contextmanager
def serving(
    files: dict[str, bytes],
    announced: dict[str, bytes] | None = None,
    handler: type[HubHandler] = HubHandler,
    repo_id: str = REPO_ID,
) -> Iterator[str]:
    """A hub with these files in one repository, on this machine; yields its address."""
    handler = type("Handler", (handler,), {"repo_id": repo_id, "files": files, "announced": announced or files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        # A client may keep its connection open, and closing would wait for it.
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def silent() -> Iterator[str]:
    """A host that takes connections and never says a word, as behind a firewall that swallows packets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
