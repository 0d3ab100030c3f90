"""What is counted, and where it is shown."""

import socket
from collections.abc import Iterator

import pytest
from support.observing import sample, scraped
from support.servers import free_port

from nightscribe import metrics_server as exposition
from nightscribe.shared.errors import SetupError
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.settings import Settings
from nightscribe.shared.telemetry import metrics


@pytest.fixture
def port() -> Iterator[int]:
    """On which what this process counts as a worker is served."""
    settings = Settings(metrics_port=free_port())
    server = exposition.serve(settings, metrics.WORKER, process="me", engine="openai-whisper")
    assert server
    yield settings.metrics_port
    server.shutdown()
    server.server_close()


def test_what_is_counted_is_shown_at_once(port: int) -> None:
    """Without a queue server there is everything but the depth of the queue."""
    before = scraped(port)
    assert before
    metrics.count_slice("completed", audio_s=600.0, processing_s=30.0)
    metrics.count_slice("skipped")
    after = scraped(port)
    assert after
    for name, labels, more in (
        ("nightscribe_slices_total", {"result": "completed"}, 1),
        ("nightscribe_slices_total", {"result": "skipped"}, 1),
        ("nightscribe_slices_total", {"result": "failed"}, 0),
        ("nightscribe_audio_seconds_total", {"result": "completed"}, 600),
        ("nightscribe_slice_processing_seconds_sum", {}, 30),
        ("nightscribe_slice_processing_seconds_bucket", {"le": "30.0"}, 1),
        ("nightscribe_slice_processing_seconds_bucket", {"le": "20.0"}, 0),
    ):
        grown = sample(after, name, **labels) - sample(before, name, **labels)
        assert grown == pytest.approx(more), name  # other tests of this process have counted fractions before
    assert sample(after, "nightscribe_speed_ratio") == 20
    assert not [name for name, _ in after if name in ("nightscribe_queue_jobs", "nightscribe_dead_letters")]
    about = {"version": "0.1.0", "engine": "openai-whisper", "model": "base", "process": "me"}
    assert sample(after, "nightscribe_build_info", **about) == 1


def test_every_result_is_there_before_it_happens(port: int) -> None:
    """A series that begins with its first failure shows no increase."""
    found = scraped(port)
    assert found
    for result in ("completed", "failed", "retried", "skipped"):
        assert sample(found, "nightscribe_slices_total", result=result) >= 0
    for outcome in ("completed", "set_aside", "retried", "returned", "abandoned"):
        assert sample(found, "nightscribe_jobs_total", outcome=outcome) >= 0
    assert sample(found, "nightscribe_recordings_total", result="failed") >= 0


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.create_server(("", 0)) as other:
        settings = Settings(metrics_port=other.getsockname()[1])
        with pytest.raises(SetupError, match=r"--metrics-port.+a different one for each process") as refused:
            exposition.serve(settings, metrics.DIRECTOR, process="me", engine="auto")
    assert str(settings.metrics_port) in str(refused.value)


def test_nothing_is_served_unless_a_port_is_given() -> None:
    assert exposition.serve(Settings(), metrics.WORKER, process="me", engine="auto") is None


def test_names_follow_the_conventions_of_prometheus() -> None:
    """A prefix of its own; counters end in _total by themselves, and what has a unit says it in base units."""

    def nowhere() -> JobQueue:
        raise SetupError("There is no queue.")

    names = {
        family.name
        for slice_ in (metrics.WORKER, metrics.DIRECTOR)
        for family in exposition.registry(slice_, nowhere).collect()
    }
    ours = {name for name in names if not name.startswith("process_")}
    assert len(ours) > 10
    assert {name for name in ours if not name.startswith("nightscribe_")} == set()
    assert {name for name in names if name.endswith(("_s", "_ms", "_minutes", "_mb"))} == set()
