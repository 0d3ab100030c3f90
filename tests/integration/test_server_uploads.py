"""Recordings handed in over HTTP: forms, resumable uploads, events, and a crowd of clients."""

import base64
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from server_load import crowd, form
from support.http_server import connection, listening
from support.servers import SqsServer
from support.serving import Desk
from support.waiting import wait_until
from support.workplace import Dictated, unhurried, working

from nightscribe.server.app import create_app
from nightscribe.server.config import ServerSettings
from nightscribe.server.context import Context
from nightscribe.server.database import credentials
from nightscribe.server.jobs import receive
from nightscribe.server.jobs.service import Jobs
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.location import FolderLocation

CHUNK = "application/offset+octet-stream"


@dataclass
class Place:
    """A server with workers, and where its files are."""

    desk: Desk
    jobs: Jobs
    port: int
    engine: Dictated

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, Any]:
        """Return status, content and headers of a response; underscores in names of headers stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(connection(self.port)) as server:
            server.request(method, f"/api/v1{path}", body, named)
            response = server.getresponse()
            content = response.read()
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return response.status, json.loads(content) if is_json and content else content, response.headers

    def upload(self, content: bytes, **fields: str) -> tuple[int, Any, Any]:
        """Send a form."""
        body, kind = form(content, **fields)
        return self.send("POST", "/uploads", body, Content_Type=kind)

    def finished(self, job_id: str) -> Any:
        """Wait for the end of a job."""
        return self.send("GET", f"/jobs/{job_id}?wait=30")[1]


@pytest.fixture
def clip(clips: list[Path]) -> bytes:
    """Three seconds in which somebody speaks."""
    return clips[0].read_bytes()


@pytest.fixture
def place(ministack: SqsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server that listens, with a worker for each queue. Each test has its own, because some change its limits."""
    engine = Dictated()
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in ministack.environment.items():
            patch.setenv(name, value)
        patch.setattr("nightscribe.worker.loop.POLL_S", 0)
        unhurried(patch)
        desk = Desk.at(tmp_path_factory.mktemp("uploads"))
        stack.callback(desk.database.close)
        jobs = stack.enter_context(desk.open(most_interactive=4))
        dest, source = FolderLocation(desk.batch.dest), FolderLocation(desk.batch.source)
        settings = Settings(model="tiny.en", language="en", engine="faster-whisper", formats=("txt",))
        context = Context(dest, source, settings, ServerSettings(), desk.database, jobs=jobs)
        port = stack.enter_context(listening(create_app(context)))
        stack.callback(jobs.signals.close)
        stack.enter_context(working(desk.batch.worker(engine), desk.interactive.worker(engine, name="other")))
        yield Place(desk, jobs, port, engine)


def other(clip: bytes, n: int) -> bytes:
    """Another clip of the same length; `n` from 1 on."""
    return clip[:-1] + bytes([clip[-1] ^ n])


def metadata(**values: str) -> str:
    """The header of a resumable upload."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


def test_a_form_becomes_a_transcript_or_is_refused_with_a_sentence(place: Place, clip: bytes) -> None:
    status, job, headers = place.upload(clip, formats="srt,txt", word_timestamps="true", folder="talks/2026")
    assert (status, headers["Location"]) == (202, f"/api/v1/jobs/{job['id']}")
    done = place.finished(job["id"])
    assert (done["state"], done["recording"], done["progress"]) == ("finished", "talks/2026/clip.wav", 1)
    assert {"talks/2026/clip.srt", "talks/2026/clip.txt"} <= set(place.desk.batch.texts)
    for kind in ("txt", "json", "tsv"):
        status, content, _ = place.send("GET", f"/jobs/{job['id']}/transcript.{kind}")
        assert status == 200
        assert Dictated.TEXT in str(content)
    assert place.send("GET", f"/jobs/{job['id']}/transcript.xyz")[0] == 404
    assert place.send("GET", f"/jobs/{'0' * 32}")[0] == 404

    status, passing, _ = place.upload(other(clip, 1), keep="false")
    assert place.finished(passing["id"])["recording"] is None
    assert place.send("GET", "/jobs?limit=1")[1]["next"] == passing["id"]
    [first] = place.send("GET", f"/jobs?after={passing['id']}&limit=1")[1]["jobs"]
    assert first["id"] == job["id"]
    assert place.send("DELETE", f"/jobs/{passing['id']}")[0] == 204
    assert place.send("GET", f"/jobs/{passing['id']}/transcript.txt")[0] == 404

    for fields, code in (
        ({"language": "Klingon"}, "request_not_valid"),
        ({"folder": ""}, None),
        ({"unknown": "1"}, "request_not_valid"),
        ({"keep": "perhaps"}, "request_not_valid"),
        ({"formats": "xyz"}, "value_refused"),
    ):
        status, content, _ = place.upload(other(clip, 2), **fields)
        assert (status, content.get("code")) == ((422, code) if code else (202, None))
    body, kind = form(clip)
    assert place.send("POST", "/uploads", body.replace(b'name="file"', b'name="film"'), Content_Type=kind)[0] == 422
    assert place.send("POST", "/uploads", body[:-100], Content_Type=kind)[1]["code"] == "form_not_valid"
    assert place.send("POST", "/uploads", b"{}", Content_Type="application/json")[0] == 415

    status, again, _ = place.send(
        "POST", "/jobs", json.dumps({"path": "talks/2026/clip.wav"}).encode(), Content_Type="application/json"
    )
    assert (status, again["state"]) == (202, "finished")
    for path in ("../dest/x.wav", "/etc/passwd", ".nightscribe-requests/x.wav"):
        body = json.dumps({"path": path}).encode()
        assert place.send("POST", "/jobs", body, Content_Type="application/json")[0] == 422


def test_a_file_that_is_too_large_or_finds_no_room_is_refused_before_it_is_stored(
    place: Place, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = place.desk.files()
    place.jobs.spool.most_bytes = 50_000
    status, content, _ = place.upload(clip)
    assert (status, content["code"]) == (413, "too_large")
    assert place.send("POST", "/uploads", Tus_Resumable="1.0.0", Upload_Length="50001")[0] == 413
    place.jobs.spool.most_bytes = 2**30
    monkeypatch.setattr("nightscribe.server.jobs.spool.shutil.disk_usage", lambda _: SimpleNamespace(free=2**28 + 9))
    assert place.upload(clip)[0] == 507
    assert place.send("POST", "/uploads", Tus_Resumable="1.0.0", Upload_Length="10")[0] == 507
    assert place.desk.files() == before


def test_an_upload_goes_on_where_it_stopped(place: Place, clip: bytes) -> None:
    assert place.send("OPTIONS", "/uploads")[2]["Tus-Extension"].startswith("creation,")
    assert place.send("POST", "/uploads", Tus_Resumable="0.2", Upload_Length="10")[0] == 412
    begin = {"Tus_Resumable": "1.0.0", "Upload_Length": str(len(clip))}
    assert place.send("POST", "/uploads", **begin, Upload_Metadata="filename ???")[0] == 400
    assert place.send("POST", "/uploads", **begin, Upload_Metadata=metadata(language="xx-xx"))[0] == 422
    status, _, headers = place.send(
        "POST", "/uploads", clip[:1000], **begin, Content_Type=CHUNK, Upload_Metadata=metadata(filename="Fünf.wav"),
    )  # fmt: skip
    assert (status, headers["Upload-Offset"]) == (201, "1000")
    path = headers["Location"].removeprefix("/api/v1")
    tus = {"Tus_Resumable": "1.0.0", "Content_Type": CHUNK}

    raw = socket.create_connection(("127.0.0.1", place.port))  # a connection that stalls
    raw.sendall(
        f"PATCH /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\nContent-Type: {CHUNK}\r\n"
        f"Upload-Offset: 1000\r\nContent-Length: {len(clip) - 1000}\r\n\r\n".encode()
        + clip[1000:3000]
    )
    wait_until(lambda: place.jobs.spool.path_of(path[-32:], "Fünf.wav").exists(), what="the file")
    assert place.send("PATCH", path, clip[500:], **tus, Upload_Offset="500")[0] == 409  # it takes over all the same
    raw.close()
    status, _, headers = place.send("HEAD", path, Tus_Resumable="1.0.0")
    offset = int(headers["Upload-Offset"])
    assert (status, headers["Upload-Length"], 1000 <= offset <= 3000) == (200, str(len(clip)), True)
    assert "Upload-Expires" in headers
    status, _, headers = place.send("PATCH", path, clip[offset:], **tus, Upload_Offset=str(offset))
    assert (status, headers["Upload-Offset"]) == (204, str(len(clip)))
    job_id = headers["Nightscribe-Job"]
    assert place.send("HEAD", path, Tus_Resumable="1.0.0")[2]["Nightscribe-Job"] == job_id
    done = place.finished(job_id)
    assert (done["state"], done["name"]) == ("finished", "Fünf.wav")
    assert (place.desk.batch.source / "uploads/Fünf.wav").read_bytes() == clip

    _, _, headers = place.send("POST", "/uploads", **begin)
    path = headers["Location"].removeprefix("/api/v1")
    assert place.send("DELETE", path, Tus_Resumable="1.0.0")[0] == 204
    assert place.send("HEAD", path, Tus_Resumable="1.0.0")[0] == 404
    _, _, headers = place.send("POST", "/uploads", **begin)
    place.jobs.uploads._keep_s = -1
    upload = place.jobs.uploads.get(headers["Location"][-32:], None)
    place.jobs.uploads.extend(upload)
    place.jobs.uploads.remove_expired()
    assert not [name for name in place.desk.files() if name.startswith(".")]
    place.jobs.uploads._keep_s = 3600


def test_a_client_that_sends_nothing_is_told_so(place: Place, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "SILENT_S", 0.05)
    monkeypatch.setattr(receive, "DRAINED_S", 0.05)
    before = place.desk.files()
    body, kind = form(clip)
    raw = socket.create_connection(("127.0.0.1", place.port))
    raw.sendall(
        f"POST /api/v1/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body[:5000]
    )
    assert raw.recv(100).startswith(b"HTTP/1.1 408")
    raw.close()
    wait_until(lambda: place.desk.files() == before, what="that what had arrived is removed")


def test_events_tell_what_happens_and_go_on_where_they_stopped(place: Place, clip: bytes) -> None:
    def follow(path: str, **headers: str) -> http.client.HTTPResponse:
        stream = stack.enter_context(closing(connection(place.port)))
        stream.request("GET", f"/api/v1{path}", headers=headers)
        return stream.getresponse()

    with ExitStack() as stack:
        everything = follow("/events")
        wait_until(lambda: bool(place.jobs.signals._listeners), what="that somebody listens")
        ids = [place.upload(other(clip, n), keep="false")[1]["id"] for n in (3, 4)]
        for job_id in ids:
            place.finished(job_id)
        seen: list[dict[str, Any]] = []
        while sum(each["event"] == "finished" for each in seen) < 2:
            seen.append(_event(everything))
        assert {each["data"]["id"] for each in seen} == set(ids)
        missed = _event(follow("/events", **{"Last-Event-ID": seen[0]["id"]}))
        assert missed["id"] == seen[1]["id"]
        one = follow(f"/jobs/{ids[0]}/events")
        assert _event(one)["data"]["state"] == "finished"
        assert one.read() == b""  # it ends with the job


def _event(response: http.client.HTTPResponse) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while True:
        line = response.readline().decode().strip()
        if not line and found:
            return found
        key, _, value = line.partition(": ")
        if key:
            found[key] = json.loads(value) if key == "data" else value


def test_others_see_neither_jobs_nor_uploads(place: Place, clip: bytes) -> None:
    def token(name: str, folder: str = "") -> dict[str, str]:
        with place.desk.database.write() as session:
            made = credentials.create_token(session, name, scopes=("write",), folder=folder, created_by="a test")
        return {"Authorization": f"Bearer {made.secret}"}

    mine, theirs = token("anna"), token("bert", "2012")
    body, kind = form(clip)
    _, job, _ = place.send("POST", "/uploads", body, Content_Type=kind, **mine)
    _, _, headers = place.send("POST", "/uploads", Tus_Resumable="1.0.0", Upload_Length="9", **mine)
    upload = headers["Location"].removeprefix("/api/v1")
    theirs_not = f"/jobs/{job['id']}"
    for method, path in (
        ("GET", theirs_not), ("GET", f"{theirs_not}/transcript.txt"), ("GET", f"{theirs_not}/events"),
        ("POST", f"{theirs_not}/cancel"), ("DELETE", theirs_not), ("HEAD", upload), ("DELETE", upload),
    ):  # fmt: skip
        assert place.send(method, path, Tus_Resumable="1.0.0", **theirs)[0] == 404
    assert place.send("GET", "/jobs", **theirs)[1]["jobs"] == []
    assert (
        place.send("POST", "/jobs", b'{"path": "uploads/clip.wav"}', Content_Type="application/json", **theirs)[0]
        == 404
    )
    body, kind = form(other(clip, 1), folder="uploads")
    assert place.send("POST", "/uploads", body, Content_Type=kind, **theirs)[0] == 404
    body, kind = form(other(clip, 1))
    assert place.send("POST", "/uploads", body, Content_Type=kind, **theirs)[1]["recording"] == "2012/uploads/clip.wav"


def test_a_crowd_is_served_or_asked_to_come_back(place: Place, clip: bytes) -> None:
    """bench/server_load.py does this with 200 clients for a minute."""
    found = crowd(lambda: connection(place.port), clip, 12, 1.0)
    assert not found.errors
    assert set(found.statuses) <= {"upload 202", "upload 429", "poll 200", "poll 429"}
    assert found.statuses["upload 429"]
    assert found.statuses["upload 202"] == sum(found.states.values())
    assert place.send("GET", "/jobs")[0] == 200
