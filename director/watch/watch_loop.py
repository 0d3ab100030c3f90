"""Scan repeatedly, and queue what has arrived once it has stopped growing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from nightscribe.director.backlog import Backlog, Growing, Missing, PartStored, Settled
from nightscribe.director.enqueue import Director
from nightscribe.director.outage import OutageTracker
from nightscribe.director.plan.estimate import Rates
from nightscribe.director.scan.scanner import Scan, Scanner
from nightscribe.director.watch.file_system_watcher import FileSystemWatcher
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.telemetry import metrics, tracing

log = structlog.get_logger()

POLLED_SCAN_SHARE = 0.1  # the share of time that scans may take while no change is known
CALLED_SCAN_SHARE = 0.5  # the same after a change was noticed
MAX_WAIT_S = 60.0  # a director that waits for longer must still report that it is alive


@dataclass
class WatchLoop:
    """Scans whenever it is time, and has the director queue what is new.

    A missing recording is queued if it is still the same `settle_s` after the scan that found it: a file's
    time alone does not show whether it is still being written. A file that has grown is checked again after the same
    time.
    """

    director: Director
    scanner: Scanner
    """Must not wait for recent files itself (`settle_s=0`). Its `retry_failed` applies to the first scan only."""
    rates: Callable[[Backlog], Rates]
    """Estimates how long missing recordings are."""
    check_store: Callable[[], None]
    """Raises RetryableError where a share is merely not mounted, since everything then seems to be missing."""
    watcher: FileSystemWatcher
    poll_s: float
    settle_s: float
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.n_recordings = 0
        """Recordings in the source, at the last scan."""
        self.n_left = 0
        """Recordings that are queued, or to be queued, and not settled."""
        self.n_done = 0
        self._failed: set[str] = set()
        """Recordings that failed and were not queued again since."""
        self._pending = Backlog()
        """Recordings that are missing, and perhaps still growing."""
        self._is_new = False
        self._growing: set[str] = set()
        """Pending recordings that have grown since they were found."""
        self._unreadable: dict[str, Unreadable] = {}
        self._unqueued: dict[str, Unreadable] = {}
        """Recordings that each scan finds missing, but that cannot be read when they are to be queued."""
        self._outage = OutageTracker(self.clock)
        self._pending_since = self._scanned_at = self._step_at = self.clock()
        self._scan_took_s: float | None = None

    def watch(self) -> Iterator[Settled | PartStored | None]:
        """Run for ever. Yields what was settled, and None whenever the state to show may have changed."""
        while True:
            if self.clock() >= self._step_at:
                yield from self._step()
            if self._can_enqueue and self.clock() >= self._enqueue_at:
                self._enqueue()
            elif self._can_scan and self.clock() >= self.scan_at:
                self._scan()
            yield None
            self._wait()

    @property
    def n_growing(self) -> int:
        """Return the number of recordings that have grown between two scans, and are not queued yet."""
        return len(self._growing)

    @property
    def n_failed(self) -> int:
        """Return the number of recordings that failed, each counted once."""
        return len(self._failed)

    @property
    def unreadable(self) -> list[Unreadable]:
        """Return what could not be read at the last attempt."""
        return [*self._unreadable.values(), *self._unqueued.values()]

    def _wait(self) -> None:
        """Wait until something is due or the watcher notices a change."""
        until = [self._step_at]
        if self._can_enqueue:
            until.append(self._enqueue_at)
        if self._can_scan:
            until.append(self.scan_at)
        self.watcher.wait(min(MAX_WAIT_S, max(0.0, min(until) - self.clock())))

    # Scanning

    @property
    def _can_scan(self) -> bool:
        # While more is to be queued than the queue may hold, finding still more gains nothing. And what a scan
        # has found is queued before the next one, which would restart its waiting time.
        return self.director.has_queued_all and not self._is_new

    @property
    def scan_at(self) -> float:
        """Return when the next scan is due, by the clock: the longer a scan takes, the longer the pause."""
        took_s = self._scan_took_s
        if took_s is None:
            return self._scanned_at
        if self.watcher.changed:
            return self._scanned_at + took_s * (1 / CALLED_SCAN_SHARE - 1)
        return self._scanned_at + max(self.poll_s, took_s * (1 / POLLED_SCAN_SHARE - 1))

    def _scan(self) -> None:
        self.watcher.clear()
        began = self.clock()
        try:
            with tracing.scan():
                scan = self.scanner.scan()
            self.check_store()
            self._take_in(scan)
        except RetryableError as error:
            self._outage.record_failure(error)
        else:
            self._outage.record_success()
        self._pending_since = self._scanned_at = self.clock()
        self._scan_took_s = self._scanned_at - began

    def _take_in(self, scan: Scan) -> None:
        metrics.show_source(scan.states())
        self.scanner.retry_failed = False  # recordings that fail from here on are left alone
        self.n_recordings = scan.n_recordings
        queued = self.director.outstanding
        missing = scan.missing
        self._pending = Backlog(each for each in missing if each.recording.path not in queued) if queued else missing
        self._is_new = len(self._pending) > 0
        known = self._growing | self._unqueued.keys()
        if n_arrived := sum(path not in known for path, _ in self._pending.sized()):
            log.info("recordings.arrived", n=n_arrived)
        if known:
            known.intersection_update(path for path, _ in self._pending.sized())
            self._growing &= known
            self._unqueued = {path: each for path, each in self._unqueued.items() if path in known}
        for each in scan.unreadable:
            if each.path not in self._unreadable:
                log.warning("recording.unreadable", recording=each.path, why=each.reason)
        self._unreadable = {each.path: each for each in scan.unreadable}

    # Queueing

    @property
    def _can_enqueue(self) -> bool:
        return self.director.has_queued_all and len(self._pending) > 0

    @property
    def _enqueue_at(self) -> float:
        return self._pending_since + self.settle_s

    def _enqueue(self) -> None:
        self.director.take(self._pending, self.rates(self._pending), only_unchanged=True)
        self.n_left += len(self._pending)
        if self._failed:
            self._failed.difference_update(path for path, _ in self._pending.sized())
        self._pending, self._is_new = Backlog(), False
        self._step_at = self.clock()

    def _step(self) -> Iterator[Settled | PartStored]:
        """Let the director queue jobs and check their outcomes."""
        n_done, n_failed = self.n_done, self.n_failed
        for event in self.director.step(follow=True):
            match event:
                case Growing(missing):
                    self._postpone(missing)
                    continue
                case Settled():
                    self._settle(event)
            yield event
        if (self.n_done, self.n_failed) != (n_done, n_failed):
            done, failed = self.n_done - n_done, self.n_failed - n_failed
            log.info("recordings.settled", done=done, failed=failed, left=self.n_left)
        pause_s = self.director.pause_s
        self._step_at = self.clock() + (pause_s if self.n_left else max(pause_s, self.poll_s))

    def _postpone(self, missing: Missing) -> None:
        """Keep a recording pending that has changed since it was found."""
        self._pending.append(missing)
        self._pending_since = self.clock()
        self.n_left -= 1
        path = missing.recording.path
        if path not in self._growing:
            self._growing.add(path)
            log.info("recording.growing", recording=path, size=missing.recording.size)

    def _settle(self, settled: Settled) -> None:
        self.n_left -= 1
        path = settled.missing.recording.path
        known = self._unqueued.pop(path, None)
        match settled.result:
            case Unreadable(reason=why) as unreadable:
                self._unqueued[path] = unreadable
                if not known:
                    log.warning("recording.unreadable", recording=path, why=why)
            case Failure(reason=why):
                self._failed.add(path)
                log.warning("recording.failed", recording=path, why=why)
            case _:
                self.n_done += 1
