"""What Prometheus and a collector of traces see: metrics scraped over HTTP, and spans as they come over the wire."""

import threading
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from support.servers import HOST

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(port: int) -> Samples | None:
    """Every sample of a process by its name and labels; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    families = text_string_to_metric_families(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value for each in families for sample in each.samples
    }


def sample(samples: Samples, name: str, **labels: str) -> float:
    """The one of that name with exactly these labels."""
    return samples[name, frozenset(labels.items())]


@dataclass(frozen=True)
class Seen:
    """A span that has arrived, and which service sent it."""

    service: str
    span: Span

    @property
    def about(self) -> dict[str, Any]:
        """Its attributes."""
        return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in self.span.attributes}


class Collector:
    """An OTLP receiver on loopback: takes spans over HTTP and keeps them."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://{HOST}:{self._server.server_port}"

    def take(self, body: bytes) -> None:
        """What a process has sent."""
        self.bodies.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {each.key: each.value.string_value for each in group.resource.attributes}
            for scope in group.scope_spans:
                self.seen.extend(Seen(about["service.name"], span) for span in scope.spans)

    def named(self, name: str) -> list[Seen]:
        """The spans of that name, or of the operation that stands before the name of the queue."""
        return [each for each in self.seen if each.span.name.partition(" ")[0] == name]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
