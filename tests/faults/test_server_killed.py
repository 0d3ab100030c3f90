"""A server that is killed at any moment loses nothing that it has accepted, nor what has arrived of an upload."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from server_load import form, request
from support import recordings
from support.servers import SqsServer
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, unhurried, working

from nightscribe.shared.queue.client import connect
from nightscribe.shared.settings import Settings


@contextmanager
def serving(place: Workplace, port: int, log: Path) -> Iterator[http.client.HTTPConnection]:
    """Run a server without workers, and kill it with its context, as a power failure would."""
    command = [
        sys.executable, "-P", "-m", "nightscribe", "serve", str(place.dest), "--source", str(place.source),
        "--port", str(port), "--no-workers", "--queue-name", place.queue.name, "--language", "en", "--model", "tiny.en",
        "--engine", "faster-whisper",
    ]  # fmt: skip
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return request(connection, "GET", "/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            connection.close()
            return False

    try:
        wait_until(is_up, what="that the server listens")
        yield connection
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        connection.close()


def test_a_server_that_is_killed_loses_nothing(
    ministack: SqsServer, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ministack.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr("nightscribe.worker.loop.POLL_S", 0)
    unhurried(monkeypatch)
    settings, name = Settings(visibility_timeout_s=300), f"killed-{uuid.uuid4().hex[:12]}"
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    dest.mkdir()
    places = []
    for kind in ("", "-interactive"):
        queue = connect(f"{name}{kind}.fifo", visibility_timeout_s=300, max_receives=3)
        queue.ensure()
        places.append(Workplace(source, dest, queue, settings))
    batch, interactive = places
    clip = recordings.cut(speech, tmp_path / "clip.wav", 0.0, 3.0, "-ar", "16000").read_bytes()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    jobs = []
    tus = {"Tus-Resumable": "1.0.0"}
    chunk = tus | {"Content-Type": "application/offset+octet-stream"}
    with serving(batch, port, tmp_path / "log") as server:
        for keep, waits in (("true", "false"), ("false", "true")):
            body, content_type = form(clip, keep=keep, interactive=waits)
            status, job, _ = request(server, "POST", "/api/v1/uploads", body, content_type)
            assert status == 202
            jobs.append(job["id"])
        server.request("POST", "/api/v1/uploads", clip[:9000], chunk | {"Upload-Length": str(len(clip))})
        response = server.getresponse()
        response.read()
        path = response.headers["Location"]
    interactive.queue._client.purge_queue(QueueUrl=interactive.queue._url)  # one of its queues dies as well
    with (
        serving(batch, port, tmp_path / "log") as server,
        working(batch.worker(Dictated()), interactive.worker(Dictated(), name="other")),
    ):
        server.request("HEAD", path, headers=tus)
        response = server.getresponse()
        response.read()
        assert response.headers["Upload-Offset"] == "9000"
        server.request("PATCH", path, clip[9000:], chunk | {"Upload-Offset": "9000"})
        response = server.getresponse()
        response.read()
        jobs.append(response.headers["Nightscribe-Job"])
        for job_id in jobs:
            _, done, _ = request(server, "GET", f"/api/v1/jobs/{job_id}?wait=60")
            assert done["state"] == "finished", json.dumps(done)
    assert sorted(each.name for each in (source / "uploads").iterdir()) == ["clip.wav", "recording"]
