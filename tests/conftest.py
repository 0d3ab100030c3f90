"""Fixtures for all tests. Servers and recordings are made when the first test asks for them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import recordings, servers
from support.cache import CACHE
from support.servers import SqsServer


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's shell and AWS profile out of the tests."""
    for name in list(os.environ):
        if name.startswith(("NIGHTSCRIBE_", "AWS_", "LOCALSTACK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    # Without credentials boto3 would otherwise spend seconds asking the network for an instance's role.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


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


@pytest.fixture(scope="session")
def speech() -> Path:
    """44 s of read speech, whose text is `recordings.TWO_CITIES_TEXT`; not to be written to."""
    return recordings.two_cities()


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Where the models of all test runs are kept."""
    return CACHE / "models"
