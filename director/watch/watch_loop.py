"""What arrives while a director stays: looked for again and again, and queued once it has stopped growing."""

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
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.model.transcript import Failure
from nightscribe.shared.telemetry import metrics, tracing

log = structlog.get_logger()

LOOK_SHARE = 0.1  # of the time at most is spent on looking, where nothing calls for it
CALLED_SHARE = 0.5  # and where something does
BEAT_S = 60.0  # a director that waits for longer is alive all the same, and says so


@dataclass
class WatchLoop:
    """Compares source and store whenever it is time, and has the director queue what is new.

    What is missing is queued if it is still the same `settle_s` after it was seen: the time of a file alone does not
    tell whether somebody is writing it. What has grown meanwhile is looked at again after as long.
    """

    director: Director
    scanner: Scanner
    """That waits for nothing itself (`settle_s=0`). What failed before, it takes up at the first look only."""
    rates: Callable[[Backlog], Rates]
    """How long missing recordings are likely to be."""
    check_store: Callable[[], None]
    """Raises RetryableError where a share is merely not mounted, since everything then seems to be missing."""
    alarm: FileSystemWatcher
    poll_s: float
    settle_s: float
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.n_recordings = 0
        """In the source, at the last look."""
        self.n_left = 0
        """Queued, or to be queued, and not settled."""
        self.n_done = 0
        self._failed: set[str] = set()
        """Recordings that failed and were not taken up again since."""
        self._seen = Backlog()
        """Missing, and perhaps still growing."""
        self._is_new = False
        self._growing: set[str] = set()
        """Those of them that were."""
        self._unreadable: dict[str, Unreadable] = {}
        self._unqueued: dict[str, Unreadable] = {}
        """Missing at every look, and not to be read when they are to be queued."""
        self._trouble = OutageTracker(self.clock)
        self._seen_at = self._looked_at = self._acts_at = self.clock()
        self._look_took_s: float | None = None

    def watch(self) -> Iterator[Settled | PartStored | None]:
        """Go on for ever. Yields what was settled, and None whenever there may be something else to show."""
        while True:
            if self.clock() >= self._acts_at:
                yield from self._act()
            if self._can_take and self.clock() >= self._takes_at:
                self._take()
            elif self._can_look and self.clock() >= self.looks_at:
                self._look()
            yield None
            self._wait()

    @property
    def n_growing(self) -> int:
        """Recordings that have grown between two looks, and are not queued yet."""
        return len(self._growing)

    @property
    def n_failed(self) -> int:
        """Recordings that failed; one that fails again is still one."""
        return len(self._failed)

    @property
    def unreadable(self) -> list[Unreadable]:
        """What could not be read when it was last tried."""
        return [*self._unreadable.values(), *self._unqueued.values()]

    def _wait(self) -> None:
        """Until there is something to do, or to be heard of."""
        until = [self._acts_at]
        if self._can_take:
            until.append(self._takes_at)
        if self._can_look:
            until.append(self.looks_at)
        self.alarm.sleep(min(BEAT_S, max(0.0, min(until) - self.clock())))

    # Looking

    @property
    def _can_look(self) -> bool:
        # While there is more to be queued than the queue is to hold, nothing is gained by knowing of still more. And
        # what a look has found is waited for, or one look after the other would begin that anew.
        return self.director.has_queued_all and not self._is_new

    @property
    def looks_at(self) -> float:
        """When the next look is due, by the clock: the longer a look takes, the longer is the pause."""
        took_s = self._look_took_s
        if took_s is None:
            return self._looked_at
        if self.alarm.has_rung:
            return self._looked_at + took_s * (1 / CALLED_SHARE - 1)
        return self._looked_at + max(self.poll_s, took_s * (1 / LOOK_SHARE - 1))

    def _look(self) -> None:
        self.alarm.silence()
        began = self.clock()
        try:
            with tracing.scan():
                scan = self.scanner.scan()
            self.check_store()
            self._take_in(scan)
        except RetryableError as error:
            self._trouble.record_failure(error)
        else:
            self._trouble.end()
        self._seen_at = self._looked_at = self.clock()
        self._look_took_s = self._looked_at - began

    def _take_in(self, scan: Scan) -> None:
        metrics.show_source(scan.states())
        self.scanner.retry_failed = False  # what fails from here on is left alone
        self.n_recordings = scan.n_recordings
        queued = self.director.outstanding
        missing = scan.missing
        self._seen = Backlog(each for each in missing if each.recording.path not in queued) if queued else missing
        self._is_new = len(self._seen) > 0
        known = self._growing | self._unqueued.keys()
        if n_arrived := sum(path not in known for path, _ in self._seen.sized()):
            log.info("recordings.arrived", n=n_arrived)
        if known:
            known.intersection_update(path for path, _ in self._seen.sized())
            self._growing &= known
            self._unqueued = {path: each for path, each in self._unqueued.items() if path in known}
        for each in scan.unreadable:
            if each.path not in self._unreadable:
                log.warning("recording.unreadable", recording=each.path, why=each.reason)
        self._unreadable = {each.path: each for each in scan.unreadable}

    # Queueing

    @property
    def _can_take(self) -> bool:
        return self.director.has_queued_all and len(self._seen) > 0

    @property
    def _takes_at(self) -> float:
        return self._seen_at + self.settle_s

    def _take(self) -> None:
        self.director.take(self._seen, self.rates(self._seen), only_unchanged=True)
        self.n_left += len(self._seen)
        if self._failed:
            self._failed.difference_update(path for path, _ in self._seen.sized())
        self._seen, self._is_new = Backlog(), False
        self._acts_at = self.clock()

    def _act(self) -> Iterator[Settled | PartStored]:
        """Let the director queue and follow."""
        n_done, n_failed = self.n_done, self.n_failed
        for event in self.director.step(follow=True):
            match event:
                case Growing(missing):
                    self._grow(missing)
                    continue
                case Settled():
                    self._settle(event)
            yield event
        if (self.n_done, self.n_failed) != (n_done, n_failed):
            done, failed = self.n_done - n_done, self.n_failed - n_failed
            log.info("recordings.settled", done=done, failed=failed, left=self.n_left)
        pause_s = self.director.pause_s
        self._acts_at = self.clock() + (pause_s if self.n_left else max(pause_s, self.poll_s))

    def _grow(self, missing: Missing) -> None:
        self._seen.append(missing)
        self._seen_at = self.clock()
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
