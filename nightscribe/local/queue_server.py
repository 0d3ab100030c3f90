"""Start and supervise the SQS-compatible server that `run` uses on loopback."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nightscribe.shared.aws import LOCAL_QUEUE, local_client
from nightscribe.shared.errors import ExtraMissing, SetupError
from nightscribe.shared.process.children import start_child
from nightscribe.shared.process.scratch import scratch_folder

log = structlog.get_logger()

HOST = "127.0.0.1"
START_TIMEOUT_S = 30
TRIES = 3
RESTART_DELAY_S = 0.5  # a server that dies at once must not keep a processor busy


class LocalQueue:
    """Runs the server on one port and restarts it, empty, whenever it dies."""

    def __init__(self, command: list[str], port: int, state: Path, log_file: IO[bytes]) -> None:
        self.port = port
        self.endpoint = f"http://{HOST}:{port}"
        self._account = f"{secrets.randbelow(10**12):012}"  # part of each queue's URL, which identifies our server
        self._command = command
        self._settings = dict(os.environ) | {
            "BIND_HOST": HOST,  # otherwise it would listen on all networks
            "GATEWAY_PORT": str(port),
            "SERVICES": "sqs",
            "STATE_DIR": str(state),
            "MINISTACK_ACCOUNT_ID": self._account,
            "PERSIST_STATE": "0",  # the store knows what is done, and a queue that starts empty cannot be wrong
        }
        self._log_file = log_file
        self._over = threading.Event()
        self._server = self._started()
        self._watcher = threading.Thread(target=self._watch, name="queue-watcher", daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.stop()
        self._watcher.join()

    @property
    def pid(self) -> int:
        """Return the id of the present server process."""
        return self._server.pid

    def stop(self) -> None:
        """Terminate the server, and kill it if it does not end."""
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def answers(self) -> bool:
        """Wait for a response; return whether it comes from our server, not from another one on the same port."""
        client = local_client(
            self.endpoint, Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5)
        )
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until and self._server.poll() is None:
            try:
                url: str = client.create_queue(QueueName="ours")["QueueUrl"]
                client.delete_queue(QueueUrl=url)
            except (BotoCoreError, ClientError):
                time.sleep(0.05)
            else:
                return f"/{self._account}/" in url
        return False

    def _started(self) -> "subprocess.Popen[bytes]":
        return start_child(self._command, environment=self._settings, output=self._log_file)

    def _watch(self) -> None:
        """Restart the server when it dies; director and workers then create the queues again."""
        while True:
            status = self._server.wait()
            if self._over.wait(RESTART_DELAY_S):
                return
            log.warning("queue_server.died", status=status)
            self._server = self._started()
            if self._over.is_set():  # `stop` may have run before the restart
                self.stop()
                return


@contextmanager
def local_queue(log_file: Path) -> Iterator[LocalQueue]:
    """Run ministack while the context lasts, and point this process and its children at it through the environment.

    Raises: SetupError: if it is not installed or does not start.
    """
    program = Path(sysconfig.get_path("scripts")) / "ministack"
    if not program.exists():
        raise ExtraMissing("The local queue server is not installed.", "local")
    with scratch_folder() as state, log_file.open("wb") as output:
        for _ in range(TRIES):
            server = LocalQueue([sys.executable, str(program)], _free_port(), state, output)
            try:
                answers = server.answers()
            except BaseException:
                server.stop()
                raise
            if answers:
                with server, led_to(server.endpoint):
                    yield server
                return
            server.stop()
    raise SetupError(f"The local queue server did not start; see {log_file}.")


@contextmanager
def led_to(endpoint: str) -> Iterator[None]:
    """Point this process and its children at a local queue server; other AWS services are not affected."""
    before = os.environ.get(LOCAL_QUEUE)
    os.environ[LOCAL_QUEUE] = endpoint
    try:
        yield
    finally:
        if before is None:
            del os.environ[LOCAL_QUEUE]
        else:
            os.environ[LOCAL_QUEUE] = before


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
