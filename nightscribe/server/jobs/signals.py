"""Tell threads and event loops of this process what happens to jobs."""

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from nightscribe.server.jobs.model import Job, JobEvent

KEPT = 2_000  # events, for clients that connect again

Listener = Callable[[JobEvent], None]


class Signals:
    """Passes events to listeners. Listeners are called in the thread in which something happened, and must not wait."""

    def __init__(self) -> None:
        self.start = secrets.token_hex(4)
        """Differs at every start of the server: numbers of events are comparable only within one."""
        self._lock = threading.Lock()
        self._number = 0
        self._kept: deque[JobEvent] = deque(maxlen=KEPT)
        self._listeners: dict[Listener, Callable[[], object]] = {}
        self.is_closed = False
        """True once the server ends, so that streams end as well."""

    @property
    def number(self) -> int:
        """Return the number of the last event."""
        return self._number

    def close(self) -> None:
        """End all streams, because the server ends."""
        with self._lock:
            self.is_closed = True
            ended = list(self._listeners.values())
        for each in ended:
            with suppress(RuntimeError):  # an event loop that is closed already
                each()

    def send(self, kind: str, job: Job) -> None:
        """Tell everybody who listens."""
        with self._lock:
            self._number += 1
            event = JobEvent(self._number, kind, job)
            self._kept.append(event)
            listeners = list(self._listeners)
        for listener in listeners:
            with suppress(RuntimeError):  # an event loop that is closed already
                listener(event)

    @contextmanager
    def listening(self, listener: Listener, ended: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Call `listener` with every event until the context ends, and `ended` if the server ends before that."""
        with self._lock:
            self._listeners[listener] = ended
        try:
            yield
        finally:
            with self._lock:
                self._listeners.pop(listener, None)

    def since(self, number: int) -> list[JobEvent] | None:
        """Return the events after one of this start, or None if some of them are no longer known."""
        with self._lock:
            first = self._kept[0].number if self._kept else self._number + 1
            if not first - 1 <= number <= self._number:
                return None
            return [event for event in self._kept if event.number > number]


@contextmanager
def ends_of(signals: Signals, job_id: str) -> Iterator[threading.Event]:
    """Yield an event that is set as soon as a job is over or deleted."""
    over = threading.Event()

    def listen(event: JobEvent) -> None:
        if event.job.id == job_id and (event.job.is_over or event.kind == "deleted"):
            over.set()

    with signals.listening(listen):
        yield over


@contextmanager
def async_ends_of(signals: Signals, job_id: str) -> Iterator[asyncio.Event]:
    """Yield the same for the running event loop, in which waiting takes no thread."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()

    def listen(event: JobEvent) -> None:
        if event.job.id == job_id and (event.job.is_over or event.kind == "deleted"):
            loop.call_soon_threadsafe(over.set)

    with signals.listening(listen):
        yield over
