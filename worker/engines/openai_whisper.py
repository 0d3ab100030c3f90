"""OpenAI's own Whisper on torch: float32 on a CPU, float16 on a GPU."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch
import whisper

from shared.audio import Waveform
from shared.transcript import Segment

BEAM_SIZE = None  # greedy: five beams take more than twice as long, for no fewer errors (docs/performance.md)


class OpenAIWhisper:
    """See `Engine`."""

    name = f"openai-whisper {version('openai-whisper')}"

    def __init__(self, weights: Path, *, threads: int) -> None:
        torch.set_num_threads(threads)
        self._on_gpu = torch.cuda.is_available()
        self._model = whisper.load_model(str(weights), device="cuda" if self._on_gpu else "cpu")

    def detect_language(self, waveform: Waveform) -> dict[str, float]:
        """See `Engine.detect_language`."""
        if not self._model.is_multilingual:
            return {"en": 1.0}
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(waveform), self._model.dims.n_mels)
        _, probabilities = self._model.detect_language(mel.to(self._model.device))
        return dict(probabilities)

    def transcribe(self, waveform: Waveform, *, language: str, task: str) -> Iterator[Segment]:
        """See `Engine.transcribe`."""
        found = self._model.transcribe(
            waveform,
            language=language,
            task=task,
            beam_size=BEAM_SIZE,
            condition_on_previous_text=False,  # or one mistake is repeated for minutes
            no_speech_threshold=None,  # the worker's speech detector decides that, and is surer of it
            fp16=self._on_gpu,
        )
        for segment in found["segments"]:
            yield Segment(
                start_s=segment["start"],
                end_s=segment["end"],
                text=segment["text"].strip(),
                average_log_probability=segment["avg_logprob"],
                no_speech_probability=segment["no_speech_prob"],
                compression_ratio=segment["compression_ratio"],
            )
