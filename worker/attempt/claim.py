"""Find the slices of a job that this worker must transcribe, and claim them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import structlog

from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import failure_key, parts_folder, transcript_key
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import PermanentError, RetryableError
from nightscribe.shared.model.jobs import Slice
from nightscribe.shared.model.transcript import Provenance
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.telemetry import metrics
from nightscribe.worker.attempt.job_progress import JobProgress
from nightscribe.worker.attempt.lease_guard import LeaseGuard
from nightscribe.worker.attempt.settle import MAX_FAILURES_IN_A_ROW, Settler
from nightscribe.worker.attempt.store_results import Assembler
from nightscribe.worker.status_reporter import StatusReporter

log = structlog.get_logger()


Revoke = Callable[[str, str, Collection[str]], None]
"""Takes a worker, its message and folders, and makes the writes that the worker has begun there fail."""


@dataclass(frozen=True)
class Claimer:
    """Prevents two workers whose jobs overlap from transcribing the same slice."""

    worker: str
    message_id: str
    claim_timeout_s: float
    """A claim is valid for this long after its worker's last report."""
    records: Records
    revoke: Revoke
    guard: LeaseGuard
    reporter: StatusReporter
    assembler: Assembler
    settler: Settler

    def skip_finished_and_claimed(self, progress: JobProgress) -> None:
        """Skip slices that are finished, and slices that another worker holds, because its message covers them."""
        progress.kept = self.records.partial_results.kept({each.recording for each in progress.unfinished.values()})
        # Handle slices one at a time, so that no finished recording is recorded as failed if this is interrupted.
        looks = map_concurrently(
            lambda slice_: self.records.provenance(slice_.recording),
            list(progress.unfinished.values()),
            self.records.store.max_concurrency,
        )
        for slice_, look in looks:
            try:
                if self._is_finished(progress, slice_, look) or (
                    self._had_claim(progress, slice_) and self._is_claimed_elsewhere(progress, slice_)
                ):
                    metrics.count_slice("skipped")
                    progress.skip(slice_)
            except PermanentError as error:
                metrics.count_slice("failed")
                self.settler.fail(progress, slice_, error)

    def claim(self, progress: JobProgress) -> tuple[list[Slice], RetryableError | None]:
        """Claim the unfinished slices; return the claimed ones, and the last error that prevented a claim, or None.

        Writing claims also shows that the destination is writable before an hour of work is wasted. Slices that
        another worker has claimed since this attempt began are skipped.

        Raises: RetryableError: if several slices in a row cannot be claimed.
        """
        claimed: list[Slice] = []
        last_error: RetryableError | None = None
        in_a_row = 0
        slices = list(progress.unfinished.values())
        if slices:
            self.reporter.begin(slices[0], len({slice_.recording for slice_ in slices}), progress.job.redo)
        for slice_ in slices:
            report_alive()
            try:
                if self._claim(progress, slice_):
                    claimed.append(slice_)
                    in_a_row = 0
                else:
                    metrics.count_slice("skipped")
                    progress.skip(slice_)
            except PermanentError as error:
                metrics.count_slice("failed")
                self.settler.fail(progress, slice_, error)
            except RetryableError as error:
                log.warning("slice.retried_later", recording=slice_.recording, why=str(error))
                last_error = error
                in_a_row += 1
                if in_a_row == MAX_FAILURES_IN_A_ROW:
                    raise
        return claimed, last_error

    def _claim(self, progress: JobProgress, slice_: Slice) -> bool:
        """Write a claim; return False if another worker has claimed the slice in the meantime."""
        write = partial(
            self.records.partial_results.claim,
            progress.job,
            slice_,
            worker=self.worker,
            message=self.message_id,
        )
        if not self._had_claim(progress, slice_) and self.guard.while_held(partial(write, is_first=True)):
            return True
        previous = self.records.partial_results.claim_on(progress.job, slice_)
        if self._is_claimed_elsewhere(progress, slice_):
            return False
        if previous and (previous.worker, previous.message) != (self.worker, self.message_id):
            # That worker may be suspended just before it gives a file its name.
            keys = (transcript_key(slice_.recording), failure_key(slice_.recording), previous.stem, slice_.stem)
            folders = {key[: key.rfind("/") + 1] for key in keys} | {parts_folder(slice_.recording)}
            self.revoke(previous.worker, previous.message, folders)
        return self.guard.while_held(write)

    def _had_claim(self, progress: JobProgress, slice_: Slice) -> bool:
        """Return whether the slice was already claimed when this attempt began."""
        name = self.records.partial_results.name(progress.job, slice_, CLAIM_SUFFIX)
        return name in progress.kept[slice_.recording]

    def _is_claimed_elsewhere(self, progress: JobProgress, slice_: Slice) -> bool:
        # The queue never delivers equal jobs at the same time, but jobs of a later director may overlap with this one.
        other = self.records.partial_results.claimed_by(
            progress.job, slice_, besides=self.message_id, for_s=self.claim_timeout_s
        )
        if other:
            log.info("slice.skipped", recording=slice_.recording, why="claimed by another worker", worker_there=other)
        return other is not None

    def _is_finished(self, progress: JobProgress, slice_: Slice, look: Callable[[], Provenance | None]) -> bool:
        """Return whether the slice is already transcribed; finish its recording if only that was left to do."""
        self.guard.check()
        try:
            done = look()
        except NewerRecord as error:
            log.warning("slice.skipped", recording=slice_.recording, why=str(error))
            return True
        partial_results, kept = self.records.partial_results, progress.kept[slice_.recording]
        if done and done.settles(progress.job, slice_):
            log.info("slice.skipped", recording=slice_.recording, why="already finished")
            self.guard.while_held(lambda: partial_results.drop(slice_.recording, kept))
            return True
        is_kept = partial_results.name(progress.job, slice_) in kept
        part = partial_results.get(progress.job, slice_) if is_kept else None
        if part is None:
            return False
        self.assembler.assemble(progress, slice_, part, None)
        return True
