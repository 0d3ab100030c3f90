"""Small models in the layouts that publishers use: one that hears tones exactly, and one with random weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nightscribe.shared.audio.waveform import RATE, Waveform

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
Floats = NDArray[np.float32]

# Above the voice, and several bands of the mel spectrogram apart.
TONES = {"\u2581We": 4500.0, "\u2581hear": 5100.0, "\u2581tone": 5800.0, "s": 6600.0, ".": 7500.0}
BLANK = "<blk>"
TONE_S, PAUSE_S = 0.24, 0.16
FRAME_S = 0.08


def played(tokens: Sequence[str], *, start_s: float = 0.5, seconds: float | None = None, loud: float = 0.2) -> Waveform:
    """Tones for these tokens, one after the other, over soft noise; a token that is no tone is a pause."""
    n = round((seconds or start_s + len(tokens) * (TONE_S + PAUSE_S) + 0.5) * RATE)
    sound = np.random.default_rng(0).standard_normal(n).astype(np.float32) * loud / 100
    for number, token in enumerate(tokens):
        first = round((start_s + number * (TONE_S + PAUSE_S)) * RATE)
        if token in TONES:
            times = np.arange(round(TONE_S * RATE)) / RATE
            fade = np.minimum(1, np.minimum(times, times[::-1]) / 0.01)
            sound[first : first + len(times)] += (loud * fade * np.sin(2 * np.pi * TONES[token] * times)).astype("f4")
    return sound


def start_of(number: int, start_s: float = 0.5) -> float:
    """When the tone of that number begins."""
    return start_s + number * (TONE_S + PAUSE_S)


def tone_model(folder: Path, *, languages: Sequence[str] = ("en",), tokens: Mapping[str, float] = TONES) -> Path:
    """A NeMo CTC model whose tokens are tones: its weights are the bands of the mel spectrogram in which they lie."""
    folder.mkdir(parents=True, exist_ok=True)
    weight = np.zeros((80, len(tokens) + 1), np.float32)
    for number, hertz in enumerate(tokens.values()):
        weight[_band(hertz), number] = 4.0
    bias = np.zeros(len(tokens) + 1, np.float32)
    bias[-1] = 8.5  # the blank: a token has to be louder than the mean by more than two standard deviations
    nodes = [
        helper.make_node("AveragePool", ["audio_signal"], ["pooled"], kernel_shape=[8], strides=[8], ceil_mode=1),
        helper.make_node("Transpose", ["pooled"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["frames", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["logprobs"], axis=-1),
    ]
    _save(
        folder / "model.onnx",
        nodes,
        {"weight": weight, "bias": bias},
        {"audio_signal": (FLOAT, ["batch", 80, "time"]), "length": (INT64, ["batch"])},
        {"logprobs": (FLOAT, ["batch", "frames", len(tokens) + 1])},
    )
    _write_vocabulary(folder, [*tokens, BLANK])
    config = {"model_type": "nemo-conformer-ctc", "features_size": 80, "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(config | {"languages": list(languages)}))
    return folder


def _band(hertz: float) -> int:
    from onnx_asr.preprocessors.numpy_preprocessor import NemoPreprocessorNumpy

    times = np.arange(RATE) / RATE
    tone = np.where(times < 0.5, np.sin(2 * np.pi * hertz * times), 0)
    noise = np.random.default_rng(1).standard_normal(RATE) / 1000
    features, _ = NemoPreprocessorNumpy("nemo80")((tone + noise)[None].astype(np.float32), np.array([RATE]))
    energies = NemoPreprocessorNumpy("nemo80")
    bank = energies._melscale_fbanks
    assert features.shape[1] == bank.shape[1] == 80
    spectrum = np.abs(np.fft.rfft(tone[:512] * np.hanning(512))) ** 2
    return int((spectrum @ bank).argmax())


class Tdt(NamedTuple):
    """The weights of a tiny TDT model."""

    encoder: Floats  # (states, 128, 8)
    embedding: Floats  # (tokens, width)
    w: Floats  # (1, 4 * hidden, width)
    r: Floats  # (1, 4 * hidden, hidden)
    b: Floats  # (1, 8 * hidden)
    join_encoder: Floats  # (states, joint)
    join_predictor: Floats  # (hidden, joint)
    output: Floats  # (joint, tokens + durations)


STATES, WIDTH, HIDDEN, JOINT, DURATIONS = 12, 6, 10, 16, 5
PIECES = ["\u2581so", "\u2581it", "\u2581is", "n't", "ly", ".", ",", "\u2581", "A", BLANK]


def tdt_model(folder: Path, seed: int = 0) -> Tdt:
    """A TDT model with random weights, in the layout of NeMo's export."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)

    def weights(*shape: int, scale: float = 1.0) -> Floats:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    n = len(PIECES)
    made = Tdt(
        weights(STATES, 128, 8, scale=0.05),
        weights(n, WIDTH),
        weights(1, 4 * HIDDEN, WIDTH),
        weights(1, 4 * HIDDEN, HIDDEN),
        weights(1, 8 * HIDDEN, scale=0.3),
        weights(STATES, JOINT, scale=0.5),
        weights(HIDDEN, JOINT),
        weights(JOINT, n + DURATIONS),
    )
    nodes = [
        helper.make_node("Conv", ["audio_signal", "encoder"], ["outputs"], strides=[8]),
        helper.make_node("Div", ["length", "eight"], ["encoded_lengths"]),
    ]
    _save(
        folder / "encoder-model.onnx",
        nodes,
        {"encoder": made.encoder, "eight": np.array(8)},
        {"audio_signal": (FLOAT, ["batch", 128, "time"]), "length": (INT64, ["batch"])},
        {"outputs": (FLOAT, ["batch", STATES, "frames"]), "encoded_lengths": (INT64, ["batch"])},
    )
    nodes = [
        helper.make_node("Gather", ["embedding", "targets"], ["embedded"]),
        helper.make_node("Transpose", ["embedded"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(
            "LSTM",
            ["steps", "w", "r", "b", "", "input_states_1", "input_states_2"],
            ["all", "output_states_1", "output_states_2"],
            hidden_size=HIDDEN,
        ),
        helper.make_node("Transpose", ["output_states_1"], ["predicted"], perm=[1, 0, 2]),
        helper.make_node("Transpose", ["encoder_outputs"], ["heard"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["heard", "join_encoder"], ["from_encoder"]),
        helper.make_node("MatMul", ["predicted", "join_predictor"], ["from_predictor"]),
        helper.make_node("Add", ["from_encoder", "from_predictor"], ["joined"]),
        helper.make_node("Relu", ["joined"], ["active"]),
        helper.make_node("MatMul", ["active", "output"], ["scores"]),
        helper.make_node("Unsqueeze", ["scores", "two"], ["outputs"]),
    ]
    state = (FLOAT, [1, "batch", HIDDEN])
    _save(
        folder / "decoder_joint-model.onnx",
        nodes,
        {**{name: getattr(made, name) for name in Tdt._fields if name != "encoder"}, "two": np.array([2])},
        {
            "encoder_outputs": (FLOAT, ["batch", STATES, "frames"]),
            "targets": (INT32, ["batch", "texts"]),
            "target_length": (INT32, ["batch"]),
            "input_states_1": state,
            "input_states_2": state,
        },
        {
            "outputs": (FLOAT, ["batch", "frames", "texts", n + DURATIONS]),
            "output_states_1": state,
            "output_states_2": state,
        },
    )
    _write_vocabulary(folder, PIECES)
    config = {"model_type": "nemo-conformer-tdt", "features_size": 128, "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(config))
    return made


class Said(NamedTuple):
    """A token that the reference decoder found."""

    piece: str
    frame: int
    probability: float


def decoded_by_tdt(model: Tdt, features: Floats, n_features: int) -> list[Said]:
    """Decode greedily, step by step in numpy. `features`: shape (128, time)."""
    n_frames = n_features // 8
    frames = [np.einsum("sfk,fk->s", model.encoder, features[:, 8 * t : 8 * t + 8]) for t in range(n_frames)]
    h, c = np.zeros(HIDDEN), np.zeros(HIDDEN)
    last, found, at, here = len(PIECES) - 1, [], 0, 0
    while at < n_frames:
        next_h, next_c = _lstm(model, model.embedding[last], h, c)
        active = np.maximum(0, frames[at] @ model.join_encoder + next_h @ model.join_predictor)
        scores = active @ model.output
        tokens, durations = scores[: len(PIECES)], scores[len(PIECES) :]
        token, skip = int(tokens.argmax()), int(durations.argmax())
        if token != len(PIECES) - 1:
            odds = np.exp(tokens - tokens.max())
            found.append(Said(PIECES[token].replace("\u2581", " "), at, float(odds[token] / odds.sum())))
            last, h, c, here = token, next_h, next_c, here + 1
        if skip == 0 and (token == len(PIECES) - 1 or here == 10):
            skip = 1
        if skip:
            at, here = at + skip, 0
    return found


def _lstm(model: Tdt, x: Floats, h: NDArray[Any], c: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """One step. The gates are in the order of ONNX: input, output, forget, cell."""
    gates = model.w[0] @ x + model.r[0] @ h + model.b[0, : 4 * HIDDEN] + model.b[0, 4 * HIDDEN :]
    i, o, f = (1 / (1 + np.exp(-gates[n * HIDDEN : (n + 1) * HIDDEN])) for n in range(3))
    c = f * c + i * np.tanh(gates[3 * HIDDEN :])
    return o * np.tanh(c), c


def _write_vocabulary(folder: Path, tokens: Sequence[str]) -> None:
    lines = [f"{token} {number}\n" for number, token in enumerate(tokens)]
    (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")


def _save(
    path: Path,
    nodes: list[Any],
    constants: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, tuple[int, list[Any]]],
    outputs: Mapping[str, tuple[int, list[Any]]],
) -> None:
    ends = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in each.items()]
        for each in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, *ends, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
