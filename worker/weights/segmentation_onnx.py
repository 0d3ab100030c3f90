"""Convert pyannote's segmentation model to ONNX.

Source of the architecture: pyannote/pyannote-audio, models/segmentation/PyanNet.py and models/blocks/sincnet.py; of the
filters: asteroid-filterbanks, param_sinc_fb.py.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightscribe.worker.weights.onnx_graph import Graph
from nightscribe.worker.weights.torch_file import Tensors

RATE = 16_000
STRIDE = 10  # samples from one position of the filters to the next
MIN_HZ = 50.0  # lowest frequency of a filter, and its smallest width
LAYERS = 4
LEAK = 0.01
NORM_EPSILON = 1e-5


def convert(tensors: Tensors, path: Path) -> None:
    """Write the model. Its input `waveforms` has the shape (batch, 1, samples), `scores` (batch, frames, 7).

    The scores are the log probabilities of nobody, of each of three speakers, and of each pair of them.

    Raises: KeyError: if a tensor is missing.
    """
    graph = Graph("segmentation")
    x = _normalised(graph, "waveforms", tensors, "sincnet.wav_norm1d")
    x = graph.add("Abs", graph.add("Conv", x, sinc_filters(tensors), strides=[STRIDE]))
    x = _pooled(graph, x, tensors, "sincnet.norm1d.0")
    for n in (1, 2):
        layer = f"sincnet.conv1d.{n}"
        x = graph.add("Conv", x, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"])
        x = _pooled(graph, x, tensors, f"sincnet.norm1d.{n}")
    x = graph.add("Transpose", x, perm=[2, 0, 1])  # frames, batch, features
    for n in range(LAYERS):
        x = _lstm(graph, x, tensors, n)
    for n in (0, 1):
        x = graph.add("LeakyRelu", _linear(graph, x, tensors, f"linear.{n}"), alpha=LEAK)
    x = graph.add("LogSoftmax", _linear(graph, x, tensors, "classifier"), axis=-1)
    x = graph.add("Transpose", x, perm=[1, 0, 2])
    graph.save(path, input_=("waveforms", ("batch", 1, "samples")), output=("scores", ("batch", "frames", 7)), value=x)


def sinc_filters(tensors: Tensors) -> NDArray[np.float32]:
    """Return the band-pass filters that the model has learned, shape (2 × n_bands, 1, n_taps): cosines, then sines."""
    prefix = "sincnet.conv1d.0.filterbank."
    low_hz, band_hz, window, times = (
        tensors[prefix + name].astype(np.float64) for name in ("low_hz_", "band_hz_", "window_", "n_")
    )
    low = MIN_HZ + np.abs(low_hz)  # (n_bands, 1)
    high = np.clip(low + MIN_HZ + np.abs(band_hz), MIN_HZ, RATE / 2)
    band = high - low
    half = window / (times / 2)  # (1, n_taps // 2), for the times before the centre
    cosines = (np.sin(high @ times) - np.sin(low @ times)) * half
    sines = (np.cos(low @ times) - np.cos(high @ times)) * half
    even = np.concatenate([cosines, 2 * band, cosines[:, ::-1]], axis=1)
    odd = np.concatenate([sines, np.zeros_like(band), -sines[:, ::-1]], axis=1)
    filters = np.concatenate([even / (2 * band), odd / (2 * band)])
    return filters[:, None, :].astype(np.float32)


def _normalised(graph: Graph, x: str, tensors: Tensors, layer: str) -> str:
    return graph.add(
        "InstanceNormalization", x, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"], epsilon=NORM_EPSILON
    )


def _pooled(graph: Graph, x: str, tensors: Tensors, layer: str) -> str:
    x = graph.add("MaxPool", x, kernel_shape=[3], strides=[3])
    return graph.add("LeakyRelu", _normalised(graph, x, tensors, layer), alpha=LEAK)


def _lstm(graph: Graph, x: str, tensors: Tensors, layer: int) -> str:
    """Add one layer that reads in both directions, from (frames, batch, features) to (frames, batch, 2 × hidden)."""
    ends = [f"_l{layer}", f"_l{layer}_reverse"]
    weights = [np.stack([_gates(tensors[f"lstm.{kind}{end}"]) for end in ends]) for kind in ("weight_ih", "weight_hh")]
    bias = [
        np.concatenate([_gates(tensors[f"lstm.bias_ih{end}"]), _gates(tensors[f"lstm.bias_hh{end}"])]) for end in ends
    ]
    hidden = weights[1].shape[-1]
    x = graph.add("LSTM", x, *weights, np.stack(bias), hidden_size=hidden, direction="bidirectional")
    x = graph.add("Transpose", x, perm=[0, 2, 1, 3])  # from frames, directions, batch, hidden
    return graph.add("Reshape", x, np.array([0, 0, -1]))


def _gates(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the gates in the order of ONNX (input, output, forget, cell), from that of PyTorch."""
    entry, forget, cell, out = np.split(array, 4)
    return np.concatenate([entry, out, forget, cell])


def _linear(graph: Graph, x: str, tensors: Tensors, layer: str) -> str:
    return graph.add("Add", graph.add("MatMul", x, tensors[f"{layer}.weight"].T), tensors[f"{layer}.bias"])
