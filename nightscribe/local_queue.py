"""An SQS-compatible server of our own on loopback, for as long as one machine is enough."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nightscribe.children import start_child
from shared.errors import SetupError

HOST = "127.0.0.1"
START_TIMEOUT_S = 30
TRIES = 3


@contextmanager
def local_queue(log_file: Path) -> Iterator[None]:
    """Start ministack, and stop it at the end; meanwhile this process and its children find it by their environment.

    Raises: SetupError: if it is not installed or does not start.
    """
    program = Path(sysconfig.get_path("scripts")) / "ministack"
    if not program.exists():
        raise SetupError("The local queue server is not installed. Install it: pip install 'nightscribe[local]'.")
    with tempfile.TemporaryDirectory(prefix="nightscribe-queue-") as state, log_file.open("wb") as log:
        for _ in range(TRIES):
            port = _free_port()
            server = _start(program, port, Path(state), log)
            environment = _environment(port)
            try:
                if _answers(server, environment):
                    with _only(environment):
                        yield
                    return
            finally:
                _stop(server)
    raise SetupError(f"The local queue server does not start; see {log_file}.")


def _start(program: Path, port: int, state: Path, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    settings = {
        "BIND_HOST": HOST,  # it would listen to the whole network otherwise
        "GATEWAY_PORT": str(port),
        "SERVICES": "sqs",
        "STATE_DIR": str(state),
        "PERSIST_STATE": "0",  # the store says what is done; a queue that starts empty is the simplest to trust
    }
    return start_child([sys.executable, str(program)], environment=dict(os.environ) | settings, output=log)


@contextmanager
def _only(environment: dict[str, str]) -> Iterator[None]:
    """Set the variables that name the server, with none of the user's own beside them to lead elsewhere."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "LOCALSTACK_")):
            del os.environ[name]
    os.environ.update(environment)
    for name in ("NO_PROXY", "no_proxy"):  # a proxy for the outside knows no way to our loopback
        os.environ[name] = ",".join(filter(None, (before.get(name), HOST)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _environment(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_SQS": f"http://{HOST}:{port}",
        "AWS_ACCESS_KEY_ID": "nightscribe",
        "AWS_SECRET_ACCESS_KEY": "nightscribe",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def _answers(server: "subprocess.Popen[bytes]", environment: dict[str, str]) -> bool:
    """Whether the server we started answers; one that ended may have left its port to another's server."""
    client = boto3.client(
        "sqs",
        endpoint_url=environment["AWS_ENDPOINT_URL_SQS"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5, proxies={}),
    )
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and server.poll() is None:
        try:
            client.list_queues()
        except (BotoCoreError, ClientError):
            time.sleep(0.05)
        else:
            return server.poll() is None
    return False


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
