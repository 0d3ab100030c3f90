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


def git_sha1(data: bytes) -> str:
    """The name that git gives to a content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def is_large(name: str) -> bool:
    """Whether the hub keeps a file outside of git."""
    return name.endswith((".bin", ".onnx", ".data", ".safetensors"))


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
    card: dict[str, object]
    ranges: list[int]
    """The first bytes that were asked for, of large files."""
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
        if path in {f"/api/models/{self.repo_id}{at}" for at in ("", "/revision/main", f"/revision/{REVISION}")}:
            siblings = [self._sibling(name) for name in self.files]
            about = {"id": self.repo_id, "sha": REVISION, "siblings": siblings, "cardData": self.card}
            self._send(json.dumps(about).encode())
        elif path == f"/api/models/{self.repo_id}/tree/{REVISION}":
            self._send(json.dumps([self._entry(name) for name in self.files]).encode())
        elif path.startswith(f"/{self.repo_id}/resolve/{REVISION}/") and path.rpartition("/")[2] in self.files:
            self._send_file(path.rpartition("/")[2])
        elif path.startswith("/storage/") and path.rpartition("/")[2] in self.files:
            self._send_range(self.files[path.rpartition("/")[2]])
        else:
            self._send(b"no such thing", status=404)

    def _send_file(self, name: str) -> None:
        """Large files lie on another host, as at the real hub; small ones are named as git names their content."""
        announced = self.announced[name]
        headers = {"X-Repo-Commit": REVISION, "ETag": f'"{git_sha1(announced)}"'}
        if not is_large(name):
            self._send(self.files[name], headers)
            return
        linked = {"X-Linked-ETag": f'"{sha256(announced)}"', "X-Linked-Size": str(len(announced))}
        self._send(
            b"",
            headers | linked | {"Location": f"http://localhost:{self.server.server_port}/storage/{name}"},
            status=302,
        )

    def _send_range(self, data: bytes) -> None:
        """A part of a file, if one is asked for."""
        asked = self.headers.get("Range", "")
        first = int(asked.removeprefix("bytes=").partition("-")[0] or 0) if asked.startswith("bytes=") else 0
        self.ranges.append(first)
        if not first:
            self._send(data)
            return
        span = f"bytes {first}-{len(data) - 1}/{len(data)}"
        self._send(data[first:], {"Content-Range": span}, status=206)

    def _sibling(self, name: str) -> dict[str, object]:
        data = self.announced[name]
        lfs = {"sha256": sha256(data), "size": len(data), "pointerSize": 134} if is_large(name) else None
        return {"rfilename": name, "size": len(data), "blobId": git_sha1(data), "lfs": lfs}

    def _entry(self, name: str) -> dict[str, object]:
        data = self.announced[name]
        entry = {"type": "file", "path": name, "size": len(data), "oid": git_sha1(data)}
        large = {"lfs": {"oid": sha256(data), "size": len(data), "pointerSize": 134}}
        return entry | large if is_large(name) else entry

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
    card: dict[str, object] | None = None,
    ranges: list[int] | None = None,
) -> Iterator[str]:
    """A hub with these files in one repository, on this machine; yields its address."""
    handler = type("Handler", (handler,), {
        "repo_id": repo_id, "files": files, "announced": announced or files, "card": card or {},
        "ranges": [] if ranges is None else ranges,
    })  # fmt: skip
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
