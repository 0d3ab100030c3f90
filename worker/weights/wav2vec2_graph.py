"""Build wav2vec2 and HuBERT with a CTC head as an ONNX graph, from tensors with the names of transformers.

The graph takes waveforms and their lengths in samples, and returns the logarithms of the probabilities of each token,
for frames of 20 ms. Source: transformers, models/wav2vec2/modeling_wav2vec2.py and models/hubert/modeling_hubert.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights.onnx_graph import Graph

Array = NDArray[Any]

SAMPLE_EPSILON = 1e-7  # source: transformers, feature_extraction_wav2vec2.py
UNSUPPORTED = {
    "add_adapter": "an adapter after its encoder",
    "adapter_attn_dim": "adapters for languages (MMS)",
    "conv_pos_batch_norm": "a batch norm in its positions",
}


def check_config(config: Mapping[str, Any]) -> None:
    """Raise WeightsError if the checkpoint with this config.json has parts that are not converted."""
    for name, meaning in UNSUPPORTED.items():
        if config.get(name):
            raise WeightsError(f"The checkpoint has {meaning} ({name}), which nightscribe cannot convert.")
    for name in ("feat_extract_activation", "hidden_act"):
        if config.get(name, "gelu") != "gelu":
            raise WeightsError(f"The checkpoint has {name} {config[name]!r}, and nightscribe converts only gelu.")


def stride(config: Mapping[str, Any]) -> int:
    """Return the number of samples from one frame to the next."""
    return int(np.prod(config.get("conv_stride", (5, 2, 2, 2, 2, 2, 2))))


def write_wav2vec2(path: Path, tensors: Mapping[str, Array], config: Mapping[str, Any], *, normalizes: bool) -> None:
    """Write the graph. `normalizes`: the model expects sound with a mean of 0 and a variance of 1.

    Raises: WeightsError: if a tensor is missing, or the checkpoint has parts that are not converted.
    """
    check_config(config)
    try:
        _Builder(tensors, config).write(path, normalizes=normalizes)
    except KeyError as error:
        raise WeightsError(f"The checkpoint has no tensor {error}.") from error


class _Builder:
    def __init__(self, tensors: Mapping[str, Array], config: Mapping[str, Any]) -> None:
        self._tensors, self._config = tensors, config
        self._base = f"{config['model_type']}."
        self._graph = Graph(str(config["model_type"]))
        self._epsilon = float(config.get("layer_norm_eps", 1e-5))

    def write(self, path: Path, *, normalizes: bool) -> None:
        graph, config = self._graph, self._config
        x = self._normalized("input_values") if normalizes else "input_values"
        x = graph.add("Unsqueeze", x, np.array([1]))
        strides = config.get("conv_stride", (5, 2, 2, 2, 2, 2, 2))
        for layer in range(len(strides)):
            x = self._convolution(x, layer, int(strides[layer]))
        x = graph.add("Transpose", x, perm=[0, 2, 1])
        if config.get("feat_proj_layer_norm", True):
            x = self._norm(x, f"{self._base}feature_projection.layer_norm")
        x = self._linear(x, f"{self._base}feature_projection.projection")
        x = graph.add("Add", x, self._positions(x))
        is_stable = config.get("do_stable_layer_norm", False)
        encoder = f"{self._base}encoder"
        if not is_stable:
            x = self._norm(x, f"{encoder}.layer_norm")
        for number in range(int(config["num_hidden_layers"])):
            x = self._layer(x, f"{encoder}.layers.{number}", is_stable=is_stable)
        if is_stable:
            x = self._norm(x, f"{encoder}.layer_norm")
        x = graph.add("LogSoftmax", self._linear(x, "lm_head"), axis=-1)
        n_tokens = self._tensor("lm_head.weight").shape[0]
        graph.save(
            path,
            input_=("input_values", ("batch", "samples")),
            lengths=("input_lengths", ("batch",)),
            output=("logprobs", ("batch", "frames", int(n_tokens))),
            value=x,
        )

    def _tensor(self, name: str) -> Array:
        return np.asarray(self._tensors[name], np.float32)

    def _normalized(self, x: str) -> str:
        """Normalize each waveform by the mean and the variance of its own samples, and leave its padding at 0."""
        graph = self._graph
        n = graph.add("Gather", graph.add("Shape", x), np.array(1))
        numbers = graph.add("Range", np.array(0), n, np.array(1))
        lengths = graph.add("Unsqueeze", "input_lengths", np.array([1]))
        mask = graph.add("Cast", graph.add("Less", numbers, lengths), to=1)
        count = graph.add("Cast", lengths, to=1)
        axis = np.array([1])
        mean = graph.add("Div", graph.add("ReduceSum", graph.add("Mul", x, mask), axis), count)
        centred = graph.add("Mul", graph.add("Sub", x, mean), mask)
        variance = graph.add("Div", graph.add("ReduceSum", graph.add("Mul", centred, centred), axis), count)
        deviation = graph.add("Sqrt", graph.add("Add", variance, np.array(SAMPLE_EPSILON, np.float32)))
        return graph.add("Div", centred, deviation)

    def _convolution(self, x: str, layer: int, step: int) -> str:
        graph = self._graph
        name = f"{self._base}feature_extractor.conv_layers.{layer}"
        parameters = [self._tensor(f"{name}.conv.weight")]
        if self._config.get("conv_bias", False):
            parameters.append(self._tensor(f"{name}.conv.bias"))
        x = graph.add("Conv", x, *parameters, strides=[step])
        if self._config.get("feat_extract_norm", "group") == "layer":
            x = graph.add("Transpose", x, perm=[0, 2, 1])
            x = self._norm(x, f"{name}.layer_norm", epsilon=1e-5)
            x = graph.add("Transpose", x, perm=[0, 2, 1])
        elif layer == 0:  # one group for each channel
            weight, bias = (self._tensor(f"{name}.layer_norm.{part}") for part in ("weight", "bias"))
            x = graph.add("InstanceNormalization", x, weight, bias, epsilon=1e-5)
        return self._gelu(x)

    def _positions(self, x: str) -> str:
        """Return the positions, which a wide convolution computes from the states."""
        graph = self._graph
        name = f"{self._base}encoder.pos_conv_embed.conv"
        weight = self._position_weight(name)
        width = weight.shape[2]
        y = graph.add("Transpose", x, perm=[0, 2, 1])
        y = graph.add(
            "Conv",
            y,
            weight,
            self._tensor(f"{name}.bias"),
            group=int(self._config.get("num_conv_pos_embedding_groups", 16)),
            # An even width would make one frame too many, which is cut off at the end.
            pads=[width // 2, width // 2 - (1 - width % 2)],
        )
        return graph.add("Transpose", self._gelu(y), perm=[0, 2, 1])

    def _position_weight(self, name: str) -> Array:
        """Return a weight that is stored as direction and length of its slices. Source: torch, weight_norm, dim=2."""
        if f"{name}.weight_g" in self._tensors:
            length, direction = self._tensor(f"{name}.weight_g"), self._tensor(f"{name}.weight_v")
        else:
            length = self._tensor(f"{name}.parametrizations.weight.original0")
            direction = self._tensor(f"{name}.parametrizations.weight.original1")
        norm = np.sqrt(np.square(direction.astype(np.float64)).sum(axis=(0, 1), keepdims=True))
        return np.asarray(length * direction / norm, np.float32)

    def _layer(self, x: str, name: str, *, is_stable: bool) -> str:
        graph = self._graph
        if is_stable:
            x = graph.add("Add", x, self._attention(self._norm(x, f"{name}.layer_norm"), f"{name}.attention"))
            return graph.add("Add", x, self._feed_forward(self._norm(x, f"{name}.final_layer_norm"), name))
        x = self._norm(graph.add("Add", x, self._attention(x, f"{name}.attention")), f"{name}.layer_norm")
        return self._norm(graph.add("Add", x, self._feed_forward(x, name)), f"{name}.final_layer_norm")

    def _feed_forward(self, x: str, name: str) -> str:
        x = self._gelu(self._linear(x, f"{name}.feed_forward.intermediate_dense"))
        return self._linear(x, f"{name}.feed_forward.output_dense")

    def _attention(self, x: str, name: str) -> str:
        graph = self._graph
        heads = int(self._config["num_attention_heads"])
        size = self._tensor(f"{name}.q_proj.weight").shape[0] // heads
        divided, joined = np.array([0, 0, heads, size]), np.array([0, 0, heads * size])

        def head(part: str, perm: list[int], scale: float = 1.0) -> str:
            states = self._linear(x, f"{name}.{part}", scale)
            return graph.add("Transpose", graph.add("Reshape", states, divided), perm=perm)

        queries = head("q_proj", [0, 2, 1, 3], size**-0.5)
        keys, values = head("k_proj", [0, 2, 3, 1]), head("v_proj", [0, 2, 1, 3])
        shares = graph.add("Softmax", graph.add("MatMul", queries, keys), axis=-1)
        mixed = graph.add("Transpose", graph.add("MatMul", shares, values), perm=[0, 2, 1, 3])
        return self._linear(graph.add("Reshape", mixed, joined), f"{name}.out_proj")

    def _linear(self, x: str, name: str, scale: float = 1.0) -> str:
        graph = self._graph
        weight, bias = self._tensor(f"{name}.weight") * scale, self._tensor(f"{name}.bias") * scale
        product = graph.add("MatMul", x, np.asarray(weight.T, np.float32))
        return graph.add("Add", product, np.asarray(bias, np.float32))

    def _norm(self, x: str, name: str, epsilon: float | None = None) -> str:
        weight, bias = self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias")
        used = self._epsilon if epsilon is None else epsilon
        return self._graph.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=used)

    def _gelu(self, x: str) -> str:
        """Add the exact form of GELU, which ONNX Runtime recognizes and computes at once."""
        graph = self._graph
        erf = graph.add("Erf", graph.add("Div", x, np.array(np.sqrt(2), np.float32)))
        half = graph.add("Mul", x, graph.add("Add", erf, np.array(1, np.float32)))
        return graph.add("Mul", half, np.array(0.5, np.float32))
