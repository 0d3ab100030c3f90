"""Whisper on CTranslate2: int8 on a CPU, float16 on a GPU."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import ctranslate2
from faster_whisper import WhisperModel

from shared.audio import RATE, Waveform
from shared.transcript import Segment

BEAM_SIZE = 5  # against greedy: a tenth to a fifth slower, with as many errors or fewer (docs/performance.md)


class FasterWhisper:
    """See `Engine`."""

    name = f"faster-whisper {version('faster-whisper')}"

    def __init__(self, weights: Path, *, threads: int) -> None:
        on_gpu = ctranslate2.get_cuda_device_count() > 0
        self._model = WhisperModel(
            str(weights),
            device="cuda" if on_gpu else "cpu",
            compute_type="float16" if on_gpu else "int8",
            cpu_threads=threads,
            local_files_only=True,
        )

    def detect_language(self, waveform: Waveform) -> dict[str, float]:
        """See `Engine.detect_language`."""
        if not self._model.model.is_multilingual:
            return {"en": 1.0}
        _, _, probabilities = self._model.detect_language(waveform[: 30 * RATE])
        return dict(probabilities)

    def transcribe(self, waveform: Waveform, *, language: str, task: str) -> Iterator[Segment]:
        """See `Engine.transcribe`."""
        segments, _ = self._model.transcribe(
            waveform,
            language=language,
            task=task,
            beam_size=BEAM_SIZE,
            condition_on_previous_text=False,  # or one mistake is repeated for minutes
            no_speech_threshold=None,  # the worker's speech detector decides that, and is surer of it
        )
        for segment in segments:
            yield Segment(
                start_s=segment.start,
                end_s=segment.end,
                text=segment.text.strip(),
                average_log_probability=segment.avg_logprob,
                no_speech_probability=segment.no_speech_prob,
                compression_ratio=segment.compression_ratio,
            )
