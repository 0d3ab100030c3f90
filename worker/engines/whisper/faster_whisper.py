"""Run Whisper on CTranslate2, with int8 on a CPU and float16 on a GPU.

Whisper's encoder was made for windows of 30 s and spends most of its work on the padding of a short window. Here it
encodes the window without that padding, and its output for silence is appended afterwards, so that the decoder attends
to input like that of its training. Without that tail, it repeats itself.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import ctranslate2
import numpy as np

if find_spec("av") is None:
    # faster_whisper imports it to decode files, which ffmpeg does here; build.sh leaves it out, for it takes 100 MB.
    sys.modules["av"] = ModuleType("av")

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.whisper.alignment import aligned
from nightscribe.worker.engines.whisper.recognizer import WhisperRecognizer
from nightscribe.worker.engines.whisper.runtime import (
    BEST_OF,
    FRAMES,
    FULL_BEAMS,
    HOP,
    MAX_BEFORE,
    SILENCE,
    WINDOW_S,
    Decoded,
    Encoded,
    batch_size,
    most_tokens,
    n_frames,
    n_positions,
    stacked,
)


class FasterWhisper:
    """A `Runtime` on CTranslate2."""

    name = f"faster-whisper {version('faster-whisper')}"

    def __init__(self, weights: Path, *, threads: int, compute_type: str = "auto") -> None:
        self._on_gpu = ctranslate2.get_cuda_device_count() > 0
        device = "cuda" if self._on_gpu else "cpu"
        if compute_type == "auto":
            compute_type = "float16" if self._on_gpu else "int8"
        elif compute_type not in (able := ctranslate2.get_supported_compute_types(device)):
            raise SetupError(
                f"This machine cannot compute in {compute_type} with faster-whisper; --compute-type can be auto, or "
                f"{', '.join(sorted(able))}."
            )
        self._whisper = WhisperModel(
            str(weights),
            device=device,
            compute_type=compute_type,
            cpu_threads=threads,
            local_files_only=True,
        )
        self._model = self._whisper.model
        self._mel = self._whisper.feature_extractor
        self._tokenizers: dict[tuple[str, str], Tokenizer] = {}

    @cached_property
    def _tail(self) -> NDArray[Any]:
        """Return the encoder output for a whole window of silence, shape (1, 1500, n_states)."""
        return self._states(np.full((self._model.n_mels, FRAMES), SILENCE, np.float32))

    @cached_property
    def batch_size(self) -> int:
        """See `Runtime.batch_size`."""
        return batch_size(self._tail.shape[2])

    def encode(self, waveform: Waveform, *, full: bool = False) -> Encoded:
        """See `Runtime.encode`."""
        waveform = waveform[: round(WINDOW_S * RATE)]
        seconds = len(waveform) / RATE
        mel = self._mel(waveform, padding=HOP)[:, : max(1, len(waveform) // HOP)]
        # Whisper's own padding, digital silence, would stand out from the recording's noise as if it were a sound.
        padded = np.full((mel.shape[0], n_frames(seconds, full=full)), mel.min(), np.float32)
        padded[:, : mel.shape[1]] = mel
        return Encoded(self._states(padded), seconds, full)

    def _states(self, mel: NDArray[np.float32]) -> NDArray[Any]:
        encoded = self._model.encode(ctranslate2.StorageView.from_array(mel[None]), to_cpu=self._on_gpu)
        return np.array(encoded)

    def detect_language(self, windows: Sequence[Encoded]) -> list[dict[str, float]]:
        """See `Runtime.detect_language`."""
        if not self._model.is_multilingual:
            return [{"en": 1.0}] * len(windows)
        found = self._model.detect_language(self._filled(windows))
        return [{token.strip("<|>"): probability for token, probability in each} for each in found]

    def decode(
        self,
        windows: Sequence[Encoded],
        languages: Sequence[str],
        *,
        task: str,
        temperature: float = 0.0,
        beams: int = 1,
        before: Sequence[str] = (),
    ) -> list[Decoded]:
        """See `Runtime.decode`."""
        tokenizers = [self._tokenizer(language, task) for language in languages]
        prompts = [
            [*_before(tokenizer, text), *tokenizer.sot_sequence, tokenizer.no_timestamps]
            for tokenizer, text in zip(tokenizers, before or [""] * len(windows), strict=True)
        ]
        if not temperature and all(window.full for window in windows):
            beams = max(beams, FULL_BEAMS)
        found: dict[int, Decoded] = {}
        # The library takes prompts of one length at a time.
        for length in dict.fromkeys(map(len, prompts)):
            some = [n for n, prompt in enumerate(prompts) if len(prompt) == length]
            results = self._generate([windows[n] for n in some], [prompts[n] for n in some], temperature, beams)
            found |= {n: _decoded(result, tokenizers[n]) for n, result in zip(some, results, strict=True)}
        return [found[n] for n in range(len(windows))]

    def _generate(
        self, windows: Sequence[Encoded], prompts: Sequence[Sequence[int]], temperature: float, beams: int
    ) -> Any:
        if temperature:
            search = {
                "beam_size": 1,
                "sampling_topk": 0,
                "sampling_temperature": temperature,
                "num_hypotheses": BEST_OF,
            }
        else:
            search = {"beam_size": beams}
        return self._model.generate(
            self._filled(windows),
            prompts,
            max_length=len(prompts[0]) + most_tokens(windows),
            return_scores=True,
            return_no_speech_prob=True,
            **search,
        )

    def align(
        self, windows: Sequence[Encoded], decoded: Sequence[Decoded], languages: Sequence[str], *, task: str
    ) -> list[list[Word]]:
        """See `Runtime.align`."""
        return aligned(
            windows,
            decoded,
            languages,
            tokenizer=lambda language: self._tokenizer(language, task),
            paths=self._paths,
        )

    def _paths(
        self, windows: Sequence[Encoded], decoded: Sequence[Decoded], tokenizer: Tokenizer
    ) -> Iterator[list[tuple[int, int]]]:
        # Align words with the sound alone, without the silence after it.
        size = max(w.states.shape[1] for w in windows)
        results = self._model.align(
            _view(stacked(windows, np.zeros_like(self._tail), size, np.concatenate)),
            tokenizer.sot_sequence,
            [list(each.tokens) for each in decoded],
            [max(1, round(100 * window.seconds)) for window in windows],
        )
        return (result.alignments for result in results)

    def _filled(self, windows: Sequence[Encoded]) -> ctranslate2.StorageView:
        """Return the windows, each followed by silence, shape (n_windows, n_positions, n_states)."""
        size = n_positions(w.states.shape[1] for w in windows)
        return _view(stacked(windows, self._tail, size, np.concatenate))

    def _tokenizer(self, language: str, task: str) -> Tokenizer:
        if (language, task) not in self._tokenizers:
            self._tokenizers[language, task] = Tokenizer(
                self._whisper.hf_tokenizer, self._model.is_multilingual, task=task, language=language
            )
        return self._tokenizers[language, task]


def _before(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the tokens that tell the model which text precedes a window."""
    return [tokenizer.sot_prev, *tokenizer.encode(f" {text.strip()}")[-MAX_BEFORE:]] if text.strip() else []


def _decoded(result: Any, tokenizer: Tokenizer) -> Decoded:
    best = max(range(len(result.scores)), key=lambda n: result.scores[n])
    tokens = [token for token in result.sequences_ids[best] if token < tokenizer.eot]
    return Decoded(
        tokens=tuple(tokens),
        text=tokenizer.decode(tokens).strip(),
        # The library does not count the end-of-text token, but Whisper does.
        average_log_probability=result.scores[best] * len(tokens) / (len(tokens) + 1),
        no_speech_probability=result.no_speech_prob,
    )


def _view(states: NDArray[Any]) -> ctranslate2.StorageView:
    return ctranslate2.StorageView.from_array(states)


def load(_model: str, weights: Path, *, threads: int, compute_type: str = "auto") -> WhisperRecognizer:
    """Return the engine with the model in this folder. Raises: SetupError: if it cannot compute with these numbers."""
    return WhisperRecognizer(FasterWhisper(weights, threads=threads, compute_type=compute_type))
