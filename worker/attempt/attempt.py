"""One try of one job: what is done of it, and what becomes of its message."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog

from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import (
    Interrupted,
    JobError,
    LeaseLost,
    NameTooLong,
    NightscribeError,
    PermanentError,
    RetryableError,
    SetupError,
)
from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.model.transcript import Failure, Part, Provenance, merge, utc_now
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.queue.client import Delivery, JobQueue
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.telemetry import metrics, tracing
from nightscribe.worker.lease import Lease
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.window_reader import SliceEnd, WindowReader, ahead
from nightscribe.worker.status_reporter import StatusReporter

T = TypeVar("T")

log = structlog.get_logger()

MAX_RETRY_DELAY_S = 900
RELEASE_TIMEOUT_S = 5
GIVE_UP_AFTER = 3  # slices in a row that cannot be read or stored: it is the disk or the share, not the recording


@dataclass
class Attempt:
    """A received job in the hands of one worker, who stores and deletes only while the lease is held.

    `records` take nothing after that (see `HeldStore`).
    """

    worker: str
    queue: JobQueue
    source: RecordingSource
    records: Records
    transcriber_for: Callable[[Options], Transcriber]
    settings: Settings
    delivery: Delivery
    lease: Lease
    reporter: StatusReporter
    _storing: threading.Lock = field(default_factory=threading.Lock)
    _kept: dict[str, frozenset[str]] = field(default_factory=dict)
    """What others had left of unfinished work on each recording when this try began, by names."""

    def make(self) -> bool:
        """Do what there is to do. Gives whether trouble that may pass kept all of it from being done.

        Raises: SetupError: if this machine cannot do it; another one may, and has the job by then.
        """
        try:
            return self._do()
        except LeaseLost as error:
            log.warning("job.abandoned", why=str(error))
            _end("abandoned", str(error))
        except Interrupted:
            self._release()
            log.info("job.returned")
        except SetupError:
            self._release()
            raise
        return False

    def abandon(self) -> None:
        """Give the job back from another thread, because the process must end now; nothing is being stored then."""
        with self._storing:
            self._release()
            self.reporter.end()

    def _do(self) -> bool:
        try:
            job = Job.from_message(self.delivery.body)
        except JobError as error:
            log.error("message.refused", why=str(error))
            self._dead_letter(self.delivery.body, str(error))
            return False
        failed: list[Slice] = []
        unfinished = {(slice_.recording, slice_.index): slice_ for slice_ in job.slices}
        reason, recorded, in_a_row, n_done = "", True, 0, 0

        def fail(slice_: Slice, error: PermanentError) -> None:
            nonlocal reason, recorded
            reason = str(error)
            recorded &= self._fail(job, slice_, reason)
            failed.append(unfinished.pop((slice_.recording, slice_.index)))

        trouble: Exception | None = None
        try:
            self._leave_out(job, unfinished, fail)
            begun, trouble = self._begin(job, unfinished, fail)
            for end, part in self._results(job, begun):
                slice_ = end.slice_
                try:
                    self._finish(job, end, part)
                    unfinished.pop((slice_.recording, slice_.index))
                    in_a_row = 0
                    n_done += 1
                except PermanentError as error:
                    metrics.count_slice("failed", _audio_s(end))
                    fail(slice_, error)
                except RetryableError as error:
                    metrics.count_slice("retried", _audio_s(end))
                    log.warning("slice.retried_later", recording=slice_.recording, why=str(error))
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
            self._retry_later(job, list(unfinished.values()), trouble)
            return not n_done
        if failed:
            self._dead_letter(_only(job, failed), reason, recorded=recorded)
        else:
            self._be_done(lambda retry_timeout_s: self.queue.delete(self.delivery, retry_timeout_s=retry_timeout_s))
            _end("completed")
        return False

    def _results(self, job: Job, slices: list[Slice]) -> Iterator[tuple[SliceEnd, Part | None]]:
        """These slices of a job, each as soon as it is transcribed."""
        if not slices:
            return
        n_tries = self.delivery.receive_count
        if n_tries >= self.settings.max_receives:
            # Should one of them kill every worker, those behind it get their turn before it.
            slices.reverse()
        transcriber = self.transcriber_for(job.options)
        request = Request(
            options=job.options,
            all_words=job.layout.words,
            careful=n_tries > 1,
            check=self._check,
            progress=self.reporter.progress,
        )
        with closing(ahead(WindowReader(self.source, transcriber.window_limits).read(slices))) as sound:
            began_ns = time.time_ns()
            for end, part in transcriber.transcribe(sound, request):
                tracing.step_ended("transcribe", began_ns, _about(end, part), str(end.error) if end.error else None)
                yield end, part
                began_ns = time.time_ns()

    def _check(self) -> None:
        """Between two steps of the engine: one that never comes back is no sign of life."""
        report_alive()
        self.lease.check()

    def _leave_out(
        self, job: Job, unfinished: dict[tuple[str, int], Slice], fail: Callable[[Slice, PermanentError], None]
    ) -> None:
        """Take out what is done, and what another worker has in hand: that comes back with the other's message."""
        self._kept = self.records.partial_results.kept({slice_.recording for slice_ in unfinished.values()})
        # One by one: whatever stops it, no recording that is finished is told to have failed.
        max_concurrency = self.records.store.max_concurrency
        looks = map_concurrently(
            lambda item: self.records.provenance(item[1].recording), list(unfinished.items()), max_concurrency
        )
        for (key, slice_), look in looks:
            try:
                if self._is_done(job, slice_, look) or (
                    self._was_begun(job, slice_) and self._is_elsewhere(job, slice_)
                ):
                    metrics.count_slice("skipped")
                    del unfinished[key]
            except PermanentError as error:
                metrics.count_slice("failed")
                fail(slice_, error)

    def _was_begun(self, job: Job, slice_: Slice) -> bool:
        return self.records.partial_results.name(job, slice_, CLAIM_SUFFIX) in self._kept[slice_.recording]

    def _is_elsewhere(self, job: Job, slice_: Slice) -> bool:
        # The queue keeps equal jobs apart. Those of a director that came when half of a job was done only overlap.
        mine, for_s = self.delivery.message_id, self.settings.visibility_timeout_s
        other = self.records.partial_results.claimed_by(job, slice_, besides=mine, for_s=for_s)
        if other:
            log.info(
                "slice.skipped", recording=slice_.recording, why="in the hands of another worker", worker_there=other
            )
        return other is not None

    def _begin(
        self, job: Job, unfinished: dict[tuple[str, int], Slice], fail: Callable[[Slice, PermanentError], None]
    ) -> tuple[list[Slice], Exception | None]:
        """Say which slices are in hand: those where this is possible, and what keeps it from being so of others.

        So a destination that takes no file is known before an hour of work is wasted. What another worker began since
        this try did is taken out of the unfinished.
        """
        begun: list[Slice] = []
        trouble: RetryableError | None = None
        in_a_row = 0
        slices = list(unfinished.values())
        if slices:
            self.reporter.begin(slices[0], len({slice_.recording for slice_ in slices}))
        for slice_ in slices:
            report_alive()
            try:
                begin = partial(
                    self.records.partial_results.claim,
                    job,
                    slice_,
                    worker=self.worker,
                    message=self.delivery.message_id,
                )
                if not self._while_held(partial(begin, is_first=not self._was_begun(job, slice_))):
                    if self._is_elsewhere(job, slice_):
                        metrics.count_slice("skipped")
                        del unfinished[slice_.recording, slice_.index]
                        continue
                    self._while_held(begin)
                begun.append(slice_)
                in_a_row = 0
            except PermanentError as error:
                metrics.count_slice("failed")
                fail(slice_, error)
            except RetryableError as error:
                log.warning("slice.retried_later", recording=slice_.recording, why=str(error))
                trouble = error
                in_a_row += 1
                if in_a_row == GIVE_UP_AFTER:
                    raise
        return begun, trouble

    def _is_done(self, job: Job, slice_: Slice, look: Callable[[], Provenance | None]) -> bool:
        self._check()
        try:
            done = look()
        except NewerRecord as error:
            log.warning("slice.skipped", recording=slice_.recording, why=str(error))
            return True
        kept = self._kept[slice_.recording]
        if done and done.settles(job, slice_):
            log.info("slice.skipped", recording=slice_.recording, why="already finished")
            self._while_held(lambda: self.records.partial_results.drop(slice_.recording, kept))
            return True
        part = (
            self.records.partial_results.get(job, slice_)
            if self.records.partial_results.name(job, slice_) in kept
            else None
        )
        if part is None:
            return False
        self._put_together(job, slice_, part, None)
        return True

    def _finish(self, job: Job, end: SliceEnd, part: Part | None) -> None:
        """Store what came of a slice, or raise what went wrong with it."""
        if end.error:
            raise end.error
        assert part  # noqa: S101  there is one where there is no error
        with tracing.step("store", {"nightscribe.recording": end.slice_.recording}):
            keep = partial(self.records.partial_results.put, job, end.slice_, part)
            if end.slice_.count > 1:
                self._while_held(keep)
            try:
                self._put_together(job, end.slice_, part, end.mtime_ns)
            except RetryableError:
                if end.slice_.count == 1:
                    self._while_held(keep)  # then the next try need not hear it again
                raise
        metrics.count_slice("completed", part.decoded_s, part.processing_s)

    def _put_together(self, job: Job, slice_: Slice, part: Part, mtime_ns: int | None) -> None:
        """Finish the recording if all its parts are there. Of one that is not cut, this is all."""
        parts = [part] if slice_.count == 1 else self.records.partial_results.all(job, slice_)
        if parts is None:
            return
        transcript = merge(job, slice_, parts, mtime_ns=mtime_ns, finished_at=utc_now())
        # In this order, or a worker that dies in between would leave a finished recording with a reason for failing.
        self._while_held(lambda: self.records.forgive(slice_.recording))
        self._while_held(lambda: self.records.finish(transcript, job.formats))
        # While others work on other slices, only a look tells what is there.
        mine = (
            self._kept[slice_.recording] | {self.records.partial_results.name(job, slice_, CLAIM_SUFFIX)}
            if slice_.count == 1
            else None
        )
        self.records.partial_results.drop(slice_.recording, mine)
        metrics.RECORDINGS.labels("completed").inc()
        log.info(
            "recording.completed",
            recording=slice_.recording,
            audio_s=transcript.decoded_s,
            speed=round(transcript.decoded_s / max(0.001, transcript.processing_s), 1),
            flags=list(transcript.flags),
        )

    # What becomes of the message

    def _while_held(self, store: Callable[[], T]) -> T:
        """Store or delete, if the job is certainly still ours; `abandon` waits for it, so nothing is half done."""
        with self._storing:
            if not self.lease.held:
                raise LeaseLost("The lease ran out before the job was done with.")
            return store()

    def _release(self, delay_s: float | None = None, why: str | None = None) -> None:
        """Let another worker have the job after `delay_s`; without, at once, and this try was not its last one."""
        self.lease.end()
        if not self.lease.held:
            return
        try:
            if delay_s is None and self.delivery.receive_count >= self.settings.max_receives:
                self.queue.requeue(self.delivery, retry_timeout_s=RELEASE_TIMEOUT_S)
            else:
                self.queue.change_visibility(self.delivery, delay_s or 0, retry_timeout_s=RELEASE_TIMEOUT_S)
        except NightscribeError as error:
            log.warning("job.not_returned", why=str(error))  # it comes back by itself when its lease runs out
        finally:
            self.lease.give_up()
            _end("returned" if delay_s is None else "retried", why)

    def _retry_later(self, job: Job, unfinished: list[Slice], error: Exception) -> None:
        reason = str(error) if isinstance(error, NightscribeError) else f"Unexpected {type(error).__name__}: {error}"
        n_tries = self.delivery.receive_count
        if n_tries >= self.settings.max_receives:
            reason += f" Tried {n_tries} times."
            recorded = False
            try:
                recorded = sum(self._fail(job, slice_, reason) for slice_ in unfinished) == len(unfinished)
            except RetryableError as failing:  # then the dead letter carries the reason, for the director to record
                log.warning("failure.not_recorded", why=str(failing))
            self._dead_letter(_only(job, unfinished), reason, recorded=recorded)
            return
        delay_s = retry_delay_s(self.settings.retry_delay_s, n_tries)
        self._release(delay_s, reason)
        log.warning("job.retried_later", recordings=len(unfinished), why=reason, delay_s=delay_s)

    def _dead_letter(self, body: str, reason: str, *, recorded: bool = False) -> None:
        self._be_done(
            lambda retry_timeout_s: self.queue.dead_letter(
                self.delivery, body, reason, worker=self.worker, recorded=recorded, retry_timeout_s=retry_timeout_s
            )
        )
        _end("set_aside", reason)

    def _be_done(self, remove: Callable[[float], None]) -> None:
        """Remove the message, for which there is as long as the lease lasts: nobody asks for more of it meanwhile."""
        self.lease.end()
        self._while_held(lambda: remove(self.lease.remaining_s))

    def _fail(self, job: Job, slice_: Slice, reason: str) -> bool:
        """Record why a recording has no transcript; gives whether that could be."""
        try:
            # Its time only goes with the sound that failed; a file changed meanwhile must look changed to the next run.
            now = self.source.stat(slice_.recording)
            mtime_ns = now.mtime_ns if self.source.fingerprint(now) == slice_.fingerprint else None
        except NightscribeError:
            mtime_ns = None
        failure = Failure(
            recording=slice_.recording,
            fingerprint=slice_.fingerprint,
            size=slice_.size,
            mtime_ns=mtime_ns,
            reason=reason,
            attempts=self.delivery.receive_count,
            worker=self.worker,
            failed_at=utc_now(),
        )
        try:
            self._while_held(lambda: self.records.fail(failure))
        except NameTooLong as error:  # then its letter tells
            log.warning("failure.not_recorded", recording=slice_.recording, why=str(error))
            return False
        self.records.partial_results.release(job, slice_)
        metrics.RECORDINGS.labels("failed").inc()
        log.error("recording.failed", recording=slice_.recording, why=reason)
        return True


def retry_delay_s(first_s: float, receive_count: int) -> float:
    """Wait before the next try after `receive_count` of them: four times longer each time."""
    return min(MAX_RETRY_DELAY_S, first_s * 4.0 ** (receive_count - 1))


def _end(outcome: metrics.Outcome, why: str | None = None) -> None:
    """What became of a job is counted, and told in its trace."""
    metrics.JOBS.labels(outcome).inc()
    tracing.job_ended(outcome, why)


def _audio_s(end: SliceEnd) -> float:
    """How long a slice is, as far as that is known of one that came to nothing."""
    return end.decoded_s or ((end.slice_.end_s - end.slice_.start_s) if end.slice_.end_s is not None else 0.0)


def _about(end: SliceEnd, part: Part | None) -> tracing.Attributes:
    """What a trace tells of a slice."""
    about: tracing.Attributes = {"nightscribe.recording": end.slice_.recording, "nightscribe.slice": end.slice_.index}
    if part is None:
        return about
    return {
        **about,
        "nightscribe.audio_s": part.decoded_s,
        "nightscribe.processing_s": part.processing_s,
        "nightscribe.engine": part.engine,
        "nightscribe.language": part.language or "",
    }


def _only(job: Job, slices: list[Slice]) -> str:
    return job.model_copy(update={"slices": tuple(slices)}).to_message()
