"""Run the transcription pipeline over the slices that an attempt has claimed."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from nightscribe.shared.model.jobs import Job, Options, Slice
from nightscribe.shared.model.speaker_options import CHANNELS, needs_models
from nightscribe.shared.model.transcript import Part
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.telemetry import tracing
from nightscribe.worker.engines.base import WindowLimits
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer
from nightscribe.worker.pipeline.feeds import FeedChooser
from nightscribe.worker.pipeline.speaker_listener import SpeakerListener
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window, WindowReader, ahead

LABEL_WINDOWS = WindowLimits(shortest_s=10.0, longest_s=18.0)


@dataclass(frozen=True)
class SliceTranscriber:
    """Transcribes slices of one job."""

    source: RecordingSource
    transcriber_for: Callable[[Options], Transcriber]
    diarizer: Callable[[], Diarizer]
    """Returns the models that tell voices apart; called only if a job needs them."""
    check: Callable[[], None]
    """Called between two steps of the engine; raises an error to stop the work."""
    report_progress: Callable[[Slice, float], None]
    receive_count: int
    max_receives: int
    finished_languages: Callable[[str, Collection[str]], Mapping[str, int]] = lambda _folder, _besides: {}
    """Returns how many finished recordings of a folder, besides some, are certainly in each language."""

    def transcribe(self, job: Job, slices: list[Slice]) -> Iterator[tuple[SliceEnd, Part | None]]:
        """Yield the end of each slice with its part once it is transcribed; the part is None after an error."""
        if not slices:
            return
        # Reverse the order in the last attempt: if one slice kills every worker, those after it are done first.
        in_order = list(reversed(slices) if self.receive_count >= self.max_receives else slices)
        if job.only_speakers:
            yield from self._label(job, in_order)
            return
        transcriber = self.transcriber_for(job.options)
        listener = self._listener(job.options, transcriber.feeds)
        request = Request(
            options=job.options,
            all_words=job.layout.words or needs_models(job.options),
            careful=self.receive_count > 1,
            check=self.check,
            progress=self.report_progress,
            finished_languages=lambda folder: self.finished_languages(folder, {each.recording for each in slices}),
        )
        reader = WindowReader(
            self.source,
            transcriber.window_limits,
            transcriber.feeds,
            job.options.tracks,
            by_channel=job.options.speakers == CHANNELS,
        )
        with closing(ahead(reader.read(in_order))) as sound:
            began_ns = time.time_ns()
            heard = listener.listen(sound) if listener else sound
            for end, transcribed in transcriber.transcribe(heard, request):
                part = _with_voices(transcribed, listener, end.slice_) if transcribed and listener else transcribed
                why = str(end.error) if end.error else None
                tracing.step_ended("transcribe", began_ns, _trace_attributes(end, part), why)
                yield end, part
                began_ns = time.time_ns()

    def _label(self, job: Job, slices: list[Slice]) -> Iterator[tuple[SliceEnd, Part | None]]:
        """Hear only the voices of the slices, whose words are known."""
        feeds = FeedChooser()
        listener = self._listener(job.options, feeds)
        if listener is None:  # the words are labelled by channel already
            yield from ((SliceEnd(slice_), _wordless(0.0, None)) for slice_ in slices)
            return
        done_s = 0.0
        with closing(ahead(WindowReader(self.source, LABEL_WINDOWS, feeds, job.options.tracks).read(slices))) as sound:
            for item in listener.listen(sound):
                if isinstance(item, Window):
                    done_s += item.progress_s
                    self.report_progress(item.slice_, done_s)
                    continue
                done_s = 0.0
                if item.error:
                    yield item, None
                    continue
                yield item, _with_voices(_wordless(item.decoded_s, item.container_s), listener, item.slice_)

    def _listener(self, options: Options, feeds: FeedChooser) -> SpeakerListener | None:
        if not needs_models(options):
            return None
        return SpeakerListener(self.diarizer(), self.source, feeds, options.tracks, self.check)


def _with_voices(part: Part, listener: SpeakerListener, slice_: Slice) -> Part:
    speakers, took_s = listener.take(slice_)
    return part.model_copy(update={"speakers": speakers, "processing_s": round(part.processing_s + took_s, 3)})


def _wordless(decoded_s: float, container_s: float | None) -> Part:
    return Part(segments=(), engine="", language=None, container_s=container_s, decoded_s=decoded_s, processing_s=0.0)


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
