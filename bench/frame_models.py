"""Measure how fast models with frames are, with random weights of the true shapes, beside Whisper.

Usage: PYTHONPATH=. python bench/frame_models.py RECORDING [--folder FOLDER] [--rounds N] [--models 110m,0.6b]

It builds a FastConformer CTC model with 115 million parameters and a TDT model with 600 million in the layout of NeMo's
export, in float32 and int8, and lets them take turns with Whisper `base` over the same sound, cut into the windows that
each engine asks for. It prints seconds of sound for each second of CPU time. What the random models write is worth
nothing, and how many tokens they write is set to what speech has.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.settings import Settings
from nightscribe.worker.engines import registry
from nightscribe.worker.engines.base import RecognitionRequest, Recognizer, SpeechSlice, SpeechWindow
from nightscribe.worker.pipeline.windows import cut

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
VOCABULARY = 1024
DURATIONS = 5
PREDICTOR = 640
LONGEST = 1000  # frames of 80 ms for which there are positions
BLANKS = 0.7  # share of the frames without a token, of which speech has about four a second


class Network:
    """Collects the nodes and the random weights of a graph."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: dict[str, NDArray[Any]] = {}

    def add(self, kind: str, *inputs: str | NDArray[Any], outputs: int = 1, **attributes: Any) -> str:
        names = [self.keep(each) if isinstance(each, np.ndarray) else each for each in inputs]
        made = [f"n{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, **attributes))
        return made[0]

    def keep(self, value: NDArray[Any]) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = value
        return name

    def random(self, *shape: int, fan_in: int | None = None) -> NDArray[np.float32]:
        scale = np.float32(3.4 / np.sqrt(fan_in or shape[0]))
        return (self._rng.random(shape, dtype=np.float32) - np.float32(0.5)) * scale

    def linear(self, x: str, n_in: int, n_out: int) -> str:
        return self.add("Add", self.add("MatMul", x, self.random(n_in, n_out)), self.random(n_out, fan_in=10_000))

    def norm(self, x: str, width: int) -> str:
        return self.add("LayerNormalization", x, np.ones(width, "f4"), np.zeros(width, "f4"), axis=-1)

    def silu(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def save(self, path: Path, inputs: dict[str, Any], outputs: dict[str, Any], values: list[str]) -> None:
        for name, value in zip(outputs, values, strict=True):
            self.nodes.append(helper.make_node("Identity", [value], [name]))
        ends = [[helper.make_tensor_value_info(n, *each) for n, each in side.items()] for side in (inputs, outputs)]
        constants = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, path.stem, *ends, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, str(path), save_as_external_data=True, location=f"{path.name}.data")


def encoder(net: Network, *, mels: int, layers: int, width: int, heads: int = 8, kernel: int = 9) -> str:
    """Add a FastConformer encoder with relative positions, and return its states, shape (1, n_frames, width)."""
    x = net.add("Unsqueeze", net.add("Transpose", "audio_signal", perm=[0, 2, 1]), np.array([1]))
    x = net.add("Relu", net.add("Conv", x, net.random(256, 1, 3, 3, fan_in=9), strides=[2, 2], pads=[1] * 4))
    for _ in range(2):
        x = net.add("Conv", x, net.random(256, 1, 3, 3, fan_in=9), strides=[2, 2], pads=[1] * 4, group=256)
        x = net.add("Relu", net.add("Conv", x, net.random(256, 256, 1, 1, fan_in=256)))
    x = net.add("Transpose", x, perm=[0, 2, 1, 3])
    x = net.linear(net.add("Reshape", x, np.array([0, 0, 256 * mels // 8])), 256 * mels // 8, width)
    n = net.add("Slice", net.add("Shape", x), np.array([1]), np.array([2]))
    table = net.keep(net.random(2 * LONGEST - 1, width, fan_in=3))
    first = net.add("Sub", np.array([LONGEST]), n)
    last = net.add("Sub", net.add("Add", n, np.array([LONGEST])), np.array([1]))
    positions = net.add("Unsqueeze", net.add("Slice", table, first, last, np.array([0])), np.array([0]))
    for _ in range(layers):
        x = _half(net, x, width)
        x = net.add("Add", x, _attention(net, net.norm(x, width), positions, n, width, heads))
        x = net.add("Add", x, _convolution(net, net.norm(x, width), width, kernel))
        x = net.norm(_half(net, x, width), width)
    return x


def _half(net: Network, x: str, width: int) -> str:
    y = net.silu(net.linear(net.norm(x, width), width, 4 * width))
    return net.add("Add", x, net.add("Mul", net.linear(y, 4 * width, width), np.array(0.5, "f4")))


def _attention(net: Network, x: str, positions: str, n: str, width: int, heads: int) -> str:
    size = width // heads
    divided = np.array([0, -1, heads, size])

    def head(value: str, perm: list[int]) -> str:
        return net.add("Transpose", net.add("Reshape", net.linear(value, width, width), divided), perm=perm)

    queries = head(x, [0, 2, 1, 3])
    keys, values, places = head(x, [0, 2, 3, 1]), head(x, [0, 2, 1, 3]), head(positions, [0, 2, 3, 1])
    by_content = net.add("MatMul", net.add("Add", queries, net.random(heads, 1, size, fan_in=9)), keys)
    by_place = net.add("MatMul", net.add("Add", queries, net.random(heads, 1, size, fan_in=9)), places)
    # Shift the rows against each other, as NeMo's `rel_shift` does.
    by_place = net.add("Pad", by_place, np.array([0, 0, 0, 1, 0, 0, 0, 0]))
    turned = net.add("Concat", np.array([1, heads, -1]), n, axis=0)
    by_place = net.add("Slice", net.add("Reshape", by_place, turned), np.array([1]), np.array([2**31]), np.array([2]))
    shape = net.add("Concat", np.array([1, heads]), n, np.array([-1]), axis=0)
    by_place = net.add("Slice", net.add("Reshape", by_place, shape), np.array([0]), n, np.array([3]))
    scores = net.add("Mul", net.add("Add", by_content, by_place), np.array(size**-0.5, "f4"))
    mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), values)
    joined = net.add("Reshape", net.add("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 0, width]))
    return net.linear(joined, width, width)


def _convolution(net: Network, x: str, width: int, kernel: int) -> str:
    halves = net.linear(x, width, 2 * width)
    one = net.add("Slice", halves, np.array([0]), np.array([width]), np.array([2]))
    other = net.add("Slice", halves, np.array([width]), np.array([2 * width]), np.array([2]))
    gated = net.add("Transpose", net.add("Mul", one, net.add("Sigmoid", other)), perm=[0, 2, 1])
    weight = net.random(width, 1, kernel, fan_in=kernel)
    y = net.add("Conv", gated, weight, group=width, pads=[kernel // 2, kernel // 2])
    return net.linear(net.add("Transpose", net.silu(y), perm=[0, 2, 1]), width, width)


def _signal(mels: int) -> dict[str, Any]:
    return {"audio_signal": (FLOAT, [1, mels, "time"]), "length": (INT64, [1])}


def _write_rest(folder: Path, kind: str, mels: int) -> None:
    tokens = [f"\u2581t{n}" if n % 2 else f"t{n}" for n in range(VOCABULARY)]
    lines = [f"{token} {n}\n" for n, token in enumerate([*tokens, "<blk>"])]
    (folder / "vocab.txt").write_text("".join(lines))
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "features_size": mels, "languages": ["en"]}))


def build_ctc(folder: Path) -> list[str]:
    """Write the CTC model, and return its graphs."""
    net = Network(0)
    states = encoder(net, mels=80, layers=17, width=512)
    logits = net.add("MatMul", states, net.random(512, VOCABULARY + 1))
    bias = np.zeros(VOCABULARY + 1, "f4")
    bias[-1] = 3.8
    logarithms = net.add("LogSoftmax", net.add("Add", logits, bias), axis=-1)
    outputs = {"logprobs": (FLOAT, [1, "frames", VOCABULARY + 1])}
    net.save(folder / "model.onnx", _signal(80), outputs, [logarithms])
    _write_rest(folder, "nemo-conformer-ctc", 80)
    return ["model"]


def build_tdt(folder: Path) -> list[str]:
    """Write the TDT model, and return its graphs."""
    net = Network(1)
    states = net.add("Transpose", encoder(net, mels=128, layers=24, width=1024), perm=[0, 2, 1])
    n = net.add("Slice", net.add("Shape", states), np.array([2]), np.array([3]))
    outputs = {"outputs": (FLOAT, [1, 1024, "frames"]), "encoded_lengths": (INT64, [1])}
    net.save(folder / "encoder-model.onnx", _signal(128), outputs, [states, n])
    net = Network(2)
    embedded = net.add("Gather", net.random(VOCABULARY + 1, PREDICTOR, fan_in=10), "targets")
    x = net.add("Transpose", embedded, perm=[1, 0, 2])
    h_out, c_out = [], []
    for layer in range(2):
        pick = np.array([layer]), np.array([layer + 1]), np.array([0])
        h, c = (net.add("Slice", f"input_states_{which}", *pick) for which in (1, 2))
        lstm = [net.random(1, 4 * PREDICTOR, PREDICTOR, fan_in=PREDICTOR) for _ in range(2)]
        out = net.add("LSTM", x, *lstm, np.zeros((1, 8 * PREDICTOR), "f4"), "", h, c, outputs=3, hidden_size=PREDICTOR)
        x = net.add("Squeeze", out, np.array([1]))
        h_out.append(out.replace("_0", "_1"))
        c_out.append(out.replace("_0", "_2"))
    states = net.linear(net.add("Transpose", "encoder_outputs", perm=[0, 2, 1]), 1024, PREDICTOR)
    predicted = net.linear(net.add("Transpose", x, perm=[1, 0, 2]), PREDICTOR, PREDICTOR)
    joined = net.add("Relu", net.add("Add", states, predicted))
    scores = net.add("MatMul", joined, net.random(PREDICTOR, VOCABULARY + 1 + DURATIONS))
    bias = np.zeros(VOCABULARY + 1 + DURATIONS, "f4")
    bias[VOCABULARY] = 2.1
    bias[VOCABULARY + 1] = -9  # a token takes at least a frame
    scores = net.add("Unsqueeze", net.add("Add", scores, bias), np.array([2]))
    state = (FLOAT, [2, 1, PREDICTOR])
    net.save(
        folder / "decoder_joint-model.onnx",
        {
            "encoder_outputs": (FLOAT, [1, 1024, 1]),
            "targets": (INT32, [1, 1]),
            "target_length": (INT32, [1]),
            "input_states_1": state,
            "input_states_2": state,
        },
        {
            "outputs": (FLOAT, [1, 1, 1, VOCABULARY + 1 + DURATIONS]),
            "output_states_1": state,
            "output_states_2": state,
        },
        [scores, net.add("Concat", *h_out, axis=0), net.add("Concat", *c_out, axis=0)],
    )
    _write_rest(folder, "nemo-conformer-tdt", 128)
    return ["encoder-model", "decoder_joint-model"]


MODELS: dict[str, Callable[[Path], list[str]]] = {"110m": build_ctc, "0.6b": build_tdt}


def prepared(name: str, folder: Path) -> Path:
    """Return the folder of a model in both precisions, building it if it does not exist."""
    target = folder / name
    if (target / "done").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    for graph in MODELS[name](target):
        quantize_dynamic(
            target / f"{graph}.onnx",
            target / f"{graph}.int8.onnx",
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
            extra_options={"MatMulConstBOnly": True},
        )
    (target / "done").touch()
    return target


def windows_for(engine: Recognizer, waveform: NDArray[np.float32]) -> list[SpeechWindow]:
    """Return the sound in the windows that an engine asks for."""
    slice_ = SpeechSlice()
    found = [SpeechWindow(each, start_s, slice_) for start_s, each in cut([waveform], **engine.window_limits._asdict())]
    slice_.waiting.extend(found)
    return found


def seconds_of_cpu(engine: Recognizer, waveform: NDArray[np.float32]) -> tuple[float, int]:
    """Return the CPU time that an engine takes, and the number of words that it writes."""
    all_windows = windows_for(engine, waveform)
    began, n_words = time.process_time(), 0
    for first in range(0, len(all_windows), engine.batch_size):
        for found in engine.recognize(
            all_windows[first : first + engine.batch_size], RecognitionRequest(language="en")
        ):
            n_words += len(found.words or ())
    return time.process_time() - began, n_words


def main() -> None:
    """Let the engines take turns, and print their speeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("bench-models"), help="Where the models are built.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    waveform = np.concatenate(list(Decoder(given.recording)))[: round(given.seconds * RATE)]
    engines: dict[str, Recognizer] = {}
    for name in ("faster-whisper", "onnx-whisper"):
        weights = registry.find_weights(name, "base", Settings().models_dir)
        engines[f"{name} base"] = registry.load(name, "base", weights.path, threads=given.threads)
    for name in given.models.split(","):
        folder = prepared(name, given.folder)
        module = registry.engine_spec("onnx-asr").load.partition(":")[0]
        load = __import__(module, fromlist=["load"]).load
        for precision in ("int8", "float32"):
            engines[f"{name} {precision}"] = load(str(folder), folder, threads=given.threads, compute_type=precision)
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(given.rounds + 1):  # the first round only warms up
        for name, engine in engines.items():
            took_s, n_words = seconds_of_cpu(engine, waveform)
            if number:
                taken[name].append(took_s)
            else:
                print(f"{name}: {n_words / (len(waveform) / RATE):.1f} words a second", flush=True)
    for name, each in taken.items():
        speeds = sorted(len(waveform) / RATE / took_s for took_s in each)
        print(
            f"{name:24} {median(speeds):6.1f} seconds of sound for a second of CPU ({speeds[0]:.1f}–{speeds[-1]:.1f})"
        )


if __name__ == "__main__":
    main()
