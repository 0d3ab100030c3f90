"""What others see of a night: Prometheus, which scrapes a real worker, and a collector that takes its traces."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from support import recordings
from support.command import COMMAND, clean, environment_of, run_command
from support.observing import Collector, Samples, sample, scraped
from support.servers import HOST, SqsServer, free_port
from support.waiting import wait_until

from nightscribe.services import run
from nightscribe.services.request import Request
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import SetupError
from nightscribe.shared.settings import load_settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore

START_TIMEOUT_S = 120.0
QUEUE = "observed.fifo"


@dataclass(frozen=True)
class RunReport:
    """Three recordings that were transcribed, one that failed, and what was seen of it."""

    samples: Samples
    of_director: Samples
    traces: Collector
    records: Records
    began_at: float
    ended_with: list[int]
    log: str


@pytest.fixture(scope="module")
def run_report(
    ministack: SqsServer, weights: Path, speech: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunReport]:
    """A director and a worker in processes of their own, watched from outside."""
    folder = tmp_path_factory.mktemp("observed")
    source, dest, began_at = recordings.three(folder, speech), folder / "dest", time.time()
    ports = {"worker": free_port(), "director": free_port()}
    with pytest.MonkeyPatch.context() as patch, Collector() as traces:
        clean(patch)
        environment = environment_of(weights) | ministack.environment
        environment |= {"NIGHTSCRIBE_QUEUE_NAME": QUEUE, "OTEL_EXPORTER_OTLP_ENDPOINT": traces.endpoint}

        def start(role: str, *more: str) -> "subprocess.Popen[bytes]":
            command = [*COMMAND, role, str(source), str(dest), "--metrics-port", str(ports[role]), *more]
            with (folder / f"{role}.log").open("wb") as log:
                return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

        def shows(role: str, name: str, n: int, **labels: str) -> Samples | None:
            for each, process in zip(ports, processes, strict=False):
                assert process.poll() is None, (folder / f"{each}.log").read_text()
            found = scraped(ports[role])
            return found if found and sample(found, name, **labels) == n else None

        def settled(result: str, n: int) -> Samples | None:
            found = shows("worker", "nightscribe_recordings_total", n, result=result)
            return found if found and sample(found, "nightscribe_jobs_in_hand") == 0 else None

        # This director ends when all is queued; the next one stays, and finds that a recording has come.
        queued = run_command(environment, "director", source, dest)
        assert queued.returncode == 0, queued.stderr
        processes = [start("worker")]
        try:
            wait_until(lambda: settled("completed", 3), START_TIMEOUT_S, "three recordings")
            recordings.text_named_mp3(source / "diary.mp3")
            processes.append(start("director", "--watch"))
            of_director = wait_until(
                lambda: shows("director", "nightscribe_jobs_queued_total", 1), START_TIMEOUT_S, "the new one"
            )
            samples = wait_until(lambda: settled("failed", 1), START_TIMEOUT_S, "the one that fails")
            for process in processes:
                process.terminate()
            ended_with = [process.wait(60) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        said = (folder / "worker.log").read_text()
        yield RunReport(samples, of_director, traces, Records(FolderStore(dest)), began_at, ended_with, said)


NAMES = ("first.mp3", "2012/second.WAV", "2012/third.m4a")


def test_prometheus_reads_how_much_was_done(run_report: RunReport) -> None:
    """Recordings, slices and seconds are those of the transcripts."""
    done = [run_report.records.provenance(name) for name in NAMES]
    audio_s = sum(each.decoded_s for each in done if each)
    processing_s = sum(each.processing_s for each in done if each)
    assert sample(run_report.samples, "nightscribe_recordings_total", result="completed") == 3
    assert sample(run_report.samples, "nightscribe_recordings_total", result="failed") == 1
    assert sample(run_report.samples, "nightscribe_slices_total", result="completed") == 3
    assert sample(run_report.samples, "nightscribe_slices_total", result="failed") == 1
    assert sample(run_report.samples, "nightscribe_audio_seconds_total", result="completed") == pytest.approx(
        audio_s, abs=0.01
    )
    assert 14 < audio_s < 16
    assert sample(run_report.samples, "nightscribe_slice_processing_seconds_count") == 3
    assert sample(run_report.samples, "nightscribe_slice_processing_seconds_sum") == pytest.approx(
        processing_s, abs=0.01
    )
    assert sample(run_report.samples, "nightscribe_slice_processing_seconds_bucket", le="+Inf") == 3
    speeds = [each.decoded_s / each.processing_s for each in done if each]
    assert min(speeds) * 0.99 <= sample(run_report.samples, "nightscribe_speed_ratio") <= max(speeds) * 1.01


def test_prometheus_reads_what_became_of_the_jobs(run_report: RunReport) -> None:
    assert sample(run_report.samples, "nightscribe_jobs_total", outcome="completed") == 1
    assert sample(run_report.samples, "nightscribe_jobs_total", outcome="set_aside") == 1
    for outcome in ("retried", "returned", "abandoned"):
        assert sample(run_report.samples, "nightscribe_jobs_total", outcome=outcome) == 0
    assert sample(run_report.samples, "nightscribe_leases_lost_total") == 0
    assert sample(run_report.samples, "nightscribe_redeliveries_total") == 0


def test_prometheus_reads_who_it_is_and_how_much_it_needs(run_report: RunReport) -> None:
    [[_, labels]] = [key for key in run_report.samples if key[0] == "nightscribe_build_info"]
    about = dict(labels)
    assert (about["model"], about["engine"]) == ("tiny.en", "faster-whisper")
    assert about["process"] in run_report.log
    last = sample(run_report.samples, "nightscribe_last_progress_timestamp_seconds")
    assert run_report.began_at < last <= time.time()
    assert sample(run_report.samples, "nightscribe_queue_jobs", state="queued") >= 0
    if sys.platform == "linux":
        assert sample(run_report.samples, "process_resident_memory_bytes") > 50e6


def test_prometheus_reads_what_a_director_has_found_and_queued(run_report: RunReport) -> None:
    for state, n in {"finished": 3, "missing": 1, "failed": 0, "being_written": 0}.items():
        assert sample(run_report.of_director, "nightscribe_source_recordings", state=state) == n, state
    assert (
        run_report.began_at < sample(run_report.of_director, "nightscribe_last_look_timestamp_seconds") <= time.time()
    )
    assert sample(run_report.of_director, "nightscribe_queue_jobs", state="in_flight") >= 0
    assert sample(run_report.of_director, "nightscribe_dead_letters") >= 0
    assert not [name for name, _ in run_report.of_director if name == "nightscribe_slices_total"]


def test_the_trace_of_a_job_leads_from_the_director_to_the_stored_transcript(run_report: RunReport) -> None:
    """Across the queue: the worker's spans are below the one that the director has begun."""
    scans = {each.span.span_id: each for each in run_report.traces.named("scan")}
    created = {each.span.span_id: each for each in run_report.traces.named("create")}
    assert {each.service for each in (*scans.values(), *created.values())} == {"nightscribe-director"}
    assert {each.span.kind for each in created.values()} == {Span.SpanKind.SPAN_KIND_PRODUCER}
    assert all(link.span_id in scans for each in created.values() for link in each.span.links)
    assert all(each.span.links and not each.span.parent_span_id for each in created.values())

    processed = {each.span.span_id: each for each in run_report.traces.named("process")}
    assert {each.service for each in processed.values()} == {"nightscribe-worker"}
    assert {each.span.kind for each in processed.values()} == {Span.SpanKind.SPAN_KIND_CONSUMER}
    assert sorted(each.span.parent_span_id for each in processed.values()) == sorted(created)
    for each in processed.values():
        assert each.span.trace_id == created[each.span.parent_span_id].span.trace_id
        assert each.about["messaging.system"] == "aws_sqs"
        assert each.about["messaging.destination.name"] == QUEUE
        assert each.about["nightscribe.job"] == created[each.span.parent_span_id].about["nightscribe.job"]

    for name, expected in (("transcribe", {*NAMES, "diary.mp3"}), ("store", set(NAMES))):
        steps = run_report.traces.named(name)
        assert {each.about["nightscribe.recording"] for each in steps} == expected
        for each in steps:
            assert each.span.trace_id == processed[each.span.parent_span_id].span.trace_id
            assert each.span.start_time_unix_nano <= each.span.end_time_unix_nano


def test_a_trace_tells_what_came_of_the_job(run_report: RunReport) -> None:
    outcomes = {each.about["nightscribe.outcome"]: each.span.status for each in run_report.traces.named("process")}
    assert set(outcomes) == {"completed", "set_aside"}
    assert outcomes["completed"].code == Status.STATUS_CODE_UNSET
    assert outcomes["set_aside"].code == Status.STATUS_CODE_ERROR
    assert outcomes["set_aside"].message.endswith(".")


def test_nothing_that_was_said_is_sent(run_report: RunReport) -> None:
    """Not a word of a transcript goes to a collector."""
    said = run_report.records.transcript("first.mp3")
    assert said
    assert b"best of times" in " ".join(segment.text for segment in said.segments).encode()
    assert not [body for body in run_report.traces.bodies if b"best of times" in body]


def test_who_is_watched_ends_as_any_other(run_report: RunReport) -> None:
    """All its spans have arrived by then."""
    assert run_report.ended_with == [0, 0]
    assert "worker.stopped" in run_report.log
    assert "traces.not_sent" not in run_report.log


def test_work_goes_on_when_nobody_takes_the_traces(
    nightscribe: Callable[..., "subprocess.CompletedProcess[str]"],
    ministack: SqsServer,
    speech: Path,
    tmp_path: Path,
) -> None:
    """The log says so once, and everything is done."""
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    recordings.cut(speech, source / "a.wav", 0, 3, "-ar", "16000")
    where = {"NIGHTSCRIBE_QUEUE_NAME": "unseen.fifo", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{free_port()}"}
    assert nightscribe("director", source, dest, **ministack.environment, **where).returncode == 0
    worked = nightscribe("worker", source, dest, "--until-empty", **ministack.environment, **where)
    assert worked.returncode == 0, worked.stderr
    assert worked.stderr.count("recording.completed") == 1
    assert worked.stderr.count("traces.not_sent") <= 1
    assert "Traceback" not in worked.stderr


def test_the_workers_of_a_run_do_not_fight_for_one_port(
    weights: Path, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be set for other commands of this machine."""
    given = []

    def pool(_n: int, _arguments: list[str], environment: dict[str, str], _logs: Path) -> None:
        given.append(environment)
        raise SetupError("That is all this test wants to know.")

    monkeypatch.setattr(run, "WorkerPool", pool)
    settings = load_settings(metrics_port=free_port(), model="tiny.en", models_dir=weights, settle_s=0)
    with pytest.raises(SetupError, match="all this test wants"):
        run.run(Request(FolderLocation(three), FolderLocation(tmp_path / "dest"), settings))
    assert [environment["NIGHTSCRIBE_METRICS_PORT"] for environment in given] == ["0"]


STUCK = """
from nightscribe.shared.telemetry import tracing
from nightscribe.shared.storage.folder.location import FolderLocation
with tracing.exported("nightscribe-worker", "me"):
    for n in range(5000):
        with tracing.step("transcribe", {"nightscribe.slice": n}):
            pass
print("left")
"""


def test_a_collector_that_hangs_holds_up_nothing(tmp_path: Path) -> None:
    """It takes the connection and never answers; thousands of spans wait for it, and then the process ends.

    OpenTelemetry by itself would wait for half a minute then.
    """
    with socket.create_server((HOST, 0)) as silent:
        environment = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{silent.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600",
        }
        done = subprocess.run(
            [sys.executable, "-c", STUCK], env=environment, capture_output=True, text=True, timeout=25, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("left\n")
    assert "traces.not_sent" in done.stdout
