"""One of the two queues as the server uses it: send jobs, record dead letters, notice that it has lost its messages."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import uuid4

import structlog

from nightscribe.director.dead_letters import DeadLetters
from nightscribe.director.lost_jobs import LostJobDetector
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.jobs import Job
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.connection import QueueMissing

log = structlog.get_logger()


class Lane:
    """A queue. Use `send` from any thread, and the other methods from one."""

    def __init__(
        self,
        connect: Callable[[], JobQueue],
        records: Records,
        *,
        max_receives: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connect` is called when the queue is first used, because a server starts before its queue does."""
        self._connect = connect
        self._records = records
        self._max_receives = max_receives
        self._run = uuid4().hex
        self._lost_jobs = LostJobDetector(clock)
        self._round = 0
        self._opened: tuple[JobQueue, DeadLetters] | None = None
        self._opening = threading.Lock()
        self.trouble = ""
        """Why the queue cannot be used now, in one sentence; empty if it can."""

    def send(self, jobs: Sequence[Job]) -> bool:
        """Queue jobs; return False if that must be tried again."""
        try:
            queue, _ = self._open()
            queue.send(jobs, self._run, again=self._round)
        except NightscribeError as error:
            self._failed(error)
            return False
        self.trouble = ""
        return True

    def check(self, *, any_outstanding: bool) -> bool:
        """Record dead letters as failures, and return whether all outstanding jobs have to be sent again."""
        try:
            queue, dead_letters = self._open()
            dead_letters.record()
            lost = self._lost_jobs.are_lost(queue.counts(), any_outstanding=any_outstanding)
        except QueueMissing as error:
            self._failed(error)
            with suppress(NightscribeError):
                self._open()[0].ensure()
                self._lost_jobs.expect_new_queue()
                self._round += 1
                return True
            return False
        except NightscribeError as error:
            self._failed(error)
            return False
        self.trouble = ""
        if lost:
            log.warning("jobs.lost")
            self._round += 1
        return lost

    def _open(self) -> tuple[JobQueue, DeadLetters]:
        with self._opening:
            if self._opened is None:
                queue = self._connect()
                queue.ensure()
                self._opened = queue, DeadLetters(queue, self._records, self._run, self._max_receives)
            return self._opened

    def _failed(self, error: NightscribeError) -> None:
        if self.trouble != str(error):
            log.warning("queue.unusable", why=str(error))
        self.trouble = str(error)
