"""Measure a server: how soon somebody who waits gets an answer, also beside a backlog, and how it bears a crowd.

Everything is real: `nightscribe serve` in a process of its own, HTTP, its queue and its workers. `latency` uploads
clips of a few seconds, cut from the recording that is given, and prints for each how long the engine took, by the
transcript's own record, and after how long the answer was there; then the same while a backlog is done. `crowd` lets
many clients upload and poll at once, and prints what they were answered and how much memory the server took.
"""

import argparse
import http.client
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from nightscribe.shared.audio.probe import ffmpeg_path

CLIP_S = 5.0
ALLOWED_FACTOR, ALLOWED_S = 1.5, 0.2
STARTED_WITHIN_S = 120.0
OVER = ("finished", "failed", "cancelled")


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("latency", "crowd"))
    parser.add_argument("recording", type=Path, help="a recording of several minutes in which somebody speaks")
    parser.add_argument("--model", default="tiny.en", help="for the workers (tiny.en)")
    parser.add_argument("--clips", type=int, default=10, help="of latency (10)")
    parser.add_argument("--clients", type=int, default=200, help="of crowd (200)")
    parser.add_argument("--seconds", type=float, default=60, help="of crowd (60)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightscribe-server-") as folder:
        place = Path(folder)
        if given.what == "latency":
            measure_latency(place, given.recording, given.model, given.clips)
        else:
            measure_crowd(place, given.recording, given.model, given.clients, given.seconds)


# A server


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    port: int
    pid: int

    def connect(self) -> http.client.HTTPConnection:
        """Return a new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    @property
    def memory_mib(self) -> float:
        """Memory of the server's own process."""
        return float(psutil.Process(self.pid).memory_info().rss) / 2**20


@contextmanager
def running(place: Path, *options: str) -> Iterator[Server]:
    """Run a server until the context ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source, dest = place / "source", place / "dest"
    source.mkdir(exist_ok=True)
    dest.mkdir(exist_ok=True)
    command = [sys.executable, "-P", "-m", "nightscribe", "serve", str(dest), "--source", str(source)]
    with (place / "serve.log").open("ab") as log:
        process = subprocess.Popen([*command, "--port", str(port), *options], stdout=log, stderr=log)
    try:
        server = Server(port, process.pid)
        until = time.monotonic() + STARTED_WITHIN_S
        while True:
            with suppress(OSError, http.client.HTTPException):
                if request(server.connect(), "GET", "/healthz")[0] == 200:
                    break
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"The server did not start: {(place / 'serve.log').read_text()}")
            time.sleep(0.1)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def request(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, kind: str = ""
) -> tuple[int, Any, http.client.HTTPMessage]:
    """Return status, JSON and headers of a response."""
    connection.request(method, path, body, {"Content-Type": kind} if kind else {})
    response = connection.getresponse()
    content = response.read()
    return response.status, json.loads(content) if content.startswith((b"{", b"[")) else content, response.headers


def form(content: bytes, **fields: str) -> tuple[bytes, str]:
    """Return the body of a form with a file, and its type."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="clip.wav"\r\n\r\n'.encode()
    return b"".join(
        [*parts, file, content, f"\r\n--{boundary}--\r\n".encode()]
    ), f"multipart/form-data; boundary={boundary}"


def cut(recording: Path, dest: Path, start_s: float, seconds: float) -> bytes:
    """Return a stretch of a recording as 16 kHz WAV."""
    command = [ffmpeg_path(), "-v", "error", "-y", "-ss", f"{start_s}", "-t", f"{seconds}", "-i", str(recording)]
    subprocess.run([*command, "-ar", "16000", "-ac", "1", str(dest)], check=True)
    return dest.read_bytes()


# Latency


@dataclass(frozen=True)
class Answer:
    """Of one clip."""

    answered_s: float
    engine_s: float

    @property
    def is_soon(self) -> bool:
        """Whether it is as soon as promised."""
        return self.answered_s <= ALLOWED_FACTOR * self.engine_s + ALLOWED_S


def measure_latency(place: Path, recording: Path, model: str, n: int) -> None:
    """Print how soon clips are answered, on an idle machine and beside a backlog."""
    clips = [cut(recording, place / "clip.wav", 10 + 7 * at, CLIP_S) for at in range(2 * n + 2)]
    with running(place, "--model", model, "--language", "en") as server:
        connection = server.connect()
        for clip in clips[:2]:  # the worker has yet to load its model
            ask(connection, clip)
        show("idle", [ask(connection, clip) for clip in clips[2 : n + 2]])
        longs = place / "source" / "backlog"
        longs.mkdir()
        for number in range(8):
            cut(recording, longs / f"{number}.wav", 30 * number, 120)
            body = json.dumps({"path": f"backlog/{number}.wav", "interactive": False}).encode()
            status, job, _ = request(connection, "POST", "/api/v1/jobs", body, "application/json")
            assert status == 202, job
        until = time.monotonic() + 60
        while not request(connection, "GET", "/api/v1/jobs?state=running")[1]["jobs"] and time.monotonic() < until:
            time.sleep(0.2)
        show("beside a backlog", [ask(connection, clip) for clip in clips[n + 2 :]])
        left = request(connection, "GET", "/api/v1/jobs?state=running&state=queued")[1]["jobs"]
        print(f"{len(left)} of 8 jobs of the backlog were left then")


def ask(connection: http.client.HTTPConnection, clip: bytes) -> Answer:
    """Upload a clip, and wait for its text."""
    body, kind = form(clip, keep="false", interactive="true")
    began = time.monotonic()
    status, job, _ = request(connection, "POST", "/api/v1/uploads", body, kind)
    assert status == 202, job
    while job["state"] not in OVER:
        job = request(connection, "GET", f"/api/v1/jobs/{job['id']}?wait=60")[1]
    text = request(connection, "GET", f"/api/v1/jobs/{job['id']}/transcript.txt")[1]
    answered_s = time.monotonic() - began
    assert job["state"] == "finished", (job, text)
    record = request(connection, "GET", f"/api/v1/jobs/{job['id']}/transcript.json")[1]
    return Answer(answered_s, record["processing_s"])


def show(name: str, answers: Sequence[Answer]) -> None:
    """Print a table of answers."""
    print(f"{name}:")
    for each in answers:
        over_s = each.answered_s - each.engine_s
        print(f"  engine {each.engine_s:.3f} s, answered after {each.answered_s:.3f} s (+{over_s:.3f})")
    overhead = statistics.median(each.answered_s - each.engine_s for each in answers)
    soon = sum(each.is_soon for each in answers)
    print(
        f"  median: engine {statistics.median(each.engine_s for each in answers):.3f} s, answered after "
        f"{statistics.median(each.answered_s for each in answers):.3f} s, beside the engine {overhead:.3f} s; "
        f"{soon} of {len(answers)} within {ALLOWED_FACTOR} x engine + {ALLOWED_S} s"
    )


# A crowd


def measure_crowd(place: Path, recording: Path, model: str, n_clients: int, seconds: float) -> None:
    """Print what many clients at once were answered, and how the server's memory developed."""
    clip = cut(recording, place / "clip.wav", 10, 2.0)
    with running(place, "--model", model, "--language", "en") as server:
        ask(server.connect(), clip)
        memory = [server.memory_mib]
        result = crowd(server.connect, clip, n_clients, seconds, lambda: memory.append(server.memory_mib))
        for line in result.lines():
            print(line)
        tenth = max(1, len(memory) // 10)
        early, late = statistics.median(memory[tenth : 2 * tenth]), statistics.median(memory[-tenth:])
        print(
            f"memory of the server: {memory[0]:.0f} MiB before, {early:.0f} after a tenth of the time, {late:.0f} at "
            f"the end, {max(memory):.0f} at most"
        )


@dataclass
class Crowd:
    """What many clients were answered."""

    statuses: Counter[str]
    errors: Counter[str]
    states: Counter[str]
    polled_s: list[float]

    def lines(self) -> Iterator[str]:
        """Yield it as text."""
        yield f"answers: {dict(sorted(self.statuses.items()))}"
        yield f"errors: {dict(self.errors) or 'none'}"
        yield f"jobs: {dict(self.states)}"
        if self.polled_s:
            ordered = sorted(self.polled_s)
            slow_s = ordered[int(0.99 * len(ordered))]
            yield f"a poll took {statistics.median(ordered):.3f} s, 99 % at most {slow_s:.3f} s"


def crowd(
    connect: Callable[[], http.client.HTTPConnection],
    clip: bytes,
    n_clients: int,
    seconds: float,
    watch: Callable[[], None] = lambda: None,
) -> Crowd:
    """Let clients upload and poll for some time, each with a connection of its own; `watch` is called each second."""
    found = Crowd(Counter(), Counter(), Counter(), [])
    lock, until = threading.Lock(), time.monotonic() + seconds

    def note(what: str, status: int) -> None:
        with lock:
            found.statuses[f"{what} {status}"] += 1

    def client() -> None:
        connection = connect()
        try:
            while time.monotonic() < until:
                content = clip[:-16] + os.urandom(16)  # another recording each time
                body, kind = form(content, keep="false", interactive="true")
                status, job, headers = request(connection, "POST", "/api/v1/uploads", body, kind)
                note("upload", status)
                if status == 429:
                    time.sleep(min(float(headers["Retry-After"]), max(0.0, until - time.monotonic())))
                    continue
                if status != 202:
                    with lock:
                        found.errors[str(job)[:200]] += 1
                    return
                while job["state"] not in OVER and time.monotonic() < until:
                    began = time.monotonic()
                    status, answer, headers = request(connection, "GET", f"/api/v1/jobs/{job['id']}")
                    note("poll", status)
                    if status == 429:
                        time.sleep(min(float(headers["Retry-After"]), max(0.0, until - time.monotonic())))
                        continue
                    with lock:
                        found.polled_s.append(time.monotonic() - began)
                    if status != 200:
                        with lock:
                            found.errors[str(answer)[:200]] += 1
                        return
                    job = answer
                    time.sleep(0.5)
                with lock:
                    found.states[job["state"]] += 1
        except (OSError, http.client.HTTPException) as error:
            with lock:
                found.errors[f"{type(error).__name__}: {error}"] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(n_clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until + 60:
        watch()
        time.sleep(1)
    return found


if __name__ == "__main__":
    main()
