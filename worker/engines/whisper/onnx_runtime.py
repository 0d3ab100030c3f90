"""Run Whisper on ONNX Runtime with int8, on a CPU, computing each thing once.

The keys and values that the decoder attends to are computed once for each window, and those of the silence after a
short window once for each model (see `faster_whisper.py` for why silence follows it). The attention from which word
times are computed is kept while decoding. What a window's words are does not depend on the windows decoded beside it.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import WeightsError
from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.whisper.alignment import match_of, path_through, timed
from nightscribe.worker.engines.whisper.mel import log_mel
from nightscribe.worker.engines.whisper.onnx_decoder import ROUND, Model, Task, decode
from nightscribe.worker.engines.whisper.recognizer import WhisperRecognizer
from nightscribe.worker.engines.whisper.runtime import (
    BEST_OF,
    FILLED_S,
    FRAMES,
    FULL_BEAMS,
    HOP,
    MAX_BEFORE,
    POSITION_S,
    SILENCE,
    WINDOW_S,
    Decoded,
    Encoded,
    batch_size,
    most_tokens,
    n_frames,
)
from nightscribe.worker.engines.whisper.search import Beams, Independent
from nightscribe.worker.weights.checkpoint import HEAD_STATES
from nightscribe.worker.weights.onnx_model import read_about
from nightscribe.worker.weights.vocabulary import Vocabulary

Floats = NDArray[np.float32]

FILLED = round(FILLED_S / POSITION_S)
SILENT = -(-FILLED // ROUND) * ROUND  # positions of silence that are kept


@dataclass
class _States:
    """The encoder's output for a window, shape (1, n_positions, n_states), and how often texts were sampled for it."""

    array: Floats
    times_sampled: int = 0


class OnnxWhisper:
    """A `Runtime` on ONNX Runtime."""

    name = f"onnx-whisper {version('onnxruntime')}"

    def __init__(self, weights: Path, *, threads: int) -> None:
        about = read_about(weights, checked=False)  # the resolver has checked them
        if about is None:
            raise WeightsError(f"{weights} is not a complete conversion of a model. Delete it, and it is made again.")
        self._dims = about.dims
        self._banned_first = about.banned_first
        self._vocabulary = Vocabulary(about.vocabulary)
        self._encoder, memory, decoder = (
            _session(weights / f"{name}.onnx", threads) for name in ("encoder", "memory", "decoder")
        )
        self._decoder = Model(memory, decoder)

    @property
    def batch_size(self) -> int:
        """See `Runtime.batch_size`. Twice as many as there are places, so that finished ones are taken again."""
        return 2 * self._n_places

    @property
    def _n_places(self) -> int:
        return batch_size(self._dims["n_text_state"], self._dims["n_text_layer"])

    @cached_property
    def _model(self) -> Model:
        """Return the decoder, with the keys and values of silence."""
        states = self._states(np.full((self._dims["n_mels"], FRAMES), SILENCE, np.float32))
        layers, heads = self._dims["n_text_layer"], self._dims["n_text_head"]
        keys = np.empty((layers, heads, HEAD_STATES, states.shape[1]), np.float32)
        values = np.empty((layers, heads, states.shape[1], HEAD_STATES), np.float32)
        self._decoder.remember(states, list(keys), list(values))
        self._decoder.silent = keys[..., :SILENT].copy(), values[:, :, :SILENT].copy()
        return self._decoder

    def encode(self, waveform: Waveform, *, full: bool = False) -> Encoded:
        """See `Runtime.encode`."""
        waveform = waveform[: round(WINDOW_S * RATE)]
        seconds = len(waveform) / RATE
        mel = log_mel(waveform, self._dims["n_mels"])
        # Whisper's own padding, digital silence, would stand out from the recording's noise as if it were a sound.
        padded = np.full((mel.shape[0], n_frames(seconds, full=full)), mel.min(), np.float32)
        padded[:, : len(waveform) // HOP] = mel[:, : len(waveform) // HOP]
        return Encoded(_States(self._states(padded)), seconds, full)

    def _states(self, mel: Floats) -> Floats:
        [states] = self._encoder.run(["states"], {"mel": mel[None]})
        return np.asarray(states)

    def detect_language(self, windows: Sequence[Encoded]) -> list[dict[str, float]]:
        """See `Runtime.detect_language`."""
        if not self._vocabulary.is_multilingual:
            return [{"en": 1.0}] * len(windows)
        tasks = [self._task(window, [self._vocabulary.start]) for window in windows]
        decode(self._model, tasks, n_places=self._n_places, n_texts=1, room=1)
        found = []
        for task in tasks:
            assert task.watched is not None  # noqa: S101  every task has passed the token after which it is taken
            odds = np.exp(task.watched[1:] - task.watched[1:].max())
            found.append(dict(zip(self._vocabulary.languages, (odds / odds.sum()).tolist(), strict=True)))
        return found

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
        end = self._vocabulary.end
        if not temperature and all(window.full for window in windows):
            beams = max(beams, FULL_BEAMS)
        n_texts = BEST_OF if temperature else beams
        kind = Independent if temperature or n_texts == 1 else Beams
        prompts = [
            [*self._vocabulary.before_text(text, MAX_BEFORE), *self._vocabulary.prompt(language, task)]
            for language, text in zip(languages, before or [""] * len(windows), strict=True)
        ]
        tasks = []
        for window, prompt in zip(windows, prompts, strict=True):
            new = self._task(window, prompt)
            new.search = kind(n_texts, end, most_tokens([window]))
            if temperature:
                new.noise = self._noise(window, n_texts)
            tasks.append(new)
        room = max(len(new.prompt) for new in tasks) + max(most_tokens([window]) for window in windows)
        decode(
            self._model,
            tasks,
            n_places=self._n_places,
            n_texts=n_texts,
            room=room,
            sharpness=1 / temperature if temperature else 1.0,
        )
        return [self._decoded(new) for new in tasks]

    def _task(self, window: Encoded, prompt: Sequence[int]) -> Task:
        states: Floats = window.states.array
        start_at = list(prompt).index(self._vocabulary.start)
        return Task(states, max(FILLED, states.shape[1]), prompt, start_at, None, self._banned_first)

    def _noise(self, window: Encoded, n_texts: int) -> Callable[[], Floats]:
        """Return a source of noise with which the likeliest token is a sample.

        The noise depends on the window and on how often it was sampled, but not on other windows.
        """
        states: _States = window.states
        states.times_sampled += 1
        random = np.random.default_rng([zlib.crc32(states.array[:, ::16].tobytes()), states.times_sampled])
        shape = n_texts, self._dims["n_vocab"]
        return lambda: -np.log(random.standard_exponential(shape, np.float32) + np.finfo(np.float32).tiny)

    def _decoded(self, task: Task) -> Decoded:
        assert task.search is not None  # noqa: S101
        assert task.watched is not None  # noqa: S101
        text = task.search.best()
        # The attention of a text's own row at each step: those of the prompt, which all rows share, come first.
        rows = (0,) * (len(task.prompt) - 1) + (0, *text.texts)
        attention = np.stack([step[:, row] for step, row in zip(task.attention, rows, strict=False)], axis=1)
        return Decoded(
            tokens=text.tokens,
            text=self._vocabulary.text(text.tokens).strip(),
            average_log_probability=text.average,
            no_speech_probability=float(np.exp(task.watched[0])),
            notes=(attention, len(task.prompt) - 1),
        )

    def align(
        self, windows: Sequence[Encoded], decoded: Sequence[Decoded], languages: Sequence[str], *, task: str
    ) -> list[list[Word]]:
        """See `Runtime.align`."""
        del task  # the attention is there already
        return [
            self._words(window, each, language) if each.tokens else []
            for window, each, language in zip(windows, decoded, languages, strict=True)
        ]

    def _words(self, window: Encoded, decoded: Decoded, language: str) -> list[Word]:
        attention, n_start = decoded.notes
        # Align words with the sound alone, without the silence after it.
        heard = attention[:, : n_start + len(decoded.tokens) + 1, : max(1, round(50 * window.seconds))]
        heard = heard / np.maximum(heard.sum(axis=2, keepdims=True), 1e-9)
        texts, pieces = self._vocabulary.words(decoded.tokens, language)
        return timed([*texts, ""], [*pieces, [self._vocabulary.end]], path_through(match_of(heard, n_start)))


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # every window has another length
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def load(_model: str, weights: Path, *, threads: int, compute_type: str = "int8") -> WhisperRecognizer:
    """Return the engine with the converted model in this folder, which is int8."""
    del compute_type
    return WhisperRecognizer(OnnxWhisper(weights, threads=threads))
