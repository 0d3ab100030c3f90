"""Call a function every few seconds from its own thread."""

import threading
from collections.abc import Callable


class PeriodicThread:
    """Calls `do` every `every_s` seconds, first after that time, until it is stopped. A daemon thread."""

    def __init__(
        self, do: Callable[[], object], every_s: float, *, name: str, at_end: Callable[[], object] | None = None
    ) -> None:
        """`at_end` is called once from the same thread when it stops, so the caller of `stop` need not wait for it."""
        self._do = do
        self._every_s = every_s
        self._name = name
        self._at_end = at_end
        self._stopping: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Call it once."""
        # Create locks only now, in the process that uses them: after a fork, a lock that another thread of the parent
        # held would never be released.
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name=self._name, daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Return whether the thread has started and not ended."""
        return self._thread is not None and self._thread.is_alive()

    def cancel(self) -> None:
        """Prevent further calls, and return at once; `do` itself may call this."""
        if self._stopping:
            self._stopping.set()

    def stop(self, timeout_s: float | None = None) -> None:
        """Prevent further calls, and wait at most `timeout_s` for the current one, if any."""
        self.cancel()
        if self._thread:
            self._thread.join(timeout_s)

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.wait(self._every_s):
            self._do()
        if self._at_end:
            self._at_end()
