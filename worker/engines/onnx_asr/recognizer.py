"""Recognize speech with models that report frames, through the library onnx-asr or decoded by ourselves."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx_asr
import onnxruntime
from numpy.typing import NDArray
from onnx_asr.asr import TimestampedResult

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import WeightsError
from nightscribe.worker.engines.base import Recognition, RecognitionRequest, SpeechWindow, WindowLimits
from nightscribe.worker.engines.onnx_asr.wav2vec2 import BLANK, Wav2Vec2
from nightscribe.worker.engines.onnx_asr.words import TimedToken, average, timed_words
from nightscribe.worker.weights.catalogue import MODELS
from nightscribe.worker.weights.kinds import Kind, Precision, graph_files
from nightscribe.worker.weights.model_folder import FrameModel, describe, names_in, read_config, read_vocabulary
from nightscribe.worker.weights.precision import precision

# Most of these models were trained with recordings of up to 20 or 30 s, and leave words out of much longer ones.
WINDOW_LIMITS = WindowLimits(shortest_s=12.0, longest_s=24.0)
# The work of wav2vec2's attention, which has 50 frames a second, grows fast with the window.
WAVEFORM_LIMITS = WindowLimits(shortest_s=8.0, longest_s=16.0)
SHORTEST_S = 0.5  # shorter sound is padded, because a model may need several frames
BATCH = 8
SURE_LOG_PROBABILITY = -0.4
SENTENCE_MARKS = frozenset(".?!。？！।")
ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider")


class _Acoustic(Protocol):
    """A model in memory."""

    at_once: int
    """How many windows it computes together."""

    def recognize(self, waveforms: Sequence[Waveform], language: str | None) -> Iterator["_Heard"]:
        """Yield what was said in each waveform."""
        ...


@dataclass(frozen=True)
class _Heard:
    tokens: Sequence[TimedToken] | None
    """None: the model reports no times."""
    text: str
    log_probabilities: Sequence[float | None]


class OnnxAsr:
    """A `Recognizer` for one model."""

    batch_size = BATCH

    def __init__(self, model: FrameModel, acoustic: "_Acoustic", used: Precision, vocabulary: Collection[str]) -> None:
        self.name = f"onnx-asr {version('onnx-asr')}" + (" int8" if used == "int8" else "")
        self.window_limits = WAVEFORM_LIMITS if model.kind == "wav2vec2-ctc" else WINDOW_LIMITS
        self._languages = model.languages
        self._acoustic = acoustic
        self._is_plain = is_plain(vocabulary)
        self._is_upper = _has_upper(vocabulary) and not _has_lower(vocabulary)

    def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
        """See `Recognizer.recognize`."""
        language = self._language(request)
        heard: list[_Heard] = []
        for first in range(0, len(windows), self._acoustic.at_once):
            request.check()
            some = windows[first : first + self._acoustic.at_once]
            heard += self._acoustic.recognize([_long_enough(window.waveform) for window in some], language)
        return [self._recognition(each, window, language) for each, window in zip(heard, windows, strict=True)]

    def _language(self, request: RecognitionRequest) -> str | None:
        """Return the language that is given, or the only one that is possible, or None: the model does not tell."""
        if request.language:
            return request.language
        possible = set(request.languages) or set(self._languages or ())
        return possible.pop() if len(possible) == 1 else None

    def _recognition(self, heard: _Heard, window: SpeechWindow, language: str | None) -> Recognition:
        logarithm = average(heard.log_probabilities)
        untimed = Recognition(
            text=self._cased(heard.text.strip()),
            language=language,
            average_log_probability=logarithm,
            is_sure=logarithm is None or logarithm >= SURE_LOG_PROBABILITY,
            is_plain=self._is_plain,
        )
        if heard.tokens is None:
            return untimed
        tokens = [token._replace(text=self._cased(token.text)) for token in heard.tokens]
        words, probabilities = timed_words(tokens, window.seconds)
        text = "".join(word.text for word in words).strip()
        return replace(untimed, text=text, words=words, word_probabilities=probabilities)

    def _cased(self, text: str) -> str:
        """Return text in small letters if the model knows only capitals, which say nothing."""
        return text.lower() if self._is_upper else text


class _Library:
    """A model that onnx-asr runs and decodes."""

    def __init__(self, model: FrameModel, folder: Path, used: Precision, options: Any) -> None:
        loaded = onnx_asr.load_model(
            model.kind, folder, quantization="int8" if used == "int8" else None, sess_options=options
        )
        self._model = loaded.with_timestamps()
        self._takes_language = model.kind in ("nemo-conformer-aed", "whisper", "whisper-ort")
        # Alone, a window is not padded to the length of others, so its words never depend on them.
        self.at_once = BATCH if any(each in ON_GPU for each in onnxruntime.get_available_providers()) else 1

    def recognize(self, waveforms: Sequence[Waveform], language: str | None) -> Iterator[_Heard]:
        """See `_Acoustic.recognize`."""
        given = language if self._takes_language else None
        batch: list[str | Path | NDArray[np.float32]] = [*waveforms]
        for result in self._model.recognize(batch, language=given):
            yield _heard(result)


class _Waveforms:
    """A model that reads waveforms, decoded by ourselves."""

    at_once = 1

    def __init__(self, model: Wav2Vec2) -> None:
        self._model = model

    def recognize(self, waveforms: Sequence[Waveform], language: str | None) -> Iterator[_Heard]:  # noqa: ARG002
        """See `_Acoustic.recognize`."""
        for waveform in waveforms:
            tokens = self._model.recognize(waveform)
            yield _Heard(tokens, "", [token.log_probability for token in tokens])


def load(model: str, weights: Path, *, threads: int, compute_type: str = "auto") -> OnnxAsr:
    """Load a model from its folder.

    Raises: WeightsError: if the folder does not hold a model that can be loaded.
    """
    found = describe(weights, known=MODELS.get(model))
    used = _precision(found.kind, weights, compute_type)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that spin slow down the others
    vocabulary = read_vocabulary(weights, found.kind)
    acoustic: _Acoustic
    if found.kind == "wav2vec2-ctc":
        if BLANK not in vocabulary.values():
            raise WeightsError(f"The vocabulary in {weights} has no {BLANK}. Convert the model again.")
        [graph, *_] = graph_files(found.kind, names_in(weights), used) or []
        acoustic = _Waveforms(Wav2Vec2(weights / graph, vocabulary, read_config(weights), options))
    else:
        acoustic = _Library(found, weights, used, options)
    return OnnxAsr(found, acoustic, used, set(vocabulary.values()))


def is_plain(vocabulary: Collection[str]) -> bool:
    """Return whether a model with these tokens writes neither capitals nor punctuation; False if it is unknown."""
    if not vocabulary:
        return False
    has_marks = any(mark in token for token in vocabulary if not token.startswith("<") for mark in SENTENCE_MARKS)
    return not has_marks and not (_has_upper(vocabulary) and _has_lower(vocabulary))


def _has_upper(vocabulary: Collection[str]) -> bool:
    return any(char.isupper() for char in chain.from_iterable(_texts(vocabulary)))


def _has_lower(vocabulary: Collection[str]) -> bool:
    return any(char.islower() for char in chain.from_iterable(_texts(vocabulary)))


def _texts(vocabulary: Collection[str]) -> Iterator[str]:
    return (token for token in vocabulary if not token.startswith(("<", "[")))


def _precision(kind: Kind, folder: Path, compute_type: str) -> Precision:
    """Return the precision to use, of those in the folder. Raises: WeightsError: if none is complete."""
    names = names_in(folder)
    there = {each for each in ("int8", "float32") if graph_files(kind, names, each)}
    wanted = precision(compute_type)
    if wanted in there:
        return wanted
    if not there:
        raise WeightsError(f"{folder} lacks a file of a model of the kind {kind}. Remove it and pull the model again.")
    if compute_type != "auto":
        raise WeightsError(f"The model in {folder} exists only in {there.pop()}. Leave --compute-type out.")
    return "float32" if "float32" in there else "int8"


def _long_enough(waveform: Waveform) -> Waveform:
    missing = round(SHORTEST_S * RATE) - len(waveform)
    return np.pad(waveform, (0, missing)) if missing > 0 else waveform


def _heard(result: TimestampedResult) -> _Heard:
    scores: Sequence[float | None] = result.logprobs or ()
    if result.timestamps is None or result.tokens is None:
        return _Heard(None, result.text, scores)
    known = scores or [None] * len(result.tokens)
    timed = zip(result.tokens, result.timestamps, known, strict=True)
    return _Heard([TimedToken(text, start_s, None, score) for text, start_s, score in timed], result.text, scores)
