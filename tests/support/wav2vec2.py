"""Tiny checkpoints of wav2vec2 and HuBERT with known weights, in the layout of the library transformers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOCABULARY = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5, "B": 6, "C": 7}

_SIZES: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "pad_token_id": 0,
    "layer_norm_eps": 1e-5,
}
VARIANTS: dict[str, dict[str, Any]] = {
    # facebook/wav2vec2-base-960h
    "base": {"model_type": "wav2vec2"},
    # facebook/wav2vec2-large-960h-lv60-self
    "stable": {
        "model_type": "wav2vec2",
        "feat_extract_norm": "layer",
        "conv_bias": True,
        "do_stable_layer_norm": True,
    },
    # facebook/hubert-base-ls960, with an odd width of its positions
    "hubert": {"model_type": "hubert", "feat_proj_layer_norm": False, "num_conv_pos_embeddings": 7},
}


def config_of(variant: str) -> dict[str, Any]:
    """The content of config.json."""
    return {**_SIZES, **VARIANTS[variant]}


def tensors_of(config: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Weights that depend on nothing but their names' order, so that they are the same everywhere."""
    rng = np.random.default_rng(7)
    base, hidden, wide = f"{config['model_type']}.", config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 1
    for layer, (size, width) in enumerate(zip(config["conv_dim"], config["conv_kernel"], strict=True)):
        name = f"{base}feature_extractor.conv_layers.{layer}"
        shapes[f"{name}.conv.weight"] = (size, channels, width)
        if config.get("conv_bias"):
            shapes[f"{name}.conv.bias"] = (size,)
        if config.get("feat_extract_norm") == "layer" or layer == 0:
            shapes |= {f"{name}.layer_norm.{part}": (size,) for part in ("weight", "bias")}
        channels = size
    if config.get("feat_proj_layer_norm", True):
        shapes |= {f"{base}feature_projection.layer_norm.{part}": (channels,) for part in ("weight", "bias")}
    shapes |= _linear(f"{base}feature_projection.projection", hidden, channels)
    positions = f"{base}encoder.pos_conv_embed.conv"
    width = config["num_conv_pos_embeddings"]
    shapes[f"{positions}.bias"] = (hidden,)
    shapes[f"{positions}.parametrizations.weight.original0"] = (1, 1, width)
    shapes[f"{positions}.parametrizations.weight.original1"] = (
        hidden,
        hidden // config["num_conv_pos_embedding_groups"],
        width,
    )
    shapes |= {f"{base}encoder.layer_norm.{part}": (hidden,) for part in ("weight", "bias")}
    for number in range(config["num_hidden_layers"]):
        name = f"{base}encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{name}.attention.{part}", hidden, hidden)
        shapes |= _linear(f"{name}.feed_forward.intermediate_dense", wide, hidden)
        shapes |= _linear(f"{name}.feed_forward.output_dense", hidden, wide)
        for norm in ("layer_norm", "final_layer_norm"):
            shapes |= {f"{name}.{norm}.{part}": (hidden,) for part in ("weight", "bias")}
    shapes |= _linear("lm_head", config["vocab_size"], hidden)
    return {name: _weights(rng.standard_normal(shape), name).astype(np.float32) for name, shape in shapes.items()}


def _weights(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Of a size that keeps the differences between the frames."""
    if name.endswith("norm.weight"):
        return 1 + 0.3 * values
    if values.ndim == 1:
        return 0.1 * values
    return values * 1.7 / np.sqrt(np.prod(values.shape[1:]))


def _linear(name: str, n_outputs: int, n_inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (n_outputs, n_inputs), f"{name}.bias": (n_outputs,)}


def waveform() -> NDArray[np.float32]:
    """Half a second of noise that is neither centred nor of unit variance."""
    return (np.random.default_rng(3).standard_normal(8000) * 0.1 + 0.05).astype(np.float32)


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any]], dtype: str = "F32") -> None:
    """A file in the format safetensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        raw = _bytes(tensor, dtype)
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)


def _bytes(tensor: NDArray[Any], dtype: str) -> bytes:
    if dtype == "BF16":
        return (np.ascontiguousarray(tensor, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(tensor, {"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def write_checkpoint(folder: Path, variant: str = "base", **changes: Any) -> Path:
    """A checkpoint as `save_pretrained` leaves it. `changes`: of config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(variant) | changes
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16000}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"word_delimiter_token": "|", "pad_token": "<pad>"}))
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    write_safetensors(folder / "model.safetensors", tensors_of(config))
    return folder
