"""`nightscribe director` and `nightscribe worker` on a queue of their own."""

import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import COMMAND, texts
from support.servers import HOST, REGION, SqsServer

Command = Callable[..., "subprocess.CompletedProcess[str]"]


# On the other server than the one that `run` starts.
@pytest.mark.parametrize("sqs_server", ["localstack"], indirect=True)
def test_director_queues_what_is_missing_and_a_worker_does_it(
    nightscribe: Command, sqs_environment: dict[str, str], three: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "dest"
    queue = {"NIGHTSCRIBE_QUEUE_NAME": "halves.fifo"}
    queued = nightscribe("director", three, dest, **sqs_environment, **queue)
    assert queued.returncode == 0, queued.stderr
    assert "Queued 3 recordings on halves.fifo." in queued.stdout

    # A second director queues the same again; the jobs are done once all the same.
    assert nightscribe("director", three, dest, **sqs_environment, **queue).returncode == 0
    folders = {"NIGHTSCRIBE_SOURCE": str(three), "NIGHTSCRIBE_DEST": str(dest)}
    worked = nightscribe("worker", "--until-empty", **sqs_environment, **queue, **folders)
    assert worked.returncode == 0, worked.stderr
    assert worked.stderr.count("recording.completed") == 3
    assert worked.stderr.count("slice.skipped") == 3
    assert len(texts(dest)) == 9
    assert "it was the best" not in worked.stderr.lower()  # no transcript in the log

    rerun = nightscribe("director", three, dest, **sqs_environment, **queue)
    assert "Queued 0 recordings" in rerun.stdout
    assert "3 recordings already done" in rerun.stdout


def test_the_server_is_found_through_localstack_client(
    nightscribe: Command, localstack: SqsServer, three: Path, tmp_path: Path
) -> None:
    where = localstack.endpoint_url.removeprefix("http://")
    queue = {"NIGHTSCRIBE_QUEUE_NAME": "client.fifo", "LOCALSTACK_HOST": where}
    queued = nightscribe("director", three, tmp_path / "dest", **queue)
    assert queued.returncode == 0, queued.stderr
    assert "Queued 3 recordings on client.fifo." in queued.stdout


def test_no_queue_server_is_a_sentence(nightscribe: Command, three: Path, tmp_path: Path) -> None:
    said = nightscribe("director", three, tmp_path / "dest", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
    assert said.returncode == 2
    assert "AWS_DEFAULT_REGION" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_director_that_waits_for_its_queue_ends_when_it_is_told_to(
    environment: dict[str, str], three: Path, tmp_path: Path
) -> None:
    """By an exception of its own: the first process of a container does not even hear what it does not listen for."""
    with socket.create_server((HOST, 0)) as silent:
        where = {
            "AWS_ENDPOINT_URL_SQS": f"http://{HOST}:{silent.getsockname()[1]}",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        }
        with subprocess.Popen(
            [*COMMAND, "director", str(three), str(tmp_path / "dest")],
            env=environment | where,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                silent.settimeout(120)
                silent.accept()[0].close()
                process.send_signal(signal.SIGTERM)
                said = process.communicate(timeout=120)[1]
            finally:
                process.kill()
    assert process.returncode == 130
    assert said == "Interrupted.\n"
