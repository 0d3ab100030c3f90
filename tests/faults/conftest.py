"""Fixtures of the fault tests: leases of a second or two, so that they run out while the test looks."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import recordings
from support.servers import SqsServer
from support.workplace import Workplace, unhurried

from nightscribe.shared.queue.client import connect
from nightscribe.shared.settings import Settings


@pytest.fixture
def sqs_server(request: pytest.FixtureRequest, ministack: SqsServer) -> Iterator[SqsServer]:
    """ministack, or the server that a test asks for by name."""
    server = request.getfixturevalue(request.param) if hasattr(request, "param") else ministack
    yield server
    if not server.running:
        server.start()


@pytest.fixture
def settings() -> Settings:
    """Of a lease that can be outlived by a test; a test that wants another says so in its own module."""
    return Settings(visibility_timeout_s=2, heartbeat_s=0.5, model="tiny.en", engine="faster-whisper", language="en")


@pytest.fixture
def workplace(
    sqs_environment: dict[str, str], settings: Settings, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workplace:
    """One recording of 3 s, `a.wav`, and a queue of its own."""
    monkeypatch.setattr("nightscribe.worker.loop.POLL_S", 0)
    unhurried(monkeypatch)
    queue = connect(
        f"faults-{uuid.uuid4().hex}.fifo",
        visibility_timeout_s=settings.visibility_timeout_s,
        max_receives=settings.max_receives,
    )
    queue.ensure()
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    dest.mkdir()
    shutil.copy(recordings.cut(speech, tmp_path / "clip.wav", 0, 3, "-ar", "16000"), source / "a.wav")
    return Workplace(source, dest, queue, settings)
