"""Build Whisper's encoder and decoder as ONNX graphs from a state dict with OpenAI's names.

There are three graphs, so that nothing is computed twice: `encoder` turns a mel spectrogram into states, `memory` turns
the states into the keys and values that every decoder layer attends to, and `decoder` makes one step for any number of
texts. The decoder also returns the attention of the alignment heads, from which word times are computed.

All matrices are int8, and each row of what they multiply has a scale of its own. One scale for all rows would save a
third of the encoder's time, but cost words. With a scale for each row, its sums, which are whole numbers, do not depend
on the other rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nightscribe.worker.weights.checkpoint import HEAD_STATES

Array = NDArray[Any]

MICROSOFT = "com.microsoft"  # operators that ONNX Runtime adds
OPSET, MICROSOFT_OPSET, IR_VERSION = 18, 1, 10
BANNED = -1e9  # added to a logit: small enough to exclude a token, and finite
FLOAT, HALF, INT32, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64


class _Graph:
    """Collects the nodes of a graph; every method returns the name of a value."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._quantised: dict[str, tuple[str, str]] = {}
        self._n = 0

    def _name(self, stem: str) -> str:
        self._n += 1
        return f"{stem}_{self._n}"

    def constant(self, value: Any) -> str:
        """Add a constant; a list of numbers becomes one of int64."""
        name = self._name("constant")
        array = np.array(value, np.int64) if isinstance(value, (list, tuple)) else np.array(value, order="C")
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def floats(self, array: Array) -> str:
        return self.constant(array.astype(np.float32))

    def node(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add an operator and return its output, or a list of several outputs."""
        names = [self._name(kind.lower()) for _ in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def input(self, name: str, kind: int, *shape: int | str) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value: str, name: str, kind: int, *shape: int | str) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def keep(self, values: Sequence[str], names: Sequence[str], kind: int, *shape: int | str) -> None:
        """Make the outputs of the last node outputs of the graph, without a copy."""
        outputs = self._nodes[-1].output
        for value, name in zip(values, names, strict=True):
            outputs[list(outputs).index(value)] = name
            self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def save(self, path: Path) -> None:
        graph = helper.make_graph(self._nodes, path.stem, self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, MICROSOFT_OPSET)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), str(path))

    # Parts of a transformer

    def norm(self, x: str, state: Mapping[str, Array], name: str) -> str:
        weight, bias = self.floats(state[f"{name}.weight"]), self.floats(state[f"{name}.bias"])
        return str(self.node("LayerNormalization", x, weight, bias, epsilon=1e-5))

    def gelu(self, x: str) -> str:
        return str(self.node("Gelu", x, domain=MICROSOFT))

    def linear(self, x: str, weight: Array, bias: Array | None) -> str:
        """Multiply by a matrix of shape (n_outputs, n_inputs) in int8."""
        matrix, scales = quantised(weight)
        row, scale = self._row(x)
        product = self.node(
            "MatMulIntegerToFloat",
            row,
            self.constant(matrix),
            self.constant(np.float32(1)),
            self.floats(scales),
            self.constant(np.uint8(128)),
            self.constant(np.zeros_like(matrix[0])),
            domain=MICROSOFT,
        )
        product = self.node("Mul", product, scale)
        return str(product if bias is None else self.node("Add", product, self.floats(bias)))

    def _row(self, x: str) -> tuple[str, str]:
        """Return a matrix as uint8 around 128, and the scale of each row."""
        if x not in self._quantised:
            largest = self.node("ReduceMax", self.node("Abs", x), self.constant([-1]), keepdims=1)
            scale = self.node(
                "Div", self.node("Max", largest, self.constant(np.float32(1e-9))), self.constant(np.float32(127))
            )
            ratio = self.node("Div", x, scale)
            one, middle = self.constant(np.float32(1)), self.constant(np.uint8(128))
            self._quantised[x] = self.node("QuantizeLinear", ratio, one, middle), scale
        return self._quantised[x]

    def self_attention_inputs(self, x: str, state: Mapping[str, Array], name: str) -> list[str]:
        """Return queries, keys and values, which one multiplication computes."""
        query, key, value = (state[f"{name}.{part}.weight"] for part in ("query", "key", "value"))
        bias = np.concatenate(
            [state[f"{name}.query.bias"], np.zeros(len(key), np.float32), state[f"{name}.value.bias"]]
        )
        joined = self.linear(x, np.concatenate([query, key, value]), bias)
        return list(self.node("Split", joined, outputs=3, axis=2, num_outputs=3))

    def mlp(self, x: str, state: Mapping[str, Array], name: str) -> str:
        inner = self.linear(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"])
        return self.linear(self.gelu(inner), state[f"{name}.2.weight"], state[f"{name}.2.bias"])


def quantised(weight: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a matrix of shape (n_outputs, n_inputs) transposed as int8, with the scale of each output."""
    floats = weight.astype(np.float32)
    scales = np.maximum(np.abs(floats).max(axis=1), 1e-9) / 127
    return np.ascontiguousarray(np.round(floats / scales[:, None]).astype(np.int8).T), scales


def write_encoder(path: Path, dims: Mapping[str, int], state: Mapping[str, Array]) -> None:
    """Write the graph from `mel`, shape (1, n_mels, n_frames), to `states`, shape (1, n_frames / 2, n_states)."""
    graph = _Graph()
    x = graph.input("mel", FLOAT, 1, dims["n_mels"], "n_frames")
    for name, stride in (("conv1", 1), ("conv2", 2)):
        weight, bias = (graph.floats(state[f"encoder.{name}.{part}"]) for part in ("weight", "bias"))
        x = graph.gelu(graph.node("Conv", x, weight, bias, pads=[1, 1], strides=[stride]))
    x = graph.node("Transpose", x, perm=[0, 2, 1])
    length = graph.node("Shape", x, start=1, end=2)
    places = graph.floats(state["encoder.positional_embedding"])
    x = graph.node("Add", x, graph.node("Slice", places, graph.constant([0]), length, graph.constant([0])))
    heads = dims["n_audio_state"] // HEAD_STATES
    for n in range(dims["n_audio_layer"]):
        block = f"encoder.blocks.{n}"
        y = graph.norm(x, state, f"{block}.attn_ln")
        inputs = graph.self_attention_inputs(y, state, f"{block}.attn")
        y = graph.node("MultiHeadAttention", *inputs, domain=MICROSOFT, num_heads=heads)
        y = graph.linear(y, state[f"{block}.attn.out.weight"], state[f"{block}.attn.out.bias"])
        x = graph.node("Add", x, y)
        y = graph.norm(x, state, f"{block}.mlp_ln")
        x = graph.node("Add", x, graph.mlp(y, state, f"{block}.mlp"))
    x = graph.norm(x, state, "encoder.ln_post")
    graph.output(x, "states", FLOAT, 1, "n_positions", dims["n_audio_state"])
    graph.save(path)


def write_memory(path: Path, dims: Mapping[str, int], state: Mapping[str, Array]) -> None:
    """Write the graph from `states` to what each layer of the decoder attends to.

    `keys_N`: shape (n_heads, 64, n_positions). `values_N`: shape (n_heads, n_positions, 64).
    """
    graph = _Graph()
    layers, heads, width = dims["n_text_layer"], dims["n_text_state"] // HEAD_STATES, dims["n_text_state"]
    x = graph.input("states", FLOAT, 1, "n_positions", dims["n_audio_state"])
    names = [f"decoder.blocks.{n}.cross_attn.{kind}" for n in range(layers) for kind in ("key", "value")]
    nothing = np.zeros(width, np.float32)
    weight = np.concatenate([state[f"{name}.weight"] for name in names])
    bias = np.concatenate([state.get(f"{name}.bias", nothing) for name in names])
    all_layers = graph.linear(x, weight, bias)
    by_head = graph.constant([-1, heads, HEAD_STATES])
    for n, part in enumerate(graph.node("Split", all_layers, outputs=2 * layers, axis=2, num_outputs=2 * layers)):
        part = graph.node("Reshape", part, by_head)  # noqa: PLW2901
        if n % 2 == 0:
            keys = graph.node("Transpose", part, perm=[1, 2, 0])
            graph.keep([keys], [f"keys_{n // 2}"], FLOAT, heads, HEAD_STATES, "n_positions")
        else:
            values = graph.node("Transpose", part, perm=[1, 0, 2])
            graph.keep([values], [f"values_{n // 2}"], FLOAT, heads, "n_positions", HEAD_STATES)
    graph.save(path)


def write_decoder(
    path: Path,
    dims: Mapping[str, int],
    state: Mapping[str, Array],
    *,
    alignment_heads: Sequence[tuple[int, int]],
    banned: Sequence[int],
    watched: Sequence[int],
    candidates: int,
) -> None:
    """Write the graph of one step of `n_texts` texts about `n_windows` windows, as many about each.

    It attends to the silence that all windows share and to the sound of each; `mask`, shape (n_windows, 1, 1,
    n_silent + n_sound), is 0 where a window has a position and very small elsewhere. The keys and values of the text so
    far are written into the inputs `past_…`, which must be bound as the outputs `present_…` too.

    `banned`: tokens that are never written. `watched`: tokens whose probabilities are returned, among all tokens.
    `candidates`: how many of the likeliest tokens are returned. `noise` is added to the logits times `sharpness` to
    choose them; their log probabilities are without either.
    """
    graph = _Graph()
    heads, width = dims["n_text_state"] // HEAD_STATES, dims["n_text_state"]
    tokens = graph.input("tokens", INT64, "n_texts", "n_tokens")
    places = graph.input("places", INT64, "n_texts", "n_tokens")
    lengths = graph.input("before", INT32, "n_texts"), graph.input("total", INT32)
    mask = graph.input("mask", FLOAT, "n_windows", 1, 1, "n_attended")
    shapes = _Shapes(
        n_windows=graph.node("Shape", mask, start=0, end=1),
        by_text=graph.node("Concat", graph.node("Shape", tokens), graph.constant([width]), axis=0),
        heads=heads,
    )
    embedding = state["decoder.token_embedding.weight"]
    x = graph.node("Cast", graph.node("Gather", graph.constant(embedding.astype(np.float16)), tokens), to=FLOAT)
    x = graph.node("Add", x, graph.node("Gather", graph.floats(state["decoder.positional_embedding"]), places))
    attention = []
    for n in range(dims["n_text_layer"]):
        block = f"decoder.blocks.{n}"
        y = graph.norm(x, state, f"{block}.attn_ln")
        inputs = graph.self_attention_inputs(y, state, f"{block}.attn")
        past = [graph.input(f"past_{kind}_{n}", FLOAT, "n_texts", heads, "room", HEAD_STATES) for kind in ("k", "v")]
        y, *present = graph.node(
            "GroupQueryAttention", *inputs, *past, *lengths, outputs=3, domain=MICROSOFT, num_heads=heads,
            kv_num_heads=heads,
        )  # fmt: skip
        names = [f"present_{kind}_{n}" for kind in ("k", "v")]
        graph.keep(present, names, FLOAT, "n_texts", heads, "room", HEAD_STATES)
        y = graph.linear(y, state[f"{block}.attn.out.weight"], state[f"{block}.attn.out.bias"])
        x = graph.node("Add", x, y)
        y, on_sound = _cross_attention(
            graph, graph.norm(x, state, f"{block}.cross_attn_ln"), state, n, mask=mask, shapes=shapes
        )
        x = graph.node("Add", x, y)
        if chosen := [head for layer, head in alignment_heads if layer == n]:
            attention.append(graph.node("Gather", on_sound, graph.constant(chosen), axis=1))
        y = graph.norm(x, state, f"{block}.mlp_ln")
        x = graph.node("Add", x, graph.mlp(y, state, f"{block}.mlp"))
    x = graph.norm(graph.node("Gather", x, graph.constant(np.int64(-1)), axis=1), state, "decoder.ln")
    logits = graph.linear(x, embedding, None)
    _choose(graph, logits, dims["n_vocab"], banned=banned, watched=watched, candidates=candidates)
    followed = graph.node("Concat", *attention, axis=1)
    graph.output(
        followed, "attention", FLOAT, "n_windows", len(alignment_heads), "n_texts_of_window", "n_sound"
    )  # fmt: skip
    graph.save(path)


@dataclass(frozen=True)
class _Shapes:
    """Shapes between which the cross attention changes."""

    n_windows: str
    """(n_windows,)"""
    by_text: str
    """(n_texts, n_tokens, n_states)"""
    heads: int


def _cross_attention(
    graph: _Graph, x: str, state: Mapping[str, Array], layer: int, *, mask: str, shapes: _Shapes
) -> tuple[str, str]:
    """Return the output of a layer's cross attention, and its weights on the sound.

    The silence is the same for all windows, so all queries meet it in one multiplication for each head.
    """
    name, heads = f"decoder.blocks.{layer}.cross_attn", shapes.heads
    silent_k = graph.input(f"silent_k_{layer}", FLOAT, heads, HEAD_STATES, "n_silent")
    silent_v = graph.input(f"silent_v_{layer}", FLOAT, heads, "n_silent", HEAD_STATES)
    sound_k = graph.input(f"sound_k_{layer}", FLOAT, "n_windows", heads, HEAD_STATES, "n_sound")
    sound_v = graph.input(f"sound_v_{layer}", FLOAT, "n_windows", heads, "n_sound", HEAD_STATES)
    scale = HEAD_STATES**-0.5
    weight, bias = (state[f"{name}.query.{part}"].astype(np.float32) * scale for part in ("weight", "bias"))
    query = graph.linear(x, weight, bias)
    together = graph.constant([-1, heads, HEAD_STATES])
    by_window = graph.node("Concat", shapes.n_windows, together, axis=0)
    every = graph.node("Transpose", graph.node("Reshape", query, together), perm=[1, 0, 2])
    each = graph.node("Transpose", graph.node("Reshape", query, by_window), perm=[0, 2, 1, 3])
    silent = graph.node("Transpose", graph.node("MatMul", every, silent_k), perm=[1, 0, 2])
    n_silent = graph.node("Shape", silent_k, start=2, end=3)
    of_window = graph.node("Concat", shapes.n_windows, graph.constant([-1, heads]), n_silent, axis=0)
    silent = graph.node("Transpose", graph.node("Reshape", silent, of_window), perm=[0, 2, 1, 3])
    scores = graph.node("Concat", silent, graph.node("MatMul", each, sound_k), axis=3)
    weights = graph.node("Softmax", graph.node("Add", scores, mask), axis=3)
    parts = graph.node("Concat", n_silent, graph.node("Shape", sound_v, start=2, end=3), axis=0)
    on_silence, on_sound = graph.node("Split", weights, parts, outputs=2, axis=3)
    flat = graph.node("Transpose", on_silence, perm=[1, 0, 2, 3])
    flat = graph.node("Reshape", flat, graph.node("Concat", graph.constant([heads, -1]), n_silent, axis=0))
    flat = graph.node("Transpose", graph.node("MatMul", flat, silent_v), perm=[1, 0, 2])
    heard = graph.node("Transpose", graph.node("MatMul", on_sound, sound_v), perm=[0, 2, 1, 3])
    both = graph.node("Add", *(graph.node("Reshape", part, shapes.by_text) for part in (flat, heard)))
    return graph.linear(both, state[f"{name}.out.weight"], state[f"{name}.out.bias"]), on_sound


def _choose(
    graph: _Graph, logits: str, n_vocab: int, *, banned: Sequence[int], watched: Sequence[int], candidates: int
) -> None:
    """Add the outputs that are computed from the logits, which are too many to leave the graph."""
    noise, sharpness = graph.input("noise", FLOAT, "n_noises", "n_noisy"), graph.input("sharpness", FLOAT)
    ban = np.zeros(n_vocab, np.float32)
    ban[list(banned)] = BANNED
    allowed = graph.node("Add", logits, graph.floats(ban))
    noisy = graph.node("Add", graph.node("Mul", allowed, sharpness), noise)
    _, likeliest = graph.node("TopK", noisy, graph.constant([candidates]), outputs=2, axis=1)
    # One pass over the logits gives the sum over all tokens and that over the allowed ones.
    top = graph.node("ReduceMax", logits, graph.constant([1]), keepdims=1)
    both = graph.constant(np.stack([np.ones_like(ban), (ban == 0).astype(np.float32)], axis=1))
    sums = graph.node("MatMul", graph.node("Exp", graph.node("Sub", logits, top)), both)
    every, some = graph.node("Split", graph.node("Add", graph.node("Log", sums), top), outputs=2, axis=1, num_outputs=2)
    scores = graph.node("Sub", graph.node("GatherElements", allowed, likeliest, axis=1), some)
    seen = graph.node("Sub", graph.node("Gather", logits, graph.constant(list(watched)), axis=1), every)
    graph.output(likeliest, "likeliest", INT64, "n_texts", candidates)
    graph.output(scores, "log_probabilities", FLOAT, "n_texts", candidates)
    graph.output(seen, "watched", FLOAT, "n_texts", len(watched))
