"""Spans for OpenTelemetry: from a director's look at its source to the stored transcript, across the queue.

They cost nothing unless `exported` finds an endpoint; the variables that say where they go are OpenTelemetry's own.
They hold names of recordings, never their text.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nightscribe.shared.errors import SetupError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger()

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
END_WITHIN_S = 1.0  # whoever takes the traces must not keep a worker from ending
SAY_EVERY_S = 600.0  # that they cannot be sent

Attributes = Mapping[str, str | int | float | bool]

_tracer = trace.get_tracer("nightscribe")
_w3c = TraceContextTextMapPropagator()
_last_look: list[tuple[Span, int]] = []
"""Of a director, and when it ended; none before the first."""


@contextmanager
def exported(service: str, instance: str) -> Iterator[None]:
    """Send the spans of this process to where the environment says, until the context ends; nowhere if it says nothing.

    They are sent from a thread of their own; what cannot be sent is dropped.
    Raises: SetupError: if that is asked for and cannot be done.
    """
    if not (endpoint := os.environ.get(TRACES_ENDPOINT) or os.environ.get(ENDPOINT)):
        yield
        return
    provider = _provider(endpoint, service, instance)
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        # Its own shutdown waits for an endpoint that does not answer.
        ending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(END_WITHIN_S)


def _provider(endpoint: str, service: str, instance: str) -> "TracerProvider":
    if urlsplit(endpoint).scheme not in ("http", "https"):
        raise SetupError(f"{ENDPOINT} is {endpoint!r}; give a URL such as http://localhost:4318.")
    if "grpc" in (os.environ.get(name) for name in PROTOCOLS):
        raise SetupError(
            f"Traces are sent over HTTP only, and {PROTOCOLS[1]} asks for grpc. Set it to http/protobuf, and "
            f"{ENDPOINT} to the port for HTTP, which mostly is 4318."
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SetupError(
            f"{ENDPOINT} is set, but what sends traces is not installed. Install it (pip install "
            "'nightscribe[tracing]') or unset the variable."
        ) from None
    heard = logging.getLogger("opentelemetry")
    heard.addHandler(_Unsent())
    heard.propagate = False
    about = {
        "service.namespace": "nightscribe",
        "service.version": version("nightscribe"),
        "service.instance.id": instance,
    }
    if "OTEL_SERVICE_NAME" not in os.environ:
        about["service.name"] = service
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _Unsent(logging.Handler):
    """What OpenTelemetry has to complain about, now and then: an endpoint may be away all night."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said_at: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if self._said_at is None or now - self._said_at >= SAY_EVERY_S:
            self._said_at = now
            log.warning("traces.not_sent", why=record.getMessage())


# A director's side


@contextmanager
def scan() -> Iterator[Span]:
    """A look at source and destination, with which the jobs are linked that are queued before the next one.

    A director that watches looks every few seconds: only what led to jobs is sent, when the first of them is queued.
    """
    looking = _tracer.start_span("scan", context=Context())
    with trace.use_span(looking):
        yield looking
    _last_look[:] = [(looking, time.time_ns())]


def job_created(queue_name: str, attributes: Attributes) -> str | None:
    """Begin the trace of a job that is put on a queue, and give its W3C trace context for the message.

    Each job has a trace of its own, linked with the director's last look: a night in one trace is more than anybody can
    look at, and a share of the jobs can be sampled.
    """
    for looking, ended_ns in _last_look:
        if looking.is_recording():
            looking.end(ended_ns)
    created = _tracer.start_span(
        f"create {queue_name}",
        context=Context(),
        kind=SpanKind.PRODUCER,
        attributes={**_messaging(queue_name, "create"), **attributes},
        links=[Link(looking.get_span_context()) for looking, _ in _last_look],
    )
    created.end()
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(created, Context()))
    return carrier.get("traceparent")


# A worker's side


def job_processed(queue_name: str, traceparent: str | None, attributes: Attributes) -> AbstractContextManager[Span]:
    """The work on a message, in the trace that it carries; in one of its own, if it carries none."""
    return _tracer.start_as_current_span(
        f"process {queue_name}",
        context=_w3c.extract({"traceparent": traceparent} if traceparent else {}, Context()),
        kind=SpanKind.CONSUMER,
        attributes={**_messaging(queue_name, "process"), **attributes},
    )


def job_ended(outcome: str, why: str | None) -> None:
    """What became of the job in hand; `why` if it was not simply done."""
    current = trace.get_current_span()
    current.set_attribute("nightscribe.outcome", outcome)
    if why:
        current.set_status(StatusCode.ERROR, why)


def step(name: str, attributes: Attributes) -> AbstractContextManager[Span]:
    """A step of the job in hand."""
    return _tracer.start_as_current_span(name, attributes=attributes)


def step_ended(name: str, began_ns: int, attributes: Attributes, why: str | None = None) -> None:
    """A step of the job in hand that began at `began_ns` (of `time.time_ns`) and ends now; `why` if it failed."""
    ended = _tracer.start_span(name, start_time=began_ns, attributes=attributes)
    if why:
        ended.set_status(StatusCode.ERROR, why)
    ended.end()


def _messaging(queue_name: str, operation: str) -> Attributes:
    """Source: OpenTelemetry semantic conventions for messaging spans."""
    return {
        "messaging.system": "aws_sqs",
        "messaging.destination.name": queue_name,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
