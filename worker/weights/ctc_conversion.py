"""Convert a wav2vec2 or HuBERT checkpoint for the library transformers to ONNX in the cache, once for all processes."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.process.liveness import LONG_S, report_alive
from nightscribe.worker.weights import hub
from nightscribe.worker.weights.cache_build import publish, workshop
from nightscribe.worker.weights.kinds import TENSORS, Precision
from nightscribe.worker.weights.safetensors_file import read_safetensors
from nightscribe.worker.weights.torch_file import Tensors, read_state_dict

log = structlog.get_logger()

FORMAT = 1  # raise it when the graph changes, and old conversions are made again
CONFIG, VOCABULARY, ABOUT = "config.json", "vocab.txt", "about.json"
GRAPHS: Mapping[Precision, str] = {"float32": "model.onnx", "int8": "model.int8.onnx"}
SPACE = 2.2  # what a conversion needs at most, as a multiple of the checkpoint: both precisions for a moment


def identity(source: Path, name: str) -> str:
    """Return a name for the conversion of the checkpoint in a folder, which changes with its content."""
    state = (source / _tensors_file(source)).stat()
    key = f"{name} {state.st_size} {state.st_mtime_ns}"
    return f"{name.rpartition('/')[2]}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def is_whole(folder: Path) -> bool:
    """Return whether a folder holds an undamaged conversion of this version."""
    try:
        about = json.loads((folder / ABOUT).read_text())
        hashes = about["hashes"]
        return about["format"] == FORMAT and all(hub.sha256_of(folder / name) == hashes[name] for name in hashes)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def convert(source: Path, target: Path, precision: Precision, languages: frozenset[str] | None = None) -> None:
    """Convert the checkpoint in the folder `source` into the folder `target`, unless that was done.

    While one process converts, others wait for it. A damaged conversion is replaced.

    Raises: WeightsError: if the checkpoint cannot be converted or the disk is too small. OSError: if the disk fails.
    """
    if is_whole(target):
        return
    with workshop(target) as scratch:
        if is_whole(target):
            return
        needed, free = SPACE * (source / _tensors_file(source)).stat().st_size, shutil.disk_usage(scratch).free
        if free < needed:
            raise WeightsError(
                f"{target.parent} has only {free / 2**20:.0f} MiB free, and converting {source} needs "
                f"{needed / 2**20:.0f} MiB. Free some space."
            )
        log.info("weights.conversion_started", source=str(source), target=str(target))
        built = scratch / target.name
        built.mkdir()
        _write(source, built, precision, languages)
        if target.exists():
            shutil.rmtree(target)
        publish(built, target)


def _write(source: Path, built: Path, precision: Precision, languages: frozenset[str] | None) -> None:
    from nightscribe.worker.weights.wav2vec2_graph import stride, write_wav2vec2

    config = _read_json(source / CONFIG)
    report_alive(LONG_S)
    normalizes = bool(_read_json(source / "preprocessor_config.json", missing={}).get("do_normalize", True))
    write_wav2vec2(built / GRAPHS["float32"], _read_tensors(source), config, normalizes=normalizes)
    if precision == "int8":
        _quantize(built / GRAPHS["float32"], built / GRAPHS["int8"])
    lines = [f"{token} {number}\n" for number, token in sorted(_vocabulary(source, config).items())]
    (built / VOCABULARY).write_text("".join(lines), encoding="utf-8")
    settings = {"model_type": "wav2vec2-ctc", "subsampling_factor": stride(config)}
    if languages:
        settings["languages"] = sorted(languages)
    (built / CONFIG).write_text(json.dumps(settings))
    report_alive(LONG_S)
    hashes = {path.name: hub.sha256_of(path) for path in sorted(built.iterdir())}
    (built / ABOUT).write_text(json.dumps({"format": FORMAT, "source": str(source), "hashes": hashes}))
    report_alive()


def _quantize(graph: Path, target: Path) -> None:
    """Write the graph with the matrices of its linear layers in int8, and remove the original."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    report_alive(LONG_S)
    large = graph.with_name(f"{graph.name}.data")
    quantize_dynamic(
        graph,
        target,
        op_types_to_quantize=["MatMul"],
        weight_type=QuantType.QInt8,
        use_external_data_format=large.exists(),
        extra_options={"MatMulConstBOnly": True},  # not those of the attention, whose values are not weights
    )
    graph.unlink()
    large.unlink(missing_ok=True)


def _vocabulary(source: Path, config: Mapping[str, Any]) -> dict[int, str]:
    """Return the tokens by number, as onnx-asr lists them: `▁` for a space and `<blk>` for the blank."""
    tokenizer = _read_json(source / "tokenizer_config.json", missing={})
    delimiter = tokenizer.get("word_delimiter_token") or "|"
    known = _read_json(source / "vocab.json")
    if known and all(isinstance(each, dict) for each in known.values()):
        raise WeightsError(f"{source} has a vocabulary for each of several languages (MMS), which is not supported.")
    known |= _read_json(source / "added_tokens.json", missing={})
    blank = config.get("pad_token_id")
    if blank is None:
        blank = known.get(tokenizer.get("pad_token") or "<pad>", 0)
    found = {int(number): "\u2581" if token in (delimiter, " ") else token for token, number in known.items()}
    found[int(blank)] = "<blk>"
    n = int(config.get("vocab_size", len(found)))
    return {number: token for number, token in found.items() if number < n}


def _read_tensors(source: Path) -> Tensors:
    name = _tensors_file(source)
    return read_safetensors(source / name) if name.endswith(".safetensors") else read_state_dict(source / name)


def _tensors_file(source: Path) -> str:
    for name in TENSORS:
        if (source / name).is_file():
            return name
    raise WeightsError(f"{source} has neither {' nor '.join(TENSORS)}. Pull the model again.")


def _read_json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if missing is not None:
            return dict(missing)
        raise WeightsError(f"{path.parent} has no {path.name}, which the conversion needs.") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}. Pull the model again.") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} does not hold settings. Pull the model again.")
    return content
