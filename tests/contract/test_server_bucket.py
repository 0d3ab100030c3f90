"""A server of buckets: its database and list lie on its machine, and browsers fetch recordings from the bucket."""

import urllib.request
from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient
from support.api_client import HERE
from support.buckets import TestBucket

from nightscribe.server.app import create_app
from nightscribe.server.config import ServerSettings
from nightscribe.server.context import Context
from nightscribe.server.database.database import open_database
from nightscribe.server.ids import recording_id
from nightscribe.services.search import index
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import StorageOptions

SOUND = bytes(range(256))


def test_a_recording_of_a_bucket_is_fetched_from_there(
    bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source, dest = bucket.at("in/"), bucket.at("out/")
    bucket.put("in/2012/ü.mp3", SOUND)
    Records(dest.open_store(StorageOptions())).finish(_transcript("2012/ü.mp3"), ("txt",))
    database = open_database(dest)
    assert database.path
    assert database.path.is_relative_to(tmp_path / "state")
    index(dest, source=source)
    app = create_app(Context(dest, source, Settings(), ServerSettings(), database))
    client = TestClient(app, base_url=HERE, follow_redirects=False)  # not entered: nothing runs beside the requests
    [listed] = client.get("/api/v1/recordings").json()["recordings"]
    assert listed["recording"] == "2012/ü.mp3"
    got = client.get(f"/api/v1/recordings/{listed['id']}/media")
    assert got.status_code == 307
    asked = urllib.request.Request(got.headers["location"], headers={"Range": "bytes=10-19"})
    with urllib.request.urlopen(asked, timeout=30) as response:
        assert (response.status, response.read()) == (206, SOUND[10:20])
    gone = client.get(f"/api/v1/recordings/{recording_id('2012/gone.mp3')}/media")
    assert (gone.status_code, gone.json()["code"]) == (404, "gone")
    with database.read() as session:
        assert session.execute(text("SELECT count(*) FROM log")).scalar() == 0
    database.close()


def _transcript(recording: str) -> Transcript:
    return Transcript.model_validate(
        {
            "recording": recording,
            "fingerprint": "256-abc",
            "size": len(SOUND),
            "mtime_ns": None,
            "stem": "2012/ü",
            "formats": ["txt"],
            "options": {"engine": "auto", "model": "tiny.en"},
            "engine": "faster-whisper",
            "decoded_s": 1.0,
            "processing_s": 0.1,
            "finished_at": "2026-05-31T12:00:00Z",
            "segments": [{"start_s": 0, "end_s": 1, "text": "Hello."}],
        }
    )
