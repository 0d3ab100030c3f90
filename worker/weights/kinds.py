"""Describe how the files of models for the engine onnx-asr fit together, by the kind of model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal, get_args

Kind = Literal[
    "nemo-conformer-ctc",
    "nemo-conformer-rnnt",
    "nemo-conformer-tdt",
    "nemo-conformer-aed",
    "gigaam-v2-ctc",
    "gigaam-v2-rnnt",
    "gigaam-v3-ctc",
    "gigaam-v3-rnnt",
    "gigaam-v3-e2e-ctc",
    "gigaam-v3-e2e-rnnt",
    "gigaam-multilingual-ctc",
    "gigaam-multilingual-large-ctc",
    "kaldi-rnnt",
    "vosk",
    "t-one-ctc",
    "whisper",
    "whisper-ort",
    "wav2vec2-ctc",
    "transformers-ctc",
]
"""A type of model as onnx-asr names it, or: `wav2vec2-ctc`, whose graph reads the waveform itself and which is decoded
here, and `transformers-ctc`, a checkpoint that is converted to `wav2vec2-ctc` first."""

KINDS: frozenset[str] = frozenset(get_args(Kind))
Precision = Literal["int8", "float32"]

# Architectures in the config.json of a checkpoint for the library transformers that can be converted.
CONVERTIBLE = frozenset({"wav2vec2", "hubert"})

_RNNT = ("encoder-model", "decoder_joint-model")


@dataclass(frozen=True)
class KindFiles:
    """The files of a kind of model. `*` and `?` stand for any characters, and for a single one."""

    graphs: tuple[str, ...]
    """Without the precision and `.onnx`."""
    others: tuple[str, ...]


FILES: Mapping[Kind, KindFiles] = {
    "nemo-conformer-ctc": KindFiles(("model",), ("vocab.txt",)),
    "nemo-conformer-rnnt": KindFiles(_RNNT, ("vocab.txt",)),
    "nemo-conformer-tdt": KindFiles(_RNNT, ("vocab.txt",)),
    "nemo-conformer-aed": KindFiles(("encoder-model", "decoder-model"), ("vocab.txt",)),
    "gigaam-v2-ctc": KindFiles(("v?_ctc",), ("v?_vocab.txt",)),
    "gigaam-v2-rnnt": KindFiles(("v?_rnnt_encoder", "v?_rnnt_decoder", "v?_rnnt_joint"), ("v?_vocab.txt",)),
    "gigaam-v3-ctc": KindFiles(("v?_ctc",), ("v?_vocab.txt",)),
    "gigaam-v3-rnnt": KindFiles(("v?_rnnt_encoder", "v?_rnnt_decoder", "v?_rnnt_joint"), ("v?_vocab.txt",)),
    "gigaam-v3-e2e-ctc": KindFiles(("v3_e2e_ctc",), ("v3_e2e_ctc_vocab.txt",)),
    "gigaam-v3-e2e-rnnt": KindFiles(
        ("v3_e2e_rnnt_encoder", "v3_e2e_rnnt_decoder", "v3_e2e_rnnt_joint"), ("v3_e2e_rnnt_vocab.txt",)
    ),
    "gigaam-multilingual-ctc": KindFiles(("multilingual*_ctc",), ("multilingual_vocab.txt",)),
    "gigaam-multilingual-large-ctc": KindFiles(("multilingual*_ctc",), ("multilingual_vocab.txt",)),
    "kaldi-rnnt": KindFiles(("*/encoder", "*/decoder", "*/joiner"), ("*/tokens.txt",)),
    "vosk": KindFiles(("*/encoder", "*/decoder", "*/joiner"), ("*/tokens.txt",)),
    "t-one-ctc": KindFiles(("model",), ("config.json",)),
    "whisper": KindFiles(
        ("onnx/encoder_model", "onnx/decoder_model_merged"), ("config.json", "vocab.json", "added_tokens.json")
    ),
    "whisper-ort": KindFiles(("whisper-*_beamsearch",), ("vocab.json", "added_tokens.json")),
    "wav2vec2-ctc": KindFiles(("model",), ("vocab.txt",)),
}
ALSO = ("config.json", "config.yaml", "README.md")
"""Files that say more about a model of any kind, and may be missing."""
CHECKPOINT = (
    "config.json", "preprocessor_config.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json",
    "added_tokens.json",
)  # fmt: skip
"""The small files of a checkpoint for the library transformers."""
TENSORS = ("model.safetensors", "pytorch_model.bin")
"""Its weights, in the order of preference."""


def graph_files(kind: Kind, names: Iterable[str], precision: Precision) -> list[str] | None:
    """Return the graphs of a model in this precision, with the files of their weights, or None if one is missing."""
    listed = list(names)
    found = []
    for stem in FILES[kind].graphs:
        pattern = f"{stem}.onnx" if precision == "float32" else f"{stem}?int8.onnx"
        graphs = [name for name in listed if _fits(name, pattern)]
        if not graphs:
            return None
        found += graphs
    with_data = {f"{name}{suffix}" for name in found for suffix in (".data", "_data")}
    return found + [name for name in listed if name in with_data]


def other_files(kind: Kind, names: Iterable[str]) -> list[str] | None:
    """Return the other files of a model that exist, or None if one is missing that it needs."""
    listed = list(names)
    found = [name for name in listed if name in ALSO]
    for pattern in FILES[kind].others:
        fitting = [name for name in listed if _fits(name, pattern)]
        if not fitting:
            return None
        found += [name for name in fitting if name not in found]
    return found


def _fits(name: str, pattern: str) -> bool:
    """Return whether a path fits a pattern, in which `*` does not go beyond a folder."""
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)
