"""Run the transcription pipeline over the slices that an attempt has claimed."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.model.transcript import Part
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.telemetry import tracing
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.window_reader import SliceEnd, WindowReader, ahead


@dataclass(frozen=True)
class SliceTranscriber:
    """Transcribes slices of one job."""

    source: RecordingSource
    transcriber_for: Callable[[Options], Transcriber]
    check: Callable[[], None]
    """Called between two steps of the engine; raises an error to stop the work."""
    report_progress: Callable[[Slice, float], None]
    receive_count: int
    max_receives: int

    def transcribe(self, job: Job, slices: list[Slice]) -> Iterator[tuple[SliceEnd, Part | None]]:
        """Yield the end of each slice with its part once it is transcribed; the part is None after an error."""
        if not slices:
            return
        # Reverse the order in the last attempt: if one slice kills every worker, those after it are done first.
        in_order = reversed(slices) if self.receive_count >= self.max_receives else slices
        transcriber = self.transcriber_for(job.options)
        request = Request(
            options=job.options,
            all_words=job.layout.words,
            careful=self.receive_count > 1,
            check=self.check,
            progress=self.report_progress,
        )
        reader = WindowReader(self.source, transcriber.window_limits, transcriber.feeds, job.options.tracks)
        with closing(ahead(reader.read(list(in_order)))) as sound:
            began_ns = time.time_ns()
            for end, part in transcriber.transcribe(sound, request):
                why = str(end.error) if end.error else None
                tracing.step_ended("transcribe", began_ns, _trace_attributes(end, part), why)
                yield end, part
                began_ns = time.time_ns()


def known_audio_s(end: SliceEnd) -> float:
    """Return the length of a slice in seconds, or the length known so far if the slice failed early."""
    return end.decoded_s or ((end.slice_.end_s - end.slice_.start_s) if end.slice_.end_s is not None else 0.0)


def _trace_attributes(end: SliceEnd, part: Part | None) -> tracing.Attributes:
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
