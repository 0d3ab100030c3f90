"""Serve metrics to Prometheus over HTTP, if a port is set."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nightscribe.shared.errors import NightscribeError, QueueError, SetupError
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.queue.inspector import Counts
from nightscribe.shared.settings import Settings
from nightscribe.shared.telemetry.metrics import BUILD

ADDRESS = "0.0.0.0"  # noqa: S104  a Prometheus on another machine, or in another container, must reach it
QUERY_EVERY_S = 30.0  # each request to Amazon costs money
QUERY_TIMEOUT_S = 3.0  # a scrape waits for the query, and usually times out after ten seconds


class QueueDepth(Collector):
    """Collects the number of messages from the queue at each scrape; nothing while the queue is unreachable."""

    def __init__(self, queue: Callable[[], JobQueue], clock: Callable[[], float] = time.monotonic) -> None:
        """Create a collector. `queue` finds the queue, and is called again after each failure."""
        self._find = queue
        self._clock = clock
        self._queue: JobQueue | None = None
        self._may_count_dead_letters = True
        self._queried_at: float | None = None
        self._found: list[Metric] = []
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values."""
        return _depths(None, None)

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers, which may be some seconds old."""
        with self._lock:
            now = self._clock()
            if self._queried_at is None or now - self._queried_at >= QUERY_EVERY_S:
                self._queried_at = now
                self._found = self._query()
            yield from self._found

    def _query(self) -> list[Metric]:
        try:
            self._queue = self._queue or self._find()
            return _depths(self._queue.counts(), self._dead_counts(self._queue))
        except NightscribeError:  # the code that works with the queue logs the error; the metric just has no value
            self._queue = None
            return []

    def _dead_counts(self, queue: JobQueue) -> Counts | None:
        if self._may_count_dead_letters:
            try:
                return queue.dead_counts()
            except QueueError:  # a worker needs no permission for the dead-letter queue
                self._may_count_dead_letters = False
        return None


def _depths(jobs: Counts | None, dead: Counts | None) -> list[Metric]:
    depth = GaugeMetricFamily("nightscribe_queue_jobs", "Jobs on the queue, roughly, by state.", labels=["state"])
    dead_letters = GaugeMetricFamily("nightscribe_dead_letters", "Jobs on the dead-letter queue, roughly.")
    if jobs:
        depth.add_metric(["queued"], jobs.queued)
        depth.add_metric(["in_flight"], jobs.in_flight)
    if dead:
        dead_letters.add_metric([], dead.queued + dead.in_flight)
    return [depth, dead_letters]


def registry(collectors: Iterable[Collector], queue: Callable[[], JobQueue]) -> CollectorRegistry:
    """Return all metrics of one process: its counters, its queue, and its memory and processor time (on Linux)."""
    made = CollectorRegistry()
    for each in (*collectors, QueueDepth(queue)):
        made.register(each)
    ProcessCollector(registry=made)
    return made


def serve(settings: Settings, collectors: Iterable[Collector], *, process: str, engine: str) -> WSGIServer | None:
    """Serve /metrics from a thread for as long as the process lives; do nothing if no port is set.

    Raises: SetupError: if the port is taken.
    """
    if not settings.metrics_port:
        return None

    def queue() -> JobQueue:
        found = connect(
            settings.queue_name,
            visibility_timeout_s=settings.visibility_timeout_s,
            max_receives=settings.max_receives,
            retry_timeout_s=QUERY_TIMEOUT_S,
        )
        found.find()
        return found

    disable_created_metrics()  # type: ignore[no-untyped-call]  # nobody uses the additional series
    BUILD.info({"version": version("nightscribe"), "engine": engine, "model": settings.model, "process": process})
    try:
        server, _ = start_http_server(settings.metrics_port, ADDRESS, registry(collectors, queue))
    except OSError as error:
        raise SetupError(
            f"Metrics cannot be served on port {settings.metrics_port} ({error.strerror}). Choose another with "
            "--metrics-port, a different one for each process of this machine, or 0 for none."
        ) from None
    return server
