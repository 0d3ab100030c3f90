"""The queue server that `run` brings along: killed, it is there again, and gone when the run is over."""

import os
import signal
from pathlib import Path

import psutil
import pytest
from support.waiting import wait_until

from nightscribe.local.queue_server import local_queue
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.queue.connection import QueueMissing

JOB = Job(
    slices=(Slice(recording="a.wav", fingerprint="1-a", size=1, stem="a"),),
    options=Options(engine="any", model="base"),
    formats=("txt",),
)


def opened() -> JobQueue:
    """A queue on the server that the environment names."""
    queue = connect("local.fifo", visibility_timeout_s=30, max_receives=3)
    queue.ensure()
    return queue


def test_a_server_that_is_killed_is_there_again_at_the_same_address(tmp_path: Path) -> None:
    """It has forgotten everything, so whoever asks is told that the queue is missing, and not that nobody answers."""
    with local_queue(tmp_path / "queue.log") as server:
        queue = opened()
        queue.send([JOB], "run")
        first = server.pid
        os.kill(first, signal.SIGKILL)
        with pytest.raises(QueueMissing):  # after as many tries as it takes
            queue.counts()
        assert server.pid != first
        queue.ensure()
        queue.send([JOB], "run")
        assert queue.receive(wait_s=3) is not None
        last = server.pid
    assert not psutil.pid_exists(last)


def test_a_server_that_dies_as_the_run_ends_is_not_started_again(tmp_path: Path) -> None:
    """Nothing of ours is left running."""
    with local_queue(tmp_path / "queue.log") as server:
        os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(server.pid), 10, "the last server to be gone")
    assert not server._watcher.is_alive()


def test_a_port_that_another_server_has_taken_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ministack: object
) -> None:
    """It would answer just as well, and keep the jobs of the night somewhere else."""
    port = int(str(ministack).partition("127.0.0.1:")[2].partition(",")[0])
    monkeypatch.setattr("nightscribe.local.queue_server._free_port", lambda: port)
    with pytest.raises(SetupError, match="did not start"), local_queue(tmp_path / "queue.log"):
        pytest.fail("it took the other server for its own")
