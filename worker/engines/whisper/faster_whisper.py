"""Whisper on CTranslate2: int8 on a CPU, float16 on a GPU.

Whisper's encoder is made for windows of 30 s, and most of the work on a short one is on its padding. Here a window is
encoded as long as it is, and what the encoder makes of silence is appended to it, so that the decoder attends to
something it was trained on; without that tail it repeats itself.
"""

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from numpy.typing import NDArray

from nightscribe.shared.audio.decode import RATE, Waveform
from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.whisper.alignment import timed
from nightscribe.worker.engines.whisper.base import (
    BEST_OF,
    FRAMES,
    HOP,
    SILENCE,
    WINDOW_S,
    Decoded,
    Encoded,
    batch_size,
    most_tokens,
    n_frames,
    n_positions,
)

FULL_BEAMS = 5  # where a window is heard a second time, its best is wanted, not its quickest


class FasterWhisper:
    """See `Engine`."""

    name = f"faster-whisper {version('faster-whisper')}"

    def __init__(self, weights: Path, *, threads: int) -> None:
        self._on_gpu = ctranslate2.get_cuda_device_count() > 0
        self._whisper = WhisperModel(
            str(weights),
            device="cuda" if self._on_gpu else "cpu",
            compute_type="float16" if self._on_gpu else "int8",
            cpu_threads=threads,
            local_files_only=True,
        )
        self._model = self._whisper.model
        self._mel = self._whisper.feature_extractor
        self._tokenizers: dict[tuple[str, str], Tokenizer] = {}

    @cached_property
    def _tail(self) -> NDArray[Any]:
        """Encoder output of a whole window of silence, shape (1, 1500, n_states)."""
        return self._states(np.full((self._model.n_mels, FRAMES), SILENCE, np.float32))

    @cached_property
    def batch_size(self) -> int:
        """See `Engine.batch_size`."""
        return batch_size(self._tail.shape[2])

    def encode(self, waveform: Waveform, *, full: bool = False) -> Encoded:
        """See `Engine.encode`."""
        waveform = waveform[: round(WINDOW_S * RATE)]
        seconds = len(waveform) / RATE
        mel = self._mel(waveform, padding=HOP)[:, : max(1, len(waveform) // HOP)]
        # Whisper's own padding is silence, which to a short window is a sound of its own; the minimum is nearer to it.
        padded = np.full((mel.shape[0], n_frames(seconds, full=full)), mel.min(), np.float32)
        padded[:, : mel.shape[1]] = mel
        return Encoded(self._states(padded), seconds, full)

    def _states(self, mel: NDArray[np.float32]) -> NDArray[Any]:
        encoded = self._model.encode(ctranslate2.StorageView.from_array(mel[None]), to_cpu=self._on_gpu)
        return np.array(encoded)

    def detect_language(self, windows: Sequence[Encoded]) -> list[dict[str, float]]:
        """See `Engine.detect_language`."""
        if not self._model.is_multilingual:
            return [{"en": 1.0}] * len(windows)
        found = self._model.detect_language(self._filled(windows))
        return [{token.strip("<|>"): probability for token, probability in each} for each in found]

    def decode(
        self, windows: Sequence[Encoded], languages: Sequence[str], *, task: str, temperature: float = 0.0
    ) -> list[Decoded]:
        """See `Engine.decode`."""
        tokenizers = [self._tokenizer(language, task) for language in languages]
        prompts = [[*tokenizer.sot_sequence, tokenizer.no_timestamps] for tokenizer in tokenizers]
        if temperature:
            how = {"beam_size": 1, "sampling_topk": 0, "sampling_temperature": temperature, "num_hypotheses": BEST_OF}
        else:
            how = {"beam_size": FULL_BEAMS if all(window.full for window in windows) else 1}
        results = self._model.generate(
            self._filled(windows),
            prompts,
            max_length=len(prompts[0]) + most_tokens(windows),
            return_scores=True,
            return_no_speech_prob=True,
            **how,
        )
        decoded = []
        for result, tokenizer in zip(results, tokenizers, strict=True):
            best = max(range(len(result.scores)), key=lambda n: result.scores[n])
            tokens = [token for token in result.sequences_ids[best] if token < tokenizer.eot]
            decoded.append(
                Decoded(
                    tokens=tuple(tokens),
                    text=tokenizer.decode(tokens).strip(),
                    # The score is by token, the end of the text not among them.
                    average_log_probability=result.scores[best] * len(tokens) / (len(tokens) + 1),
                    no_speech_probability=result.no_speech_prob,
                )
            )
        return decoded

    def align(
        self, windows: Sequence[Encoded], decoded: Sequence[Decoded], languages: Sequence[str], *, task: str
    ) -> list[list[Word]]:
        """See `Engine.align`."""
        found: list[list[Word]] = [[] for _ in windows]
        for language in sorted(set(languages)):
            chosen = [n for n, each in enumerate(languages) if each == language and decoded[n].tokens]
            if not chosen:
                continue
            tokenizer = self._tokenizer(language, task)
            results = self._model.align(
                _stacked([windows[n] for n in chosen]),
                tokenizer.sot_sequence,
                [list(decoded[n].tokens) for n in chosen],
                [max(1, round(100 * windows[n].seconds)) for n in chosen],
            )
            for n, result in zip(chosen, results, strict=True):
                texts, pieces = tokenizer.split_to_word_tokens([*decoded[n].tokens, tokenizer.eot])
                found[n] = timed(texts, pieces, result.alignments)
        return found

    def _filled(self, windows: Sequence[Encoded]) -> ctranslate2.StorageView:
        """The windows with silence behind each, shape (n_windows, n_positions, n_states)."""
        size = n_positions(w.states.shape[1] for w in windows)
        filled = [np.concatenate([w.states, self._tail[:, w.states.shape[1] : size]], axis=1) for w in windows]
        return ctranslate2.StorageView.from_array(np.concatenate(filled))

    def _tokenizer(self, language: str, task: str) -> Tokenizer:
        if (language, task) not in self._tokenizers:
            self._tokenizers[language, task] = Tokenizer(
                self._whisper.hf_tokenizer, self._model.is_multilingual, task=task, language=language
            )
        return self._tokenizers[language, task]


def _stacked(windows: Sequence[Encoded]) -> ctranslate2.StorageView:
    """The windows alone, which is all that words can be found in, shape (n_windows, n_positions, n_states)."""
    size = max(w.states.shape[1] for w in windows)
    stacked = np.zeros((len(windows), size, windows[0].states.shape[2]), windows[0].states.dtype)
    for row, window in zip(stacked, windows, strict=True):
        row[: window.states.shape[1]] = window.states[0]
    return ctranslate2.StorageView.from_array(stacked)
