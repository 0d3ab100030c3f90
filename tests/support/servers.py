"""Real SQS servers in processes of their own, on 127.0.0.1, to be killed and started again at will."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from support.cache import CACHE, last_line, locked, unavailable
from support.waiting import wait_until

HOST = "127.0.0.1"
REGION = "us-east-1"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
BUILD_TIMEOUT_S = 500.0  # a test, the making of its fixtures included, is cut off after 600

LOCALSTACK = "localstack-4.10.0"
LOCALSTACK_REQUIREMENTS = (
    # From 4.11.0 on a dead worker's job stays hidden until every older message in flight is finished.
    "localstack-core[base-runtime]==4.10.0",
    # 4.10.0 does not start with the next major version of any of these.
    "cbor2<6",
    "pyopenssl<26",
    "localstack-twisted<26",
)


class SqsServer:
    """An SQS server that has the same port for its whole life and forgets everything whenever it ends."""

    def __init__(self, name: str, command: list[str], port: int, settings: dict[str, str], folder: Path) -> None:
        self.name = name
        self.port = port
        self.log = folder / "server.log"
        self._command = command
        self._folder = folder
        # Nothing but what a program needs to run: the developer's own settings would change the server.
        inherited = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        self._environment = {**inherited, "HOME": str(folder), "TMPDIR": str(folder), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} at {self.endpoint_url}, {'running' if self.running else 'not running'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()  # nothing of it is needed any more, and LocalStack takes its time

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead boto3, here or in a child process, to this server."""
        return {
            "AWS_ENDPOINT_URL_SQS": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def bucket_environment(self) -> dict[str, str]:
        """The same for its buckets, where it has any."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(self) -> Any:
        """A boto3 SQS client for this server, whatever the environment says, that never retries."""
        return self._client("sqs")

    def buckets(self) -> Any:
        """The same for S3."""
        return self._client("s3")

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=30),
        )

    def start(self) -> None:
        """Start it, with nothing in it, and return once it answers."""
        assert not self.running, f"{self.name} is running already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches pytest, which then stops the server, and kill() takes all of it.
                start_new_session=True,
            )
        try:
            client = self.client()
            try:
                wait_until(lambda: self._answers(client), START_TIMEOUT_S, f"{self.name} to answer (see {self.log})")
            finally:
                client.close()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is None or not self.running:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self, client: Any) -> bool:
        if not self.running:
            last_words = last_line(self.log.read_text(errors="replace"))
            raise AssertionError(f"{self.name} ended while starting: {last_words} (see {self.log})")
        # Who holds the port comes first: another server on it would answer just as well.
        if not self._holds_port():
            return False
        try:
            client.list_queues()
        except (BotoCoreError, ClientError):
            return False
        return True

    def _holds_port(self) -> bool:
        assert self._process is not None
        try:
            server = psutil.Process(self._process.pid)
            sockets = [s for p in (server, *server.children(recursive=True)) for s in p.net_connections("tcp")]
        except psutil.Error:  # it ended between two questions
            return False
        return any(s.status == psutil.CONN_LISTEN and s.laddr == (HOST, self.port) for s in sockets)


def ministack(folder: Path, port: int | None = None) -> SqsServer:
    """The server that the project itself starts on a bare machine, from the environment that runs the tests."""
    program = Path(sys.executable).with_name("ministack")
    if not program.exists():
        unavailable("ministack is not installed in this environment: install the project with its extra 'local'")
    port = port or free_port()
    settings = {"BIND_HOST": HOST, "GATEWAY_PORT": str(port), "SERVICES": "sqs,s3"}
    return SqsServer("ministack", [str(program)], port, settings, folder)


def localstack(folder: Path) -> SqsServer:
    """A second implementation of SQS, without a container; building its environment the first time takes a minute."""
    port = free_port()
    address = f"{HOST}:{port}"
    settings = {
        "SERVICES": "sqs",
        "EAGER_SERVICE_LOADING": "1",
        "GATEWAY_LISTEN": address,
        # The default one listens on every interface, whatever GATEWAY_LISTEN says.
        "GATEWAY_SERVER": "hypercorn",
        "LOCALSTACK_HOST": address,
        "OVERRIDE_IN_DOCKER": "0",
        "FILESYSTEM_ROOT": str(folder),
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
        "SQS_ENDPOINT_STRATEGY": "path",
        "SQS_ENABLE_MESSAGE_RETENTION_PERIOD": "1",
    }
    command = [str(_localstack_python()), "-m", "localstack.runtime.main"]
    return SqsServer("localstack", command, port, settings, folder)


def free_port() -> int:
    """A port that is free, below those which systems give to clients.

    A client that goes on trying while its server is down could otherwise be given the server's port as its own,
    be connected with itself, and keep the server from coming back.
    """
    for _ in range(100):
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise AssertionError("no free port between 20000 and 30000")


def _localstack_python() -> Path:
    """The interpreter of LocalStack's own environment, which is made if it is not there or is another version's."""
    home = CACHE / LOCALSTACK
    python = home / "bin" / "python"
    requirements = "\n".join(LOCALSTACK_REQUIREMENTS)
    # Written last: an environment that has it is whole.
    made_from = home / "requirements.txt"
    with locked(LOCALSTACK):
        if not (python.exists() and made_from.exists() and made_from.read_text() == requirements):
            partial = home.with_name(f"{home.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            _build([_python_3_11(), "-m", "venv", str(partial)])
            _build([str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", *LOCALSTACK_REQUIREMENTS])
            (partial / made_from.name).write_text(requirements)
            shutil.rmtree(home, ignore_errors=True)
            partial.rename(home)
    return python


def _python_3_11() -> str:
    if sys.version_info[:2] == (3, 11):
        return sys.executable
    found = shutil.which("python3.11")
    # Asked, since a version manager leaves a program of that name even where there is no such Python.
    if found is None or subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode != 0:
        pytest.skip("LocalStack 4.10.0 needs Python 3.11, and there is none here")
    return found


def _build(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        unavailable(f"LocalStack could not be installed within {BUILD_TIMEOUT_S:g} s")
    if done.returncode != 0:
        unavailable(f"LocalStack could not be installed: {last_line(done.stdout + done.stderr)}")
