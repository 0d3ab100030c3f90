"""The worker's loop: receive one job, do its slices, store, delete."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import structlog

from shared.activity import Activity
from shared.errors import Interrupted, JobError, LeaseLost, NightscribeError, PermanentError, RetryableError, SetupError
from shared.jobs import Job, Options, Slice
from shared.queue import Delivery, JobQueue, QueueMissing
from shared.records import Records
from shared.settings import Settings
from shared.sources import RecordingSource
from shared.transcript import Failure, Part, merge, utc_now
from worker.lease import Lease, lease_clock
from worker.listening import End, Listener, ahead
from worker.transcriber import Request, Transcriber

log = structlog.get_logger()

POLL_S = 2  # a worker that is told to stop while it waits for work must not wait for long
REPORT_EVERY_S = 1.0
MAX_RETRY_DELAY_S = 900
GIVE_UP_AFTER = 3  # slices in a row that cannot be read or stored: it is the disk or the share, not the recording


@dataclass
class Worker:
    """One process that does one job at a time."""

    name: str
    queue: JobQueue
    source: RecordingSource
    records: Records
    transcriber_for: Callable[[Options], Transcriber]
    settings: Settings
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = lease_clock

    def __post_init__(self) -> None:
        self._current: tuple[Delivery, Lease] | None = None
        self._storing = threading.Lock()
        self._reported_at = 0.0

    def run(self, *, until_empty: bool) -> None:
        """Work until told to stop, or with `until_empty` until there is nothing left."""
        times_empty = 0
        while not self.stop.is_set():
            received_at = self.clock()
            try:
                delivery = self.queue.receive(wait_s=1 if until_empty else POLL_S)
                if delivery is not None:
                    times_empty = 0
                    self._handle(delivery, received_at)
                elif until_empty:
                    counts = self.queue.counts()
                    # Counts lag behind; twice nothing, a poll apart, is nothing.
                    times_empty = times_empty + 1 if counts.queued + counts.in_flight == 0 else 0
                    if times_empty == 2:
                        log.info("queue.emptied")
                        return
            except QueueMissing:
                log.warning("queue.lost", queue=self.queue.name)
                self.queue.ensure()
            except RetryableError as error:
                # The calls have been tried again for a minute; a night is longer than an outage.
                log.warning("worker.paused", why=str(error))
                self.stop.wait(POLL_S)

    def abandon(self) -> None:
        """Give back the job in hand from another thread, because the process must end now."""
        with self._storing:
            if self._current is None:
                return
            delivery, lease = self._current
            lease.end()
            self._give_back(delivery, lease, 0)
            self.records.leave(self.name)

    def _handle(self, delivery: Delivery, received_at: float) -> None:
        with (
            structlog.contextvars.bound_contextvars(
                worker=self.name, message=delivery.message_id[:8], receive_count=delivery.receive_count
            ),
            Lease(
                self.queue,
                delivery,
                received_at=received_at,
                visibility_timeout_s=self.settings.visibility_timeout_s,
                heartbeat_s=self.settings.heartbeat_s,
                stop=self.stop,
                clock=self.clock,
            ) as lease,
        ):
            self._current = (delivery, lease)
            try:
                self._do(delivery, lease)
            except LeaseLost as error:
                log.warning("job.abandoned", why=str(error))
            except Interrupted:
                lease.end()
                self._give_back(delivery, lease, 0)
                log.info("job.returned")
            except SetupError:
                # This machine cannot do it (an engine, weights or rights are missing): another one may.
                lease.end()
                self._give_back(delivery, lease, 0)
                raise
            finally:
                self._current = None
                self.records.leave(self.name)

    def _do(self, delivery: Delivery, lease: Lease) -> None:
        try:
            job = Job.from_message(delivery.body)
        except JobError as error:
            log.error("message.refused", why=str(error))
            self._set_aside(delivery, lease, delivery.body, str(error))
            return
        failed: list[Slice] = []
        unfinished = {(of.recording, of.index): of for of in job.slices}
        reason, in_a_row = "", 0
        trouble: Exception | None = None
        try:
            self._leave_out_done(job, unfinished, lease)
            for end, part in self._results(job, list(unfinished.values()), delivery, lease):
                of = end.of
                try:
                    self._finish(job, end, part, lease)
                    unfinished.pop((of.recording, of.index))
                    in_a_row = 0
                except PermanentError as error:
                    reason = str(error)
                    self._fail(of, reason, delivery, lease)
                    failed.append(unfinished.pop((of.recording, of.index)))
                except RetryableError as error:
                    log.warning("slice.retried_later", recording=of.recording, why=str(error))
                    trouble = trouble or error
                    in_a_row += 1
                    if in_a_row == GIVE_UP_AFTER:
                        break
        except (LeaseLost, Interrupted, SetupError):
            raise
        except Exception as error:
            if not isinstance(error, NightscribeError):
                log.exception("job.crashed")
            trouble = error
        if trouble:
            self._retry_later(delivery, lease, job, list(unfinished.values()), trouble)
        elif failed:
            self._set_aside(delivery, lease, _only(job, failed), reason)
        else:
            self._while_held(lease, lambda: self.queue.delete(delivery))

    def _results(
        self, job: Job, slices: list[Slice], delivery: Delivery, lease: Lease
    ) -> Iterator[tuple[End, Part | None]]:
        """These slices of a job, each as soon as it is transcribed."""
        if not slices:
            return
        n_tries = delivery.receive_count
        if n_tries >= self.settings.max_receives:
            # Should one of them kill every worker, those behind it get their turn before it.
            slices.reverse()
        self._report(slices[0], 0, delivery, always=True)
        transcriber = self.transcriber_for(job.options)
        request = Request(
            options=job.options,
            all_words=job.layout.words,
            careful=n_tries > 1,
            check=lease.check,
            progress=lambda of, done_s: self._report(of, done_s, delivery),
        )
        with closing(ahead(Listener(self.source).listen(slices))) as sound:
            yield from transcriber.transcribe(sound, request)

    def _leave_out_done(self, job: Job, unfinished: dict[tuple[str, int], Slice], lease: Lease) -> None:
        # One by one: whatever stops it, no recording that is finished is told to have failed.
        for key, of in list(unfinished.items()):
            if self._is_done(job, of, lease):
                del unfinished[key]

    def _is_done(self, job: Job, of: Slice, lease: Lease) -> bool:
        lease.check()
        done = self.records.provenance(of.recording)
        if done and done.settles(job, of):
            log.info("slice.skipped", recording=of.recording, why="already finished")
            self._while_held(lease, lambda: self.records.drop_parts(of.recording))
            return True
        if self.records.part(job, of) is None:
            return False
        self._put_together(job, of, None, lease)
        return True

    def _finish(self, job: Job, end: End, part: Part | None, lease: Lease) -> None:
        """Store what came of a slice, or raise what went wrong with it."""
        if end.error:
            raise end.error
        assert part  # noqa: S101  there is one where there is no error
        self._while_held(lease, lambda: self.records.put_part(job, end.of, part))
        self._put_together(job, end.of, end.mtime_ns, lease)

    def _put_together(self, job: Job, of: Slice, mtime_ns: int | None, lease: Lease) -> None:
        """Finish the recording if all its parts are there."""
        parts = self.records.parts(job, of)
        if parts is None:
            return
        transcript = merge(job, of, parts, mtime_ns=mtime_ns, finished_at=utc_now())
        self._while_held(lease, lambda: self.records.finish(transcript, job.formats))
        self.records.drop_parts(of.recording)
        self.records.forgive(of.recording)
        log.info(
            "recording.completed",
            recording=of.recording,
            audio_s=transcript.decoded_s,
            speed=round(transcript.decoded_s / max(0.001, transcript.processing_s), 1),
            flags=list(transcript.flags),
        )

    def _report(self, of: Slice, done_s: float, delivery: Delivery, *, always: bool = False) -> None:
        now = time.monotonic()
        if not always and now - self._reported_at < REPORT_EVERY_S:
            return
        self._reported_at = now
        self.records.report(
            Activity(
                worker=self.name,
                recording=of.recording,
                done_s=round(done_s, 1),
                receive_count=delivery.receive_count,
                updated_at=utc_now(),
            )
        )

    # What becomes of the message

    def _while_held(self, lease: Lease, store: Callable[[], None]) -> None:
        """Store or delete, if the job is certainly still ours; `abandon` waits for it, so nothing is half done."""
        with self._storing:
            if not lease.held:
                raise LeaseLost("The lease ran out before the result could be stored.")
            store()

    def _give_back(self, delivery: Delivery, lease: Lease, delay_s: float) -> None:
        if not lease.held:
            return
        try:
            self.queue.change_visibility(delivery, delay_s, patience_s=5)
        except NightscribeError as error:
            log.warning("job.not_returned", why=str(error))  # it comes back by itself when its lease runs out

    def _retry_later(
        self, delivery: Delivery, lease: Lease, job: Job, unfinished: list[Slice], error: Exception
    ) -> None:
        reason = str(error) if isinstance(error, NightscribeError) else f"Unexpected {type(error).__name__}: {error}"
        if delivery.receive_count >= self.settings.max_receives:
            reason += f" Tried {delivery.receive_count} times."
            try:
                for part_of in unfinished:
                    self._fail(part_of, reason, delivery, lease)
            except RetryableError as failing:  # then the dead letter carries the reason, for the director to record
                log.warning("failure.not_recorded", why=str(failing))
            self._set_aside(delivery, lease, _only(job, unfinished), reason)
            return
        delay_s = retry_delay_s(self.settings.retry_delay_s, delivery.receive_count)
        lease.end()
        self._give_back(delivery, lease, delay_s)
        log.warning("job.retried_later", recordings=len(unfinished), why=reason, delay_s=delay_s)

    def _set_aside(self, delivery: Delivery, lease: Lease, body: str, reason: str) -> None:
        self._while_held(lease, lambda: self.queue.set_aside(delivery, body, reason, worker=self.name))

    def _fail(self, part_of: Slice, reason: str, delivery: Delivery, lease: Lease) -> None:
        try:
            # Its time only goes with the sound that failed; a file changed meanwhile must look changed to the next run.
            now = self.source.stat(part_of.recording)
            mtime_ns = now.mtime_ns if self.source.fingerprint(now) == part_of.fingerprint else None
        except NightscribeError:
            mtime_ns = None
        failure = Failure(
            recording=part_of.recording,
            fingerprint=part_of.fingerprint,
            size=part_of.size,
            mtime_ns=mtime_ns,
            reason=reason,
            attempts=delivery.receive_count,
            worker=self.name,
            failed_at=utc_now(),
        )
        self._while_held(lease, lambda: self.records.fail(failure))
        log.error("recording.failed", recording=part_of.recording, why=reason)


def retry_delay_s(first_s: float, receive_count: int) -> float:
    """Wait before the next try after `receive_count` of them: four times longer each time."""
    return min(MAX_RETRY_DELAY_S, first_s * 4.0 ** (receive_count - 1))


def _only(job: Job, slices: list[Slice]) -> str:
    return job.model_copy(update={"slices": tuple(slices)}).to_message()
