"""Models from a hub that speaks the Hugging Face hub's protocol, on this machine."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.frame_models import tone_model
from support.wav2vec2 import write_checkpoint
from support.weights_sources import REVISION, HubHandler, serving, sha256

from nightscribe.cli.models import models
from nightscribe.shared.errors import SetupError, WeightsError
from nightscribe.worker.engines import registry
from nightscribe.worker.weights import hub, pinned
from nightscribe.worker.weights.catalogue import hub_model
from nightscribe.worker.weights.frame_models import resolve_frame_model
from nightscribe.worker.weights.resolver import resolve

REPO = "me/tones"
CARD = {"language": ["en"], "license": "cc-by-4.0"}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a CTC model, without a word about its languages."""
    folder = tone_model(tmp_path_factory.mktemp("model"))
    config = json.loads((folder / "config.json").read_text())
    del config["languages"]
    (folder / "config.json").write_text(json.dumps(config))
    return files_of(folder) | {"large.bin": b"not wanted", "model.fp16.onnx": b"not wanted"}


@pytest.fixture
def visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Use the hub at an address; returns a function that does, which returns the folder of our models."""
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(hub, "RESPONSE_TIMEOUT_S", 60.0)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # another test may have imported it offline

    def use(address: str) -> Path:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        return tmp_path / "models"

    return use


def test_a_repository_is_pinned_and_hashed_and_then_needs_no_hub(
    tones: dict[str, bytes], visit: Callable[[str], Path]
) -> None:
    """Only the files of the model come; its card tells the languages; then it can be listed, shown and deleted."""
    with serving(tones, repo_id=REPO, card=CARD) as address:
        models_dir = visit(address)
        assert registry.choose("auto", f"hf:{REPO}", models_dir) == "onnx-asr"
        route, folder = resolve_frame_model(f"hf:{REPO}", models_dir)
    assert route == "Hugging Face hub"
    noted = pinned.read_pinned(models_dir, REPO)
    assert noted is not None
    assert noted.revision == REVISION
    assert noted.folder == folder
    assert {name: file.sha256 for name, file in noted.files.items()} == {
        name: sha256(tones[name]) for name in ("config.json", "model.onnx", "vocab.txt")
    }
    assert resolve_frame_model(f"hf:{REPO}", models_dir) == ("Hugging Face cache", folder)
    assert registry.choose("auto", f"hf:{REPO}", models_dir) == "onnx-asr"
    registry.check("onnx-asr", f"hf:{REPO}", language="en", task="transcribe", models_dir=models_dir)
    with pytest.raises(SetupError, match="does not know the language de, only en"):
        registry.check("onnx-asr", f"hf:{REPO}", language="de", task="transcribe", models_dir=models_dir)

    def said(*arguments: str) -> str:
        done = CliRunner().invoke(models, [*arguments, "--models-dir", str(models_dir)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert [row["name"] for row in json.loads(said("list", "--here", "--json")) if row["name"][:3] == "hf:"] == [
        f"hf:{REPO}"
    ]
    shown = said("info", f"hf:{REPO}")
    assert f"From: {REPO} at {REVISION}" in shown
    assert sha256(tones["model.onnx"]) in shown
    assert "licence cc-by-4.0" in shown
    assert f"Would delete {hub.cache_folder(REPO)}" in said("rm", f"hf:{REPO}", "--dry-run")
    assert folder.exists()
    said("rm", f"hf:{REPO}")
    assert not hub.cache_folder(REPO).exists()
    assert pinned.read_pinned(models_dir, REPO) is None


class Stopping(HubHandler):
    """Breaks off in the middle of a large file, once."""

    stopped: list[bool]

    def _send_range(self, data: bytes) -> None:
        if self.stopped:
            super()._send_range(data)
            return
        self.stopped.append(True)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True


def test_an_interrupted_download_is_continued(tones: dict[str, bytes], visit: Callable[[str], Path]) -> None:
    """By the same attempt or the next one: what has come is not asked for again.

    Half of the file is more than what the hub's library reads before it writes anything.
    """
    large = tones | {"model.onnx": tones["model.onnx"] + bytes(24 << 20)}
    ranges: list[int] = []
    handler = type("Handler", (Stopping,), {"stopped": []})
    with serving(large, repo_id=REPO, handler=handler, ranges=ranges) as address:
        models_dir = visit(address)
        found = pinned.listing(REPO)
        for _ in range(2):
            try:
                folder = pinned.fetch(found, ["model.onnx"], models_dir)
                break
            except WeightsError:
                continue
    assert (folder / "model.onnx").read_bytes() == large["model.onnx"]
    assert ranges
    assert ranges[-1] > 0


def test_a_small_file_that_is_not_the_announced_one_is_deleted(
    tones: dict[str, bytes], visit: Callable[[str], Path]
) -> None:
    """A tampered vocabulary would falsify transcripts; for large files see test_weights.py."""
    name = "vocab.txt"
    false = tones | {name: tones[name][::-1]}
    with serving(false, announced=tones, repo_id=REPO) as address:
        models_dir = visit(address)
        with pytest.raises(WeightsError, match=rf"{name} of {REPO} .* does not have the announced SHA-256"):
            resolve_frame_model(f"hf:{REPO}", models_dir)
    noted = pinned.read_pinned(models_dir, REPO)
    assert noted is None or name not in noted.files
    kept = [path.read_bytes() for path in hub.cache_folder(REPO).rglob("*") if path.is_file()]
    assert false[name] not in kept


def test_a_disk_that_is_too_small_is_told_before_the_download(
    tones: dict[str, bytes], visit: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with serving(tones, repo_id=REPO) as address:
        models_dir = visit(address)
        with pytest.raises(WeightsError, match=r"me/tones needs 0 MiB, and .* has only 0 MiB free.*HF_HOME"):
            pinned.fetch(pinned.listing(REPO), ["model.onnx"], models_dir)
    assert not hub.cache_folder(REPO).exists()


def test_a_checkpoint_of_transformers_is_downloaded_and_converted(tmp_path: Path, visit: Callable[[str], Path]) -> None:
    """The hub's card tells its language; the weights of another framework stay where they are."""
    source = files_of(write_checkpoint(tmp_path / "checkpoint")) | {"tf_model.bin": b"x", "pytorch_model.bin": b"y"}
    with serving(source, repo_id="me/letters", card={"language": "en"}) as address:
        models_dir = visit(address)
        route, folder = resolve_frame_model("hf:me/letters", models_dir, "float32")
    assert route == "Hugging Face hub, converted"
    assert folder.parent == models_dir / "converted"
    assert json.loads((folder / "config.json").read_text())["languages"] == ["en"]
    noted = pinned.read_pinned(models_dir, "me/letters")
    assert noted is not None
    assert not {"tf_model.bin", "pytorch_model.bin"} & set(noted.files)


def test_a_repository_that_holds_no_model_is_a_sentence(visit: Callable[[str], Path]) -> None:
    """So is one that does not exist, and one that is named wrongly; the other engines say what they cannot do."""
    with serving({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"}, repo_id=REPO) as address:
        models_dir = visit(address)
        with pytest.raises(WeightsError, match=r"me/tones holds no model .* names the type 'bert'"):
            resolve_frame_model(f"hf:{REPO}", models_dir)
        with pytest.raises(WeightsError, match=r"me/other is not on this machine .*404"):
            resolve_frame_model("hf:me/other", models_dir)
        with pytest.raises(WeightsError, match=r"me/tones .* has no model\.bin and no tokenizer\.json"):
            resolve(f"hf:{REPO}", "ctranslate2", models_dir)
    with pytest.raises(WeightsError, match="cannot be used with openai-whisper"):
        resolve(f"hf:{REPO}", "openai", models_dir)
    for wrong in ("hf:", "hf:tones", "hf:a/b/c", "hf:../x", "hf:a/b@c d"):
        with pytest.raises(WeightsError, match="names no repository"):
            hub_model(wrong)
