"""Fixtures of the integration tests."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import recordings
from support.servers import SqsServer
from support.workplace import Counted, Workplace, unhurried, weights

from nightscribe.shared.queue.client import connect
from nightscribe.shared.settings import Settings
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.engines.base import Recognizer


@pytest.fixture(scope="session")
def clips(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four clips of 3 s, in each of which somebody speaks; the first says "It was the best of times"."""
    folder = tmp_path_factory.mktemp("clips")
    return [recordings.cut(speech, folder / f"{n}.wav", 4.0 * n, 3.0, "-ar", "16000") for n in range(4)]


@pytest.fixture(scope="session")
def loaded(models_dir: Path) -> Recognizer:
    """The real engine with tiny.en in memory."""
    return engines.load("faster-whisper", "tiny.en", weights("tiny.en", "faster-whisper", models_dir), threads=1)


@pytest.fixture
def engine(loaded: Recognizer) -> Counted:
    """The real engine, counting its calls from none."""
    return Counted(loaded)


@pytest.fixture
def sqs_server(ministack: SqsServer) -> Iterator[SqsServer]:
    """One server is enough here: that the others do the same is shown in tests/contract."""
    yield ministack
    if not ministack.running:
        ministack.start()


@pytest.fixture
def workplace(sqs_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """An empty source and destination, and a queue of their own that hides its messages for minutes."""
    # A worker that is to stop would otherwise wait out its poll, and each test with it.
    monkeypatch.setattr("nightscribe.worker.loop.POLL_S", 0)
    unhurried(monkeypatch)
    settings = Settings(visibility_timeout_s=300, heartbeat_s=10, retry_delay_s=10)
    queue = connect(
        f"integration-{uuid.uuid4().hex}.fifo",
        visibility_timeout_s=settings.visibility_timeout_s,
        max_receives=settings.max_receives,
    )
    queue.ensure()
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    dest.mkdir()
    return Workplace(source, dest, queue, settings)
