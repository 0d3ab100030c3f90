"""Track the progress of one attempt through the slices of its job."""

from dataclasses import dataclass, field

from nightscribe.shared.errors import UNKNOWN
from nightscribe.shared.model.jobs import Job, Slice


@dataclass
class JobProgress:
    """The state of a job's slices in this attempt."""

    job: Job
    unfinished: dict[tuple[str, int], Slice]
    """Slices that are neither finished, skipped nor failed, by recording and index."""
    failed: list[Slice] = field(default_factory=list)
    last_failure_reason: str = ""
    last_failure_code: str = UNKNOWN
    failures_recorded: bool = True
    """False once a failure record could not be written, so that only the dead letter holds the reason."""
    n_finished: int = 0
    """Slices transcribed and stored in this attempt."""
    kept: dict[str, frozenset[str]] = field(default_factory=dict)
    """Names of the partial results and claims that were stored when the attempt began, by recording."""

    @classmethod
    def start(cls, job: Job) -> "JobProgress":
        """Return the progress of a job whose slices are all unfinished."""
        return cls(job, {(slice_.recording, slice_.index): slice_ for slice_ in job.slices})

    def finish(self, slice_: Slice) -> None:
        """Note that a slice is transcribed and stored."""
        self._remove(slice_)
        self.n_finished += 1

    def skip(self, slice_: Slice) -> None:
        """Note that a slice requires nothing more in this attempt."""
        self._remove(slice_)

    def fail(self, slice_: Slice, reason: str, code: str, *, recorded: bool) -> None:
        """Note that a slice failed for good. `recorded`: whether its failure record could be written."""
        self._remove(slice_)
        self.failed.append(slice_)
        self.last_failure_reason, self.last_failure_code = reason, code
        self.failures_recorded &= recorded

    def _remove(self, slice_: Slice) -> None:
        del self.unfinished[slice_.recording, slice_.index]
