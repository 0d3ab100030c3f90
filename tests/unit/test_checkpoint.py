"""OpenAI checkpoints made from CTranslate2 models, on a model small enough to write by hand."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from whisper.model import ModelDimensions, Whisper

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights.checkpoint import convert, read_variables

Variables = dict[str, NDArray[Any]]

STATE, MELS, VOCABULARY, AUDIO_CTX, TEXT_CTX = 64, 4, 11, 6, 5
TYPE_NUMBERS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def tiny_variables(encoder_layers: int = 1, decoder_layers: int = 2) -> Variables:
    """Random float16 numbers under the names of CTranslate2."""
    random = np.random.default_rng(1)
    variables: Variables = {}

    def add(name: str, *shape: int) -> None:
        variables[name] = random.standard_normal(shape).astype(np.float16)

    def linear(name: str, outputs: int, inputs: int) -> None:
        add(f"{name}/weight", outputs, inputs)
        add(f"{name}/bias", outputs)

    def norm(name: str) -> None:
        add(f"{name}/gamma", STATE)
        add(f"{name}/beta", STATE)

    add("encoder/conv1/weight", STATE, MELS, 3)
    add("encoder/conv1/bias", STATE)
    add("encoder/conv2/weight", STATE, STATE, 3)
    add("encoder/conv2/bias", STATE)
    add("encoder/position_encodings/encodings", AUDIO_CTX, STATE)
    add("decoder/position_encodings/encodings", TEXT_CTX, STATE)
    add("decoder/embeddings/weight", VOCABULARY, STATE)
    norm("encoder/layer_norm")
    norm("decoder/layer_norm")
    for side, layers in (("encoder", encoder_layers), ("decoder", decoder_layers)):
        for number in range(layers):
            layer = f"{side}/layer_{number}"
            norm(f"{layer}/self_attention/layer_norm")
            linear(f"{layer}/self_attention/linear_0", 3 * STATE, STATE)
            variables[f"{layer}/self_attention/linear_0/bias"][STATE : 2 * STATE] = 0
            linear(f"{layer}/self_attention/linear_1", STATE, STATE)
            if side == "decoder":
                norm(f"{layer}/attention/layer_norm")
                linear(f"{layer}/attention/linear_0", STATE, STATE)
                linear(f"{layer}/attention/linear_1", 2 * STATE, STATE)
                variables[f"{layer}/attention/linear_1/bias"][:STATE] = 0
                linear(f"{layer}/attention/linear_2", STATE, STATE)
            norm(f"{layer}/ffn/layer_norm")
            linear(f"{layer}/ffn/linear_0", 4 * STATE, STATE)
            linear(f"{layer}/ffn/linear_1", STATE, 4 * STATE)
    variables["decoder/num_heads"] = np.array(1, np.int8)
    return variables


def write_model(
    path: Path,
    variables: Mapping[str, NDArray[Any]],
    *,
    version: int = 6,
    spec: str = "WhisperSpec",
    aliases: Mapping[str, str] = {"decoder/projection/weight": "decoder/embeddings/weight"},
) -> Path:
    """The file as CTranslate2 writes it."""

    def string(text: str) -> bytes:
        raw = text.encode() + b"\0"
        return struct.pack("<H", len(raw)) + raw

    parts = [struct.pack("<I", version), string(spec), struct.pack("<II", 3, len(variables))]
    for name, array in variables.items():
        data = array.tobytes()
        parts += [string(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        parts += [struct.pack("<BI", TYPE_NUMBERS[array.dtype.name], len(data)), data]
    parts.append(struct.pack("<I", len(aliases)))
    parts += [string(text) for pair in aliases.items() for text in pair]
    path.write_bytes(b"".join(parts))
    return path


def test_a_checkpoint_fills_every_tensor_of_openais_model_and_no_other(tmp_path: Path) -> None:
    """Loaded strictly, as openai-whisper loads it: a missing or a superfluous name would be an error."""
    convert(write_model(tmp_path / "model.bin", tiny_variables()), tmp_path / "tiny.pt")

    checkpoint = torch.load(tmp_path / "tiny.pt", weights_only=True)
    assert checkpoint["dims"] == {
        "n_mels": MELS,
        "n_vocab": VOCABULARY,
        "n_audio_ctx": AUDIO_CTX,
        "n_audio_state": STATE,
        "n_audio_head": 1,
        "n_audio_layer": 1,
        "n_text_ctx": TEXT_CTX,
        "n_text_state": STATE,
        "n_text_head": 1,
        "n_text_layer": 2,
    }
    Whisper(ModelDimensions(**checkpoint["dims"])).load_state_dict(checkpoint["model_state_dict"], strict=True)


def test_the_numbers_are_the_same_under_their_new_names(tmp_path: Path) -> None:
    """Stacked matrices are taken apart in the right order; nothing is rounded."""
    variables = tiny_variables()
    convert(write_model(tmp_path / "model.bin", variables), tmp_path / "tiny.pt")
    state = torch.load(tmp_path / "tiny.pt", weights_only=True)["model_state_dict"]

    own, cross = "decoder/layer_1/self_attention/linear_0", "decoder/layer_1/attention/linear_1"
    for name, expected in {
        "encoder.conv2.weight": variables["encoder/conv2/weight"],
        "encoder.ln_post.bias": variables["encoder/layer_norm/beta"],
        "decoder.ln.weight": variables["decoder/layer_norm/gamma"],
        "decoder.token_embedding.weight": variables["decoder/embeddings/weight"],
        "decoder.blocks.1.attn.query.weight": variables[f"{own}/weight"][:STATE],
        "decoder.blocks.1.attn.key.weight": variables[f"{own}/weight"][STATE : 2 * STATE],
        "decoder.blocks.1.attn.value.bias": variables[f"{own}/bias"][2 * STATE :],
        "decoder.blocks.1.cross_attn.key.weight": variables[f"{cross}/weight"][:STATE],
        "decoder.blocks.1.cross_attn.value.weight": variables[f"{cross}/weight"][STATE:],
        "decoder.blocks.0.cross_attn.out.bias": variables["decoder/layer_0/attention/linear_2/bias"],
        "encoder.blocks.0.mlp.2.weight": variables["encoder/layer_0/ffn/linear_1/weight"],
    }.items():
        assert state[name].dtype == torch.float16
        np.testing.assert_array_equal(state[name].numpy(), expected, err_msg=name)
    assert "decoder.blocks.1.attn.key.bias" not in state


def test_aliases_are_read_as_variables(tmp_path: Path) -> None:
    """The output projection is the embeddings under a second name."""
    variables = read_variables(write_model(tmp_path / "model.bin", tiny_variables()))
    np.testing.assert_array_equal(variables["decoder/projection/weight"], variables["decoder/embeddings/weight"])
    assert variables["decoder/num_heads"] == 1


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    """A download that broke off must never become a model, wherever it broke off."""
    whole = write_model(tmp_path / "whole.bin", tiny_variables()).read_bytes()
    cut = tmp_path / "model.bin"
    for size in {*range(300), *range(0, len(whole), 997), *range(len(whole) - 60, len(whole))}:
        cut.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="is not a complete CTranslate2 model"):
            read_variables(cut)


def test_damaged_bytes_never_raise_anything_but_a_sentence(tmp_path: Path) -> None:
    """Flipped bits are either in the numbers, which only a hash can tell, or are reported."""
    whole = write_model(tmp_path / "whole.bin", tiny_variables()).read_bytes()
    random = np.random.default_rng(2)
    damaged = tmp_path / "model.bin"
    refused = 0
    for position in [*range(60), *random.integers(0, len(whole), 100)]:
        data = bytearray(whole)
        data[position] ^= 1 << int(random.integers(8))
        damaged.write_bytes(data)
        try:
            convert(damaged, tmp_path / "tiny.pt")
        except WeightsError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404</html>" * 99, b"\x89PNG\r\n\x1a\n" + bytes(999), b"version https://git-lfs.github.com/"],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """An error page, a picture, a pointer of git-lfs: what lands under the name of a model."""
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(WeightsError, match=r"is not a complete CTranslate2 model: .+\. Download it again\."):
        convert(tmp_path / "model.bin", tmp_path / "tiny.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The operating system's reason is part of the sentence."""
    with pytest.raises(WeightsError, match=r"model\.bin cannot be read: No such file"):
        read_variables(tmp_path / "model.bin")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    """CTranslate2 runs translators too, and has had other file formats."""
    with pytest.raises(WeightsError, match="TransformerSpec"):
        convert(write_model(tmp_path / "model.bin", {}, spec="TransformerSpec"), tmp_path / "tiny.pt")
    with pytest.raises(WeightsError, match="format version is 5"):
        convert(write_model(tmp_path / "model.bin", {}, version=5), tmp_path / "tiny.pt")


def test_a_quantised_model_is_refused_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    """Rounded to int8, its numbers are no longer those of the checkpoint."""
    variables = tiny_variables()
    name = "encoder/layer_0/ffn/linear_0/weight"
    variables[name] = variables[name].astype(np.int8)
    with pytest.raises(WeightsError, match="quantised"):
        convert(write_model(tmp_path / "model.bin", variables), tmp_path / "tiny.pt")
    assert not (tmp_path / "tiny.pt").exists()


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("decoder/embeddings/weight", None, "has no decoder/embeddings/weight"),
        ("decoder/embeddings/weight", np.zeros(4, np.float16), "has 1 dimensions instead of 2"),
        ("encoder/layer_0/self_attention/linear_0/weight", np.zeros((4, STATE), np.float16), "not 3 stacked"),
        ("encoder/layer_0/self_attention/linear_0/bias", np.ones(3 * STATE, np.float16), "has a bias for the key"),
    ],
)
def test_a_model_that_does_not_fit_openais_is_refused(
    tmp_path: Path, name: str, change: NDArray[Any] | None, reason: str
) -> None:
    """Rather no checkpoint than one whose numbers stand in the wrong places."""
    variables = tiny_variables()
    if change is None:
        del variables[name]
    else:
        variables[name] = change
    with pytest.raises(WeightsError, match=reason):
        convert(write_model(tmp_path / "model.bin", variables, aliases={}), tmp_path / "tiny.pt")


def test_a_checkpoint_replaces_what_a_killed_process_left(tmp_path: Path) -> None:
    """The half-made one lies beside it under another name, and is gone afterwards."""
    left = tmp_path / ".tiny.pt.partial"
    left.mkdir()
    (left / "tiny.pt").write_bytes(b"half")
    convert(write_model(tmp_path / "model.bin", tiny_variables()), tmp_path / "tiny.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tiny.pt.lock", "model.bin", "tiny.pt"]
