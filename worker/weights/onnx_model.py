"""Convert a CTranslate2 model to ONNX graphs in the cache, once for all processes of a machine."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.process.liveness import LONG_S, report_alive
from nightscribe.worker.weights.cache_build import publish, workshop
from nightscribe.worker.weights.checkpoint import openai_weights
from nightscribe.worker.weights.vocabulary import Vocabulary, read_vocabulary

log = structlog.get_logger()

FORMAT = 1  # raise it when the graphs change, and old conversions are made again
GRAPHS = ("encoder.onnx", "memory.onnx", "decoder.onnx")
ABOUT = "about.json"
CANDIDATES = 6  # the likeliest tokens that a step returns: one more than the beams of a search
SIZE_FACTOR = 1.2  # a conversion of float16 weights is at most this much larger


@dataclass(frozen=True)
class About:
    """What a program needs to know about converted weights besides the graphs."""

    dims: dict[str, int]
    vocabulary: tuple[str, ...]
    banned_first: tuple[int, ...]
    """Tokens that no text begins with."""
    watched: tuple[int, ...]
    """Tokens of which the decoder returns the probability: no speech, then the languages."""
    alignment_heads: int
    hashes: dict[str, str]
    """SHA-256 of each graph."""
    format: int = FORMAT


def read_about(folder: Path, *, checked: bool = True) -> About | None:
    """Return the description of a conversion, or None if it is missing, damaged or of another version.

    Without `checked`, the graphs are not read, so damage to them goes unnoticed.
    """
    try:
        found = json.loads((folder / ABOUT).read_text())
        about = About(**{**found, **{name: tuple(found[name]) for name in ("vocabulary", "banned_first", "watched")}})
        whole = not checked or all(_hash(folder / name) == about.hashes[name] for name in GRAPHS)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return about if whole and about.format == FORMAT else None


def convert(source: Path, target: Path) -> None:
    """Write the CTranslate2 model in the folder `source` as ONNX graphs in the folder `target`, unless they exist.

    While one process converts, others wait for it. A damaged conversion is replaced.

    Raises: WeightsError: if the weights cannot be converted or the disk is too small. OSError: if the disk fails.
    """
    if read_about(target):
        return
    with workshop(target) as scratch:
        if read_about(target):
            return
        needed, free = SIZE_FACTOR * (source / "model.bin").stat().st_size, shutil.disk_usage(scratch).free
        if free < needed:
            raise WeightsError(
                f"{target.parent} has only {free / 2**20:.0f} MiB free, and converting {source} needs "
                f"{needed / 2**20:.0f} MiB. Free some space, or choose --engine faster-whisper."
            )
        log.info("weights.conversion_started", source=str(source), target=str(target))
        built = scratch / target.name
        built.mkdir()
        _write(source, built)
        if target.exists():
            shutil.rmtree(target)
        publish(built, target)


def _write(source: Path, built: Path) -> None:
    from nightscribe.worker.weights.onnx_graphs import write_decoder, write_encoder, write_memory

    dims, state = openai_weights(source / "model.bin")
    config = _config(source)
    vocabulary = read_vocabulary(source)
    words = Vocabulary(vocabulary)
    if dims["n_vocab"] != len(vocabulary):
        raise WeightsError(
            f"{source} has {len(vocabulary)} tokens in its vocabulary, but its weights have {dims['n_vocab']}. "
            "Download it again."
        )
    watched = (words.no_speech, *words.languages.values())
    heads = _alignment_heads(config, dims)
    banned = {*config.get("suppress_ids", ()), words.no_speech, *range(words.no_timestamps, dims["n_vocab"])}
    report_alive(LONG_S)
    write_encoder(built / "encoder.onnx", dims, state)
    write_memory(built / "memory.onnx", dims, state)
    report_alive(LONG_S)
    write_decoder(
        built / "decoder.onnx",
        dims,
        state,
        alignment_heads=heads,
        banned=sorted(banned - {words.end}),
        watched=watched,
        candidates=CANDIDATES,
    )
    report_alive(LONG_S)
    about = About(
        dims=dims,
        vocabulary=tuple(vocabulary),
        banned_first=tuple(config.get("suppress_ids_begin", (words.end,))),
        watched=watched,
        alignment_heads=len(heads),
        hashes={name: _hash(built / name) for name in GRAPHS},
    )
    (built / ABOUT).write_text(json.dumps(asdict(about)))
    report_alive()


def _config(source: Path) -> dict[str, Any]:
    try:
        config = json.loads((source / "config.json").read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{source / 'config.json'} cannot be read: {error}. Download the model again.") from None
    return config if isinstance(config, dict) else {}


def _alignment_heads(config: dict[str, Any], dims: dict[str, int]) -> Sequence[tuple[int, int]]:
    """Return (layer, head) of the heads that follow the sound; all in the upper half of the layers if unknown."""
    layers, heads = dims["n_text_layer"], dims["n_text_head"]
    listed = [(int(layer), int(head)) for layer, head in config.get("alignment_heads") or ()]
    known = sorted(each for each in listed if each[0] < layers and each[1] < heads)
    return known or [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
