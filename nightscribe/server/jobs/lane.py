"""One of the two queues as the server uses it: send jobs, record dead letters, notice that it has lost its messages."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import uuid4

import structlog

from nightscribe.director.dead_letters import DeadLetters
from nightscribe.director.lost_jobs import LostJobDetector
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError, RetryableError
from nightscribe.shared.model.jobs import Job
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.connection import QueueMissing

log = structlog.get_logger()


class Lane:
    """A queue. Use `send` from any thread, and the other methods from one."""

    def __init__(
        self, queue: JobQueue, records: Records, *, max_receives: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.queue = queue
        self._run = uuid4().hex
        self._dead_letters = DeadLetters(queue, records, self._run, max_receives)
        self._lost_jobs = LostJobDetector(clock)
        self._round = 0
        self._is_open = False
        self.trouble = ""
        """Why the queue cannot be used now, in one sentence; empty if it can."""

    def send(self, jobs: Sequence[Job]) -> bool:
        """Queue jobs; return False if that must be tried again."""
        try:
            self._open()
            self.queue.send(jobs, self._run, again=self._round)
        except NightscribeError as error:
            self._failed(error)
            return False
        self.trouble = ""
        return True

    def check(self, *, any_outstanding: bool) -> bool:
        """Record dead letters as failures, and return whether all outstanding jobs have to be sent again."""
        try:
            self._open()
            self._dead_letters.record()
            lost = self._lost_jobs.are_lost(self.queue.counts(), any_outstanding=any_outstanding)
        except QueueMissing as error:
            self._failed(error)
            with suppress(RetryableError):
                self.queue.ensure()
                self._lost_jobs.expect_new_queue()
                self._round += 1
                return True
            return False
        except NightscribeError as error:
            self._failed(error)
            return False
        self.trouble = ""
        if lost:
            log.warning("jobs.lost", queue=self.queue.name)
            self._round += 1
        return lost

    def _open(self) -> None:
        if not self._is_open:
            self.queue.ensure()
            self._is_open = True

    def _failed(self, error: NightscribeError) -> None:
        if self.trouble != str(error):
            log.warning("queue.unusable", queue=self.queue.name, why=str(error))
        self.trouble = str(error)
