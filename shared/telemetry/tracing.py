"""Record OpenTelemetry spans across the queue, from a director's scan to the stored transcript.

Spans cost nothing unless OpenTelemetry's own environment variables name an endpoint (see `exported`). They hold names
of recordings, never their text.
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

from nightscribe.shared.errors import ExtraMissing, SetupError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger()

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
END_WITHIN_S = 1.0  # an endpoint that does not respond must not keep a worker from ending
SAY_EVERY_S = 600.0  # how often the log says that spans cannot be sent

Attributes = Mapping[str, str | int | float | bool]

_tracer = trace.get_tracer("nightscribe")
_w3c = TraceContextTextMapPropagator()
_last_scan: list[tuple[Span, int]] = []
"""Span of a director's last scan and when it ended, in ns; empty before the first."""


@contextmanager
def exported(service: str, instance: str) -> Iterator[None]:
    """Send the spans of this process to the endpoint that the environment names, if any, until the context ends.

    A thread sends them and drops those that cannot be sent.
    Raises: SetupError: if an endpoint is named but cannot be used.
    """
    if not (endpoint := os.environ.get(TRACES_ENDPOINT) or os.environ.get(ENDPOINT)):
        yield
        return
    provider = _provider(endpoint, service, instance)
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        # The provider's shutdown would wait for an endpoint that does not respond.
        ending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(END_WITHIN_S)


def _provider(endpoint: str, service: str, instance: str) -> "TracerProvider":
    if urlsplit(endpoint).scheme not in ("http", "https"):
        raise SetupError(f"{ENDPOINT} is {endpoint!r}; give a URL such as http://localhost:4318.")
    if "grpc" in (os.environ.get(name) for name in PROTOCOLS):
        raise SetupError(
            f"Traces are sent over HTTP only, but {PROTOCOLS[1]} is grpc. Set it to http/protobuf, and "
            f"{ENDPOINT} to the port for HTTP, which is usually 4318."
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ExtraMissing(
            f"{ENDPOINT} is set, but the package that sends traces is not installed (unset it to send none).", "tracing"
        ) from None
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(_Unsent())
    logger.propagate = False
    attributes = {
        "service.namespace": "nightscribe",
        "service.version": version("nightscribe"),
        "service.instance.id": instance,
    }
    if "OTEL_SERVICE_NAME" not in os.environ:
        attributes["service.name"] = service
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _Unsent(logging.Handler):
    """Logs OpenTelemetry's warnings at most every ten minutes, because an endpoint may be unreachable all night."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logged_at: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= SAY_EVERY_S:
            self._logged_at = now
            log.warning("traces.not_sent", why=record.getMessage())


# Director


@contextmanager
def scan() -> Iterator[Span]:
    """Record a scan, to which the jobs queued before the next scan are linked.

    A watching director scans every few seconds, so a span is sent only once its scan has led to a job.
    """
    span = _tracer.start_span("scan", context=Context())
    with trace.use_span(span):
        yield span
    _last_scan[:] = [(span, time.time_ns())]


def job_created(queue_name: str, attributes: Attributes) -> str | None:
    """Begin the trace of a job that is queued, and return the W3C trace context for its message.

    Each job has its own trace, linked to the director's last scan: a whole night in one trace would be unreadable,
    and jobs can be sampled.
    """
    for span, ended_ns in _last_scan:
        if span.is_recording():
            span.end(ended_ns)
    created = _tracer.start_span(
        f"create {queue_name}",
        context=Context(),
        kind=SpanKind.PRODUCER,
        attributes={**_messaging(queue_name, "create"), **attributes},
        links=[Link(span.get_span_context()) for span, _ in _last_scan],
    )
    created.end()
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(created, Context()))
    return carrier.get("traceparent")


# Worker


def job_processed(queue_name: str, traceparent: str | None, attributes: Attributes) -> AbstractContextManager[Span]:
    """Record the work on a message, in the trace that the message carries, otherwise in a new one."""
    return _tracer.start_as_current_span(
        f"process {queue_name}",
        context=_w3c.extract({"traceparent": traceparent} if traceparent else {}, Context()),
        kind=SpanKind.CONSUMER,
        attributes={**_messaging(queue_name, "process"), **attributes},
    )


def job_ended(outcome: str, why: str | None) -> None:
    """Record the outcome of the current job, and `why` if it did not complete."""
    current = trace.get_current_span()
    current.set_attribute("nightscribe.outcome", outcome)
    if why:
        current.set_status(StatusCode.ERROR, why)


def step(name: str, attributes: Attributes) -> AbstractContextManager[Span]:
    """Record a step of the current job."""
    return _tracer.start_as_current_span(name, attributes=attributes)


def step_ended(name: str, began_ns: int, attributes: Attributes, why: str | None = None) -> None:
    """Record a step of the current job that began at `began_ns` (`time.time_ns`) and ends now; `why` if it failed."""
    ended = _tracer.start_span(name, start_time=began_ns, attributes=attributes)
    if why:
        ended.set_status(StatusCode.ERROR, why)
    ended.end()


def _messaging(queue_name: str, operation: str) -> Attributes:
    """Return the attributes of a messaging span. Source: OpenTelemetry semantic conventions."""
    return {
        "messaging.system": "aws_sqs",
        "messaging.destination.name": queue_name,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
