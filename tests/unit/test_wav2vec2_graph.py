"""wav2vec2 and HuBERT as ONNX graphs, compared with what the library transformers computes."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from support.wav2vec2 import VARIANTS, config_of, tensors_of, waveform, write_checkpoint, write_safetensors

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.engines.base import RecognitionRequest, SpeechSlice, SpeechWindow
from nightscribe.worker.engines.onnx_asr import ctc
from nightscribe.worker.engines.onnx_asr.recognizer import load
from nightscribe.worker.weights import ctc_conversion, onnx_graph
from nightscribe.worker.weights.frame_models import resolve_frame_model
from nightscribe.worker.weights.safetensors_file import read_safetensors
from nightscribe.worker.weights.wav2vec2_graph import write_wav2vec2

# Number of frames, and the logarithms of the probabilities in the first, the twelfth and the last of them, made by
# bench/wav2vec2_reference.py with transformers 5.24.
REFERENCE = {
    "base": (24, [
        [-5.0927, -4.7085, -0.149, -5.4576, -3.4457, -3.4166, -2.9215, -7.7544],
        [-4.0239, -5.09, -0.1384, -5.0914, -4.1628, -3.5397, -2.9143, -8.4738],
        [-3.6971, -5.4014, -0.1602, -4.8537, -3.8808, -3.3672, -2.8905, -8.1861],
    ]),
    "stable": (24, [
        [-0.9985, -1.7736, -3.748, -2.4479, -1.427, -3.6943, -4.3801, -2.5987],
        [-1.4095, -1.8108, -2.5566, -1.9355, -1.3827, -3.7696, -3.4685, -2.7311],
        [-1.779, -2.1214, -2.7737, -1.6318, -1.0248, -4.0183, -3.5454, -3.0446],
    ]),
    "hubert": (24, [
        [-3.8796, -1.4806, -3.9981, -1.046, -3.5358, -1.1782, -3.3738, -4.5167],
        [-3.968, -1.5119, -4.0475, -0.9247, -3.5167, -1.2936, -3.488, -4.4298],
        [-3.9021, -1.6394, -3.9215, -0.9178, -3.6605, -1.2606, -3.1146, -4.349],
    ]),
}  # fmt: skip


def log_probabilities(graph: Path, sound: np.ndarray, n: int | None = None) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph)
    lengths = np.array([len(sound) if n is None else n], np.int64)
    found: np.ndarray = session.run(["logprobs"], {"input_values": sound[None], "input_lengths": lengths})[0][0]
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_graph_computes_what_transformers_computes(tmp_path: Path, variant: str) -> None:
    config = config_of(variant)
    write_wav2vec2(tmp_path / "model.onnx", tensors_of(config), config, normalizes=True)
    found = log_probabilities(tmp_path / "model.onnx", waveform())
    n_frames, expected = REFERENCE[variant]
    assert found.shape == (n_frames, 8)
    assert found[[0, 11, -1]] == pytest.approx(np.array(expected), abs=2e-4)


def test_the_level_of_the_sound_does_not_matter_where_it_is_normalized(tmp_path: Path) -> None:
    config = config_of("stable")
    tensors = tensors_of(config)
    for normalizes in (True, False):
        graph = tmp_path / f"{normalizes}.onnx"
        write_wav2vec2(graph, tensors, config, normalizes=normalizes)
        differences = log_probabilities(graph, waveform()) - log_probabilities(graph, waveform() * 4 - 0.3)
        assert (np.abs(differences).max() < 1e-3) == normalizes


def test_weights_that_are_too_large_for_one_file_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "LARGEST_FILE", 1000)
    config = config_of("base")
    write_wav2vec2(tmp_path / "model.onnx", tensors_of(config), config, normalizes=True)
    assert (tmp_path / "model.onnx.data").stat().st_size > 10_000
    assert log_probabilities(tmp_path / "model.onnx", waveform())[0] == pytest.approx(
        np.array(REFERENCE["base"][1][0]), abs=2e-4
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adapter_attn_dim": 16}, "adapters for languages"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"num_hidden_layers": 3}, r"no tensor 'wav2vec2\.encoder\.layers\.2"),
    ],
)
def test_what_cannot_be_converted_is_a_sentence(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    config = config_of("base")
    with pytest.raises(WeightsError, match=said):
        write_wav2vec2(tmp_path / "model.onnx", tensors_of(config), config | changes, normalizes=True)


@pytest.mark.parametrize(("dtype", "error"), [("F32", 0.0), ("F16", 1e-3), ("BF16", 1e-2)])
def test_safetensors_are_read_in_any_precision(tmp_path: Path, dtype: str, error: float) -> None:
    tensors = {"a": np.array([[1.5, -2.25], [0.1, 3.0]], np.float32), "b": np.zeros((0, 2), np.float32)}
    write_safetensors(tmp_path / "model.safetensors", tensors, dtype)
    found = read_safetensors(tmp_path / "model.safetensors")
    assert found["a"].astype("f4") == pytest.approx(tensors["a"], rel=error)
    assert found["b"].shape == (0, 2)


@pytest.mark.parametrize("content", [b"", b"\xff" * 30, (5).to_bytes(8, "little") + b"{}   ", b"<html>"])
def test_damaged_safetensors_are_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    if content.endswith(b"{}   "):
        assert read_safetensors(tmp_path / "model.safetensors") == {}
        return
    with pytest.raises(WeightsError, match="not a file of safetensors"):
        read_safetensors(tmp_path / "model.safetensors")


# Conversion


def test_a_checkpoint_is_converted_once_and_then_transcribes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once convert once; what was damaged is converted again; the files are laid out as onnx-asr expects."""
    source = write_checkpoint(tmp_path / "mine")
    written = []
    write, second = ctc_conversion._write, threading.Event()

    def slowly(*arguments: object) -> None:
        written.append(arguments)
        second.wait(0.3)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ctc_conversion, "_write", slowly)
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: resolve_frame_model(str(source), tmp_path / "models", "float32"), range(2)))
    assert len(written) == 1
    assert len(set(found)) == 1
    route, folder = found[0]
    assert route == "path, converted"
    assert (folder / "vocab.txt").read_text().splitlines()[:6] == [
        "<blk> 0",
        "<s> 1",
        "</s> 2",
        "<unk> 3",
        "\u2581 4",
        "A 5",
    ]
    assert json.loads((folder / "config.json").read_text()) == {
        "model_type": "wav2vec2-ctc",
        "subsampling_factor": 320,
        "languages": ["en"],
    }

    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1] + b"x")
    assert resolve_frame_model(str(source), tmp_path / "models", "float32") == (route, folder)
    assert len(written) == 2

    engine = load(str(source), folder, threads=1, compute_type="float32")
    window = SpeechWindow(waveform(), 0.0, SpeechSlice())
    [recognition] = engine.recognize([window], RecognitionRequest())
    frames = log_probabilities(folder / "model.onnx", waveform())
    letters = {5: "a", 6: "b", 7: "c", 4: " "}
    expected = "".join(letters.get(token.id, "") for token in ctc.greedy(frames, 0))
    assert recognition.text == " ".join(expected.split())
    assert recognition.is_plain
    assert recognition.language == "en"


def test_a_conversion_may_be_quantized(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "mine", "stable")
    _, folder = resolve_frame_model(str(source), tmp_path / "models", "int8")
    assert sorted(path.name for path in folder.iterdir()) == [
        "about.json",
        "config.json",
        "model.int8.onnx",
        "vocab.txt",
    ]
    found = log_probabilities(folder / "model.int8.onnx", waveform())
    assert found[[0, 11, -1]] == pytest.approx(np.array(REFERENCE["stable"][1]), abs=0.4)
    assert load("mine", folder, threads=1).name.endswith(" int8")


def test_a_changed_checkpoint_is_another_conversion(tmp_path: Path) -> None:
    """Under the same path; without a vocabulary for one language it is refused."""
    source = write_checkpoint(tmp_path / "mine")
    first = ctc_conversion.identity(source, str(source))
    write_checkpoint(tmp_path / "mine", "stable")
    assert ctc_conversion.identity(source, str(source)) != first
    (source / "vocab.json").write_text(json.dumps({"eng": {"a": 0}, "fra": {"a": 0}}))
    with pytest.raises(WeightsError, match="several languages"):
        resolve_frame_model(str(source), tmp_path / "models", "float32")
    assert not list((tmp_path / "models" / "converted").glob("[!.]*"))
