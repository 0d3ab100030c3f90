"""Store the results of slices, and assemble the transcript of a recording once all its slices are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import PermanentError, RetryableError
from nightscribe.shared.model.assembly import merge
from nightscribe.shared.model.jobs import Job, Slice
from nightscribe.shared.model.speaker_options import OFF
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Part, Transcript, utc_now
from nightscribe.shared.speakers.recognition import recognized
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.storage.content import content_sha256
from nightscribe.shared.storage.fingerprint import covers_all
from nightscribe.shared.telemetry import metrics, tracing
from nightscribe.worker.attempt.job_progress import JobProgress
from nightscribe.worker.attempt.lease_guard import LeaseGuard
from nightscribe.worker.pipeline.labels import with_speakers
from nightscribe.worker.pipeline.segmentation import rejoined
from nightscribe.worker.pipeline.window_reader import SliceEnd

log = structlog.get_logger()


@dataclass(frozen=True)
class Assembler:
    """Writes parts and transcripts while the lease is held."""

    source: RecordingSource
    records: Records
    guard: LeaseGuard

    def store(self, progress: JobProgress, end: SliceEnd, part: Part | None) -> None:
        """Store the part of a slice, and its recording's transcript if this was the last part.

        Raises: NightscribeError: if `end` holds an error, or the part cannot be stored.
        """
        if end.error:
            raise end.error
        assert part  # noqa: S101  there is a part unless there is an error
        with tracing.step("store", {"nightscribe.recording": end.slice_.recording}):
            keep = partial(self.records.partial_results.put, progress.job, end.slice_, part)
            if end.slice_.count > 1:
                self.guard.while_held(keep)
            try:
                self.assemble(progress, end.slice_, part, end.mtime_ns)
            except RetryableError:
                if end.slice_.count == 1:
                    self.guard.while_held(keep)  # so that the next attempt need not transcribe it again
                raise
        metrics.count_slice("completed", part.decoded_s, part.processing_s)

    def assemble(self, progress: JobProgress, slice_: Slice, part: Part, mtime_ns: int | None) -> None:
        """Finish the recording if all its parts are stored; an uncut recording consists of `part` alone."""
        job, is_whole = progress.job, slice_.count == 1
        parts = [part] if is_whole else self.records.partial_results.all(job, slice_)
        if parts is None:
            return
        if job.only_speakers:
            transcript, sha256 = self._labelled(job, slice_, parts), None
        else:
            transcript = merge(job, slice_, parts, mtime_ns=mtime_ns, finished_at=utc_now())
            if not is_whole:
                transcript = rejoined(transcript)
            if job.options.speakers != OFF:
                transcript = with_speakers(transcript, parts, job.options, self._recognize)
            sha256 = self._content_sha256(slice_, mtime_ns)
        # Keep this order: a worker that dies in between must not leave a finished recording with a failure record.
        self.guard.while_held(lambda: self.records.forgive(slice_.recording))
        self.guard.while_held(lambda: self.records.finish(transcript, transcript.formats, sha256=sha256))
        # Other workers may have added parts and claims of a cut recording, so its folder must be listed.
        claim = self.records.partial_results.name(job, slice_, CLAIM_SUFFIX)
        self.records.partial_results.drop(
            slice_.recording, progress.kept[slice_.recording] | {claim} if is_whole else None
        )
        metrics.RECORDINGS.labels("completed").inc()
        log.info(
            "recording.completed",
            recording=slice_.recording,
            audio_s=transcript.decoded_s,
            speed=round(transcript.decoded_s / max(0.001, transcript.processing_s), 1),
            flags=list(transcript.flags),
        )

    def _labelled(self, job: Job, slice_: Slice, parts: list[Part]) -> Transcript:
        """Return the finished transcript with its speakers.

        Raises: PermanentError: if the transcript is gone, or of other sound.
        """
        finished = self.records.transcript(slice_.recording)
        if finished is None or finished.fingerprint != slice_.fingerprint:
            raise PermanentError(
                "Its transcript was removed or replaced while its speakers were to be labelled. Retry it.",
                code="changed",
            )
        labelled = with_speakers(finished, parts, job.options, self._recognize)
        return labelled.model_copy(update={"formats": tuple(dict.fromkeys((*finished.formats, *job.formats)))})

    def _recognize(self, speakers: Sequence[Speaker]) -> list[Speaker]:
        return recognized(speakers, self.records.voices.recent())

    def _content_sha256(self, slice_: Slice, mtime_ns: int | None) -> str | None:
        """Return the hash of the file that was transcribed, or None if it is not needed or proves nothing.

        A short file's fingerprint is a hash of all of it. Of another, nobody may have changed the file meanwhile.

        `mtime_ns`: when the decoded file was last changed. The file is in the page cache or the block cache, if it
        fits there. Without a hash, the recording is finished all the same.
        """
        if covers_all(slice_.size):
            return None
        try:
            before = self.source.stat(slice_.recording)
            if (before.size, before.mtime_ns) != (slice_.size, mtime_ns):
                return None
            sha256 = content_sha256(self.source, slice_.recording)
            return sha256 if self.source.stat(slice_.recording) == before else None
        except (PermanentError, RetryableError) as error:
            log.info("recording.not_hashed", recording=slice_.recording, why=str(error))
            return None
