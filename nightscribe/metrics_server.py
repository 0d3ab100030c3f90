"""What is counted, shown to Prometheus over HTTP where a port is given for it."""

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
ASK_QUEUE_EVERY_S = 30.0  # each answer of Amazon's is paid for
ASK_QUEUE_WITHIN_S = 3.0  # who scrapes waits for the answer, ten seconds as a rule


class QueueDepth(Collector):
    """How many messages there are, asked of the queue when somebody scrapes; nothing while it does not answer."""

    def __init__(self, queue: Callable[[], JobQueue], clock: Callable[[], float] = time.monotonic) -> None:
        """`queue`: finds it; asked again whenever it was not to be had."""
        self._find = queue
        self._clock = clock
        self._queue: JobQueue | None = None
        self._may_see_letters = True
        self._asked_at: float | None = None
        self._found: list[Metric] = []
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """The metrics, without any value."""
        return _depths(None, None)

    def collect(self) -> Iterator[Metric]:
        """The numbers, which are some seconds old."""
        with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at >= ASK_QUEUE_EVERY_S:
                self._asked_at = now
                self._found = self._ask()
            yield from self._found

    def _ask(self) -> list[Metric]:
        try:
            self._queue = self._queue or self._find()
            return _depths(self._queue.counts(), self._letters(self._queue))
        except NightscribeError:  # who works with it says so; here there is simply no number
            self._queue = None
            return []

    def _letters(self, queue: JobQueue) -> Counts | None:
        if self._may_see_letters:
            try:
                return queue.dead_counts()
            except QueueError:  # the rights that a worker needs do not include it
                self._may_see_letters = False
        return None


def _depths(jobs: Counts | None, dead: Counts | None) -> list[Metric]:
    depth = GaugeMetricFamily("nightscribe_queue_jobs", "Jobs on the queue, roughly, by state.", labels=["state"])
    letters = GaugeMetricFamily("nightscribe_dead_letters", "Jobs on the dead-letter queue, roughly.")
    if jobs:
        depth.add_metric(["queued"], jobs.queued)
        depth.add_metric(["in_flight"], jobs.in_flight)
    if dead:
        letters.add_metric([], dead.queued + dead.in_flight)
    return [depth, letters]


def registry(collectors: Iterable[Collector], queue: Callable[[], JobQueue]) -> CollectorRegistry:
    """All that one process shows: what it counts, its queue, and its memory and processor time (on Linux)."""
    made = CollectorRegistry()
    for each in (*collectors, QueueDepth(queue)):
        made.register(each)
    ProcessCollector(registry=made)
    return made


def serve(settings: Settings, collectors: Iterable[Collector], *, process: str, engine: str) -> WSGIServer | None:
    """Answer at /metrics from a thread, for as long as the process lives; nothing where no port is asked for.

    Raises: SetupError: if the port cannot be had.
    """
    if not settings.metrics_port:
        return None

    def queue() -> JobQueue:
        found = connect(
            settings.queue_name,
            visibility_timeout_s=settings.visibility_timeout_s,
            max_receives=settings.max_receives,
            retry_timeout_s=ASK_QUEUE_WITHIN_S,
        )
        found.find()
        return found

    disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, of which nothing is made
    BUILD.info({"version": version("nightscribe"), "engine": engine, "model": settings.model, "process": process})
    try:
        server, _ = start_http_server(settings.metrics_port, ADDRESS, registry(collectors, queue))
    except OSError as error:
        raise SetupError(
            f"Metrics cannot be served on port {settings.metrics_port} ({error.strerror}). Choose another with "
            "--metrics-port, a different one for each process of this machine, or 0 for none."
        ) from None
    return server
