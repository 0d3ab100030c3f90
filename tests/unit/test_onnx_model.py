"""Conversions in the cache: made once, checked, made again if damaged, and a sentence where that is impossible."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog
from test_checkpoint import tiny_variables, write_model

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights import onnx_model
from nightscribe.worker.weights.onnx_model import ABOUT, GRAPHS, convert, read_about
from nightscribe.worker.weights.resolver import resolve

TOKENS = [
    *("a", "b", "c", "d", "<|endoftext|>", "<|startoftranscript|>", "<|translate|>", "<|transcribe|>"),
    *("<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>"),
]


class _Usage(NamedTuple):
    free: int


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder as CTranslate2 keeps a model."""
    folder = tmp_path / "source"
    folder.mkdir()
    write_model(folder / "model.bin", tiny_variables())
    (folder / "vocabulary.txt").write_text("\n".join(TOKENS) + "\n")
    (folder / "config.json").write_text(json.dumps({"suppress_ids": [1], "alignment_heads": [[1, 0], [9, 9]]}))
    return folder


def test_a_conversion_is_described(source: Path, tmp_path: Path) -> None:
    """Heads that the model does not have are left out."""
    convert(source, tmp_path / "onnx" / "small")
    about = read_about(tmp_path / "onnx" / "small")
    assert about is not None
    assert about.vocabulary == tuple(TOKENS)
    assert about.alignment_heads == 1
    assert about.watched == (TOKENS.index("<|nocaptions|>"),)
    assert about.dims["n_text_layer"] == 2
    (source / "config.json").unlink()
    convert(source, tmp_path / "plain")
    assert read_about(tmp_path / "plain") is not None


def test_processes_that_come_at_once_convert_once(source: Path, tmp_path: Path) -> None:
    """The others wait, and use what the first has made."""
    target = tmp_path / "onnx" / "small"
    with structlog.testing.capture_logs() as logs, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: convert(source, target), range(3)))
    assert [log["event"] for log in logs] == ["weights.conversion_started"]
    assert read_about(target)
    assert not (target.parent / ".small.partial").exists()


@pytest.mark.parametrize("damage", ["byte", "short", "missing", "no description", "older"])
def test_a_damaged_conversion_is_made_again(source: Path, tmp_path: Path, damage: str) -> None:
    target = tmp_path / "small"
    convert(source, target)
    graph, about = target / GRAPHS[0], target / ABOUT
    whole = graph.read_bytes()
    match damage:
        case "byte":
            graph.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        case "short":
            graph.write_bytes(whole[:-9])
        case "missing":
            graph.unlink()
        case "no description":
            about.write_text("{")
        case _:
            about.write_text(json.dumps({**json.loads(about.read_text()), "format": 0}))
    assert read_about(target) is None
    convert(source, target)
    assert read_about(target) is not None
    assert graph.read_bytes() == whole


def test_no_room_is_a_sentence(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model.shutil, "disk_usage", lambda _path: _Usage(free=3))
    with pytest.raises(WeightsError, match=r"has only 0 MiB free.*Free some space, or choose --engine faster-whisper"):
        convert(source, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_weights_that_do_not_fit_their_vocabulary_are_a_sentence(source: Path, tmp_path: Path) -> None:
    (source / "vocabulary.txt").write_text("\n".join(TOKENS[1:]) + "\n")
    with pytest.raises(WeightsError, match="has 10 tokens in its vocabulary, but its weights have 11"):
        convert(source, tmp_path / "small")
    (source / "model.bin").write_bytes(b"\x06\0\0\0")
    with pytest.raises(WeightsError, match="is not a complete CTranslate2 model"):
        convert(source, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_a_model_at_a_path_is_converted_again_when_it_changes(source: Path, tmp_path: Path) -> None:
    first = resolve(str(source), "onnx", tmp_path / "models")
    assert first.route == "path, converted"
    assert resolve(str(source), "onnx", tmp_path / "models") == first
    os.utime(source / "model.bin", (1, 1))
    second = resolve(str(source), "onnx", tmp_path / "models")
    assert second.path != first.path
    assert read_about(second.path)


def test_a_cache_that_cannot_be_written_is_a_sentence(source: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("not a folder")
    with pytest.raises(WeightsError, match=r"could not be converted for onnx-whisper.*choose --engine faster-whisper"):
        resolve(str(source), "onnx", tmp_path / "models")
