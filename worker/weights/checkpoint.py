"""Convert a CTranslate2 model to an OpenAI checkpoint by renaming its arrays, so that one download serves both."""

import math
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.process.liveness import LONG_S, report_alive
from nightscribe.worker.weights.cache_build import publish, workshop

Array = NDArray[Any]

FORMAT_VERSION = 6
TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}
HEAD_STATES = 64  # the width of an attention head in every Whisper model


class _FormatError(Exception):
    """The bytes are not the expected model. The message says why; the caller adds the name of the file."""


def convert(model_bin: Path, checkpoint: Path) -> None:
    """Write the weights of a CTranslate2 Whisper model as a checkpoint that `whisper.load_model` reads.

    Raises: WeightsError: if `model_bin` is not a float Whisper model or is truncated. OSError: if the disk fails.
    """
    dims, state = openai_weights(model_bin)
    report_alive(LONG_S)
    import torch

    content = {
        "dims": dims,
        # Copy: torch needs aligned memory that it owns, and a part of the mapped file is neither.
        "model_state_dict": {name: torch.from_numpy(np.array(array)) for name, array in state.items()},
    }
    with workshop(checkpoint) as scratch:
        built = scratch / checkpoint.name
        with built.open("wb") as file:
            torch.save(content, file)
        publish(built, checkpoint)


def openai_weights(model_bin: Path) -> tuple[dict[str, int], dict[str, Array]]:
    """Return the dimensions of a CTranslate2 Whisper model and its arrays by OpenAI's names.

    Raises: WeightsError: if it is not a float Whisper model or is truncated.
    """
    variables = read_variables(model_bin)
    try:
        return _dims(variables), _state(variables)
    except _FormatError as error:
        raise WeightsError(f"{model_bin} cannot be converted: {error}.") from None


def read_variables(model_bin: Path) -> dict[str, Array]:
    """Return the variables and aliases of a CTranslate2 model by name, as array views of the mapped file.

    Raises: WeightsError: if it is another kind of file or is truncated.
    Source: CTranslate2 python/ctranslate2/specs/model_spec.py, `_serialize`.
    """
    try:
        with model_bin.open("rb") as file:
            # The mapping lives as long as the arrays that view it.
            return _parse(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except OSError as error:
        raise WeightsError(f"{model_bin} cannot be read: {error.strerror}.") from error
    except (_FormatError, ValueError) as error:  # mmap refuses an empty file with a ValueError
        raise WeightsError(f"{model_bin} is not a complete CTranslate2 model: {error}. Download it again.") from None


class _Reader:
    """Reads little-endian fields in sequence, and never past the end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> memoryview:
        end = self._at + size
        if end > len(self._data):
            raise _FormatError("it ends too early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def number(self, form: str) -> int:
        return self.numbers(form)[0]

    def string(self) -> str:
        raw = bytes(self.take(self.number("H")))
        if not raw.endswith(b"\0"):
            raise _FormatError("one of its names is not terminated")
        return raw[:-1].decode(errors="replace")


def _parse(data: memoryview) -> dict[str, Array]:
    reader = _Reader(data)
    version = reader.number("I")
    if version != FORMAT_VERSION:
        raise _FormatError(f"its format version is {version}, but only {FORMAT_VERSION} is supported")
    spec = reader.string()
    reader.number("I")  # revision of the specification
    if spec != "WhisperSpec":
        raise _FormatError(f"it holds a {spec}, not a WhisperSpec")
    variables: dict[str, Array] = {}
    for _ in range(reader.number("I")):
        name = reader.string()
        shape = reader.numbers(f"{reader.number('B')}I")
        kind = TYPES.get(reader.number("B"))
        size = reader.number("I")
        raw = reader.take(size)
        if kind is None:
            continue  # bfloat16, which numpy lacks; a variable that is needed is reported as missing
        if size != math.prod(shape) * kind.itemsize:
            raise _FormatError(f"{name} has {size} bytes for a shape of {shape}")
        variables[name] = np.frombuffer(raw, kind).reshape(shape)
    for _ in range(reader.number("I")):
        alias, name = reader.string(), reader.string()
        if name in variables:
            variables[alias] = variables[name]
    return variables


def _floats(variables: dict[str, Array], name: str, rank: int) -> Array:
    if name not in variables:
        raise _FormatError(f"it has no {name} in float16 or float32")
    if variables[name].dtype.kind != "f":
        raise _FormatError(f"{name} is quantised; only float16 and float32 models can be converted")
    if variables[name].ndim != rank:
        raise _FormatError(f"{name} has {variables[name].ndim} dimensions instead of {rank}")
    return variables[name]


def _parts(variables: dict[str, Array], name: str, count: int) -> list[Array]:
    """Split an array that was stacked along axis 0 into `count` parts."""
    stacked = _floats(variables, name, 2 if name.endswith("/weight") else 1)
    if len(stacked) % count:
        raise _FormatError(f"{name} is not {count} stacked matrices")
    return np.split(stacked, count)


def _layers(variables: dict[str, Array], side: str) -> int:
    return len({name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_") and name.count("/") > 2})


def _dims(variables: dict[str, Array]) -> dict[str, int]:
    """Return the fields of whisper.model.ModelDimensions."""
    n_vocab, n_text_state = _floats(variables, "decoder/embeddings/weight", 2).shape
    n_text_ctx, _ = _floats(variables, "decoder/position_encodings/encodings", 2).shape
    n_audio_ctx, _ = _floats(variables, "encoder/position_encodings/encodings", 2).shape
    n_audio_state, n_mels, _ = _floats(variables, "encoder/conv1/weight", 3).shape
    return {
        "n_mels": n_mels,
        "n_vocab": n_vocab,
        "n_audio_ctx": n_audio_ctx,
        "n_audio_state": n_audio_state,
        "n_audio_head": n_audio_state // HEAD_STATES,
        "n_audio_layer": _layers(variables, "encoder"),
        "n_text_ctx": n_text_ctx,
        "n_text_state": n_text_state,
        "n_text_head": n_text_state // HEAD_STATES,
        "n_text_layer": _layers(variables, "decoder"),
    }


def _state(variables: dict[str, Array]) -> dict[str, Array]:
    """Return the arrays by OpenAI's names.

    Source: CTranslate2 converters/transformers.py and openai/whisper model.py.
    """
    state: dict[str, Array] = {}

    def same(openai: str, ours: str, rank: int = 2) -> None:
        state[f"{openai}.weight"] = _floats(variables, f"{ours}/weight", rank)
        state[f"{openai}.bias"] = _floats(variables, f"{ours}/bias", 1)

    def norm(openai: str, ours: str) -> None:
        state[f"{openai}.weight"] = _floats(variables, f"{ours}/gamma", 1)
        state[f"{openai}.bias"] = _floats(variables, f"{ours}/beta", 1)

    def split(openai: str, names: tuple[str, ...], ours: str) -> None:
        weights, biases = (_parts(variables, f"{ours}/{kind}", len(names)) for kind in ("weight", "bias"))
        for name, weight, bias in zip(names, weights, biases, strict=True):
            state[f"{openai}.{name}.weight"] = weight
            if name != "key":
                state[f"{openai}.{name}.bias"] = bias
            elif bias.any():
                raise _FormatError(f"{ours} has a bias for the key, which OpenAI's model does not have")

    for convolution in ("conv1", "conv2"):
        same(f"encoder.{convolution}", f"encoder/{convolution}", rank=3)
    norm("encoder.ln_post", "encoder/layer_norm")
    norm("decoder.ln", "decoder/layer_norm")
    state["decoder.token_embedding.weight"] = _floats(variables, "decoder/embeddings/weight", 2)
    for side in ("encoder", "decoder"):
        state[f"{side}.positional_embedding"] = _floats(variables, f"{side}/position_encodings/encodings", 2)
        for number in range(_layers(variables, side)):
            block, layer = f"{side}.blocks.{number}", f"{side}/layer_{number}"
            norm(f"{block}.attn_ln", f"{layer}/self_attention/layer_norm")
            split(f"{block}.attn", ("query", "key", "value"), f"{layer}/self_attention/linear_0")
            same(f"{block}.attn.out", f"{layer}/self_attention/linear_1")
            if side == "decoder":
                norm(f"{block}.cross_attn_ln", f"{layer}/attention/layer_norm")
                same(f"{block}.cross_attn.query", f"{layer}/attention/linear_0")
                split(f"{block}.cross_attn", ("key", "value"), f"{layer}/attention/linear_1")
                same(f"{block}.cross_attn.out", f"{layer}/attention/linear_2")
            norm(f"{block}.mlp_ln", f"{layer}/ffn/layer_norm")
            same(f"{block}.mlp.0", f"{layer}/ffn/linear_0")
            same(f"{block}.mlp.2", f"{layer}/ffn/linear_1")
    return state
