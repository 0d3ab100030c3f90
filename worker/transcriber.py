"""One slice: from a file to its part."""

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import structlog

from shared.audio import RATE, Decoder, Waveform
from shared.errors import WeightsError
from shared.jobs import Options, Slice
from shared.transcript import Part, Segment
from worker import blocks, engines
from worker.engines.base import Engine
from worker.quality import flags
from worker.speech import SpeechDetector
from worker.weights.resolver import resolve

log = structlog.get_logger()

LANGUAGE_SAMPLES = 3
SAMPLE_S = 30
AROUND_S = 0.5
LATE_S = 1.5


class Transcriber:
    """An engine with what a slice needs around it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._speech = SpeechDetector()
        self.engine_name = engine.name

    def transcribe(
        self, path: Path, of: Slice, options: Options, *, check: Callable[[], None], progress: Callable[[float], None]
    ) -> Part:
        """The part of one slice; `progress` is told the seconds done, and `check` may raise to stop the work.

        Raises: AudioError: if there is no sound in the file. RetryableError: if it cannot be read now.
        """
        began = time.monotonic()
        decoder = Decoder(path, of.start_s, of.end_s)
        segments: list[Segment] = []
        language = None if options.language == "auto" else options.language
        language_probability = None
        for start_s, waveform in blocks.cut(decoder):
            check()
            speech_s = self._speech.first_speech_s(waveform)
            if speech_s is not None:
                if language is None:
                    language, language_probability = self._language(waveform[round(speech_s * RATE) :])
                for found in self._engine.transcribe(waveform, language=language, task=options.task):
                    check()
                    progress(start_s + found.end_s)
                    if segment := self._heard(found, waveform):
                        segments.append(_shifted(segment, of.start_s + start_s))
            progress(start_s + len(waveform) / RATE)
        return Part(
            segments=tuple(segments),
            engine=self.engine_name,
            language=language if segments else None,
            container_s=decoder.container_s,
            decoded_s=decoder.decoded_s,
            processing_s=round(time.monotonic() - began, 3),
            flags=flags(segments, language_probability=language_probability),
        )

    def _heard(self, segment: Segment, waveform: Waveform) -> Segment | None:
        """The segment within the block, or None where nobody speaks: there Whisper invents."""
        length_s = len(waveform) / RATE
        start_s, end_s = min(segment.start_s, length_s), min(segment.end_s, length_s)
        # Times are rough and the detector needs to hear a beginning, so half a second around is listened to as well.
        around_s = max(0.0, start_s - AROUND_S)
        speech_s = self._speech.first_speech_s(waveform[round(around_s * RATE) : round((end_s + AROUND_S) * RATE)])
        if not segment.text or speech_s is None:
            return None
        # After a long silence Whisper lets a segment begin where its window did.
        if around_s + speech_s > start_s + LATE_S:
            start_s = around_s + speech_s - AROUND_S
        return segment.model_copy(update={"start_s": start_s, "end_s": max(start_s, end_s)})

    def _language(self, waveform: Waveform) -> tuple[str, float]:
        """The likeliest language over a few stretches of the waveform in which somebody speaks."""
        total: dict[str, float] = defaultdict(float)
        n_heard = 0
        size = SAMPLE_S * RATE
        step = max(size, len(waveform) // LANGUAGE_SAMPLES)
        for at in range(0, len(waveform), step):
            sample = waveform[at : at + size]
            if n_heard and self._speech.first_speech_s(sample) is None:
                continue
            for language, probability in self._engine.detect_language(sample).items():
                total[language] += probability
            n_heard += 1
        likeliest = max(total, key=lambda language: total[language])
        return likeliest, total[likeliest] / n_heard


def _shifted(segment: Segment, by_s: float) -> Segment:
    return segment.model_copy(
        update={"start_s": round(segment.start_s + by_s, 3), "end_s": round(segment.end_s + by_s, 3)}
    )


class Models:
    """The model in memory: one at a time, changed only when a job asks for another."""

    def __init__(self, models_dir: Path, *, threads: int) -> None:
        self._models_dir = models_dir
        self._threads = threads
        self._loaded: tuple[str, str] | None = None
        self._transcriber: Transcriber | None = None

    def transcriber(self, options: Options) -> Transcriber:
        """Ready to work with these options. Raises: SetupError: if the engine or the weights are not to be had."""
        wanted = (engines.choose(options.engine), options.model)
        if self._transcriber is None or self._loaded != wanted:
            self._transcriber = None  # frees the memory of the old one before the new one needs it
            began = time.monotonic()
            weights = resolve(options.model, engines.layout(wanted[0]), self._models_dir)
            try:
                engine = engines.load(wanted[0], weights.path, threads=self._threads)
            except (RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
                raise WeightsError(
                    f"The weights in {str(weights.path)!r} cannot be loaded by {wanted[0]} ({error}). "
                    "Remove them, so that they are fetched again, or name others."
                ) from error
            self._transcriber = Transcriber(engine)
            self._loaded = wanted
            log.info("model.loaded", engine=wanted[0], model=options.model, took_s=round(time.monotonic() - began, 1))
        return self._transcriber
