"""Where traces go, and what is said when that cannot be."""

import logging
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from nightscribe.shared.errors import SetupError
from nightscribe.shared.telemetry import tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans that end in this test."""
    made, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(made))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    monkeypatch.setattr(tracing, "_last_scan", [])
    return made


def test_without_an_endpoint_nothing_is_traced() -> None:
    """Messages carry no context then."""
    with tracing.exported("nightscribe-director", "me"), tracing.scan() as looking:
        assert not looking.is_recording()
        assert tracing.job_created("q.fifo", {}) is None


def test_an_endpoint_that_is_set_and_empty_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose sets it where .env says nothing."""
    monkeypatch.setenv(tracing.ENDPOINT, "")
    with tracing.exported("nightscribe-director", "me"):
        assert tracing.job_created("q.fifo", {}) is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({tracing.ENDPOINT: "localhost:4318"}, "give a URL such as http://localhost:4318"),
        ({tracing.TRACES_ENDPOINT: "jaeger"}, "give a URL such as"),
        ({tracing.ENDPOINT: "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "Set it to http/protobuf"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SetupError, match=said), tracing.exported("nightscribe-worker", "me"):
        pass


def test_an_endpoint_without_the_extra_that_sends_traces_is_a_sentence() -> None:
    """As in a virtual environment where only `nightscribe` is installed."""
    program = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from nightscribe.shared.telemetry import tracing\n"
        "with tracing.exported('nightscribe-worker', 'me'): pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path), tracing.ENDPOINT: "http://localhost:4318"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'nightscribe[tracing]'" in done.stderr


def test_what_cannot_be_sent_is_told_now_and_then() -> None:
    """Not every five seconds of a night."""
    unsent = tracing._Unsent()
    with capture_logs() as said:
        for n in range(100):
            unsent.handle(logging.makeLogRecord({"levelno": logging.WARNING, "msg": f"Connection refused ({n})"}))
    assert [(event["event"], event["why"]) for event in said] == [("traces.not_sent", "Connection refused (0)")]


def test_a_job_has_a_trace_of_its_own_that_is_linked_with_the_last_look(spans: InMemorySpanExporter) -> None:
    """A look of which nothing came is not told: a director that watches has one every few seconds."""
    for _ in range(3):
        with tracing.scan():
            assert not spans.get_finished_spans()
    contexts = [tracing.job_created("q.fifo", {"nightscribe.job": str(n)}) for n in range(2)]
    scan, first, second = spans.get_finished_spans()
    assert [scan.name, first.name, second.name] == ["scan", "create q.fifo", "create q.fifo"]
    for context, each in zip(contexts, (first, second), strict=True):
        assert context
        assert context.startswith(f"00-{each.context.trace_id:032x}-{each.context.span_id:016x}-")
    assert len({scan.context.trace_id, first.context.trace_id, second.context.trace_id}) == 3
    assert [link.context.span_id for each in (first, second) for link in each.links] == [scan.context.span_id] * 2


def test_a_job_is_worked_on_in_the_trace_that_its_message_carries(spans: InMemorySpanExporter) -> None:
    with tracing.job_processed("q.fifo", PARENT, {}), tracing.step("store", {}):
        pass
    store, process = spans.get_finished_spans()
    assert f"{process.context.trace_id:032x}" == PARENT.split("-")[1]
    assert process.parent
    assert f"{process.parent.span_id:016x}" == PARENT.split("-")[2]
    assert store.parent == process.context


@pytest.mark.parametrize("carried", [None, "", "no context", "00-0-0-00", PARENT.replace("-", "_"), "ff" + PARENT[2:]])
def test_a_message_without_a_context_or_with_a_broken_one_has_a_trace_of_its_own(
    spans: InMemorySpanExporter, carried: str | None
) -> None:
    with tracing.job_processed("q.fifo", carried, {}):
        pass
    [process] = spans.get_finished_spans()
    assert process.parent is None
    assert f"{process.context.trace_id:032x}" != PARENT.split("-")[1]


def test_a_job_that_nobody_wants_to_see_is_not_traced_by_its_worker_either(spans: InMemorySpanExporter) -> None:
    """The director has drawn which jobs are sampled."""
    with tracing.job_processed("q.fifo", PARENT[:-1] + "0", {}):
        pass
    assert spans.get_finished_spans() == ()
