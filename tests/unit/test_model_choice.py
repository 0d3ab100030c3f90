"""Which model `--model auto` takes, and what `nightscribe models` says."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nightscribe.cli.models import models
from nightscribe.services import model_choice
from nightscribe.services.model_choice import choose_model, resolved
from nightscribe.shared.errors import SetupError
from nightscribe.shared.settings import load_settings
from nightscribe.worker.weights.catalogue import MODELS

HOUR_S = 3600.0
PLENTY = 64 << 30


@pytest.fixture(autouse=True)
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every engine is there."""
    monkeypatch.setattr(model_choice, "find_spec", lambda _: True)


def chosen(audio_h: float | None = None, memory: int = PLENTY, **given: Any) -> str:
    settings = load_settings(model="auto", **({"workers": 2} | given))
    return choose_model(settings, None if audio_h is None else audio_h * HOUR_S, memory=memory).model


@pytest.mark.parametrize(
    ("given", "audio_h", "expected"),
    [
        ({"language": "en"}, 10, "parakeet-tdt-0.6b-v2"),
        ({"language": "en"}, 400, "parakeet-tdt_ctc-110m"),
        ({"language": "en"}, 90_000, "tiny.en"),
        ({"language": "en", "allowed_hours": 200}, 400, "parakeet-tdt-0.6b-v2"),
        ({"language": "ru"}, 10, "gigaam-v3-e2e-rnnt"),
        ({"language": "pl"}, 10, "parakeet-tdt-0.6b-v3"),
        ({"language": "ja"}, 10, "large-v3"),
        ({"language": "ja"}, 60, "small"),
        ({"language": "auto"}, None, "small"),
        ({"languages": "de"}, 10, "parakeet-tdt-0.6b-v3"),
        ({"languages": "de,en"}, 10, "large-v3"),
        ({"language": "de", "engine": "faster-whisper"}, 20, "turbo"),
        ({"language": "de", "task": "translate"}, 20, "medium"),
    ],
)
def test_the_most_accurate_model_that_is_fast_enough_is_taken(
    given: dict[str, Any], audio_h: float | None, expected: str
) -> None:
    assert chosen(audio_h, **given) == expected


def test_models_have_to_fit_into_memory() -> None:
    assert chosen(10, memory=4 << 30, language="en") == "parakeet-tdt_ctc-110m"
    assert chosen(10, memory=1 << 20, language="en") == "tiny.en"


def test_the_choice_is_explained() -> None:
    settings = load_settings(model="auto", language="en", workers=2)
    changed, reason = resolved(settings, 20 * HOUR_S)
    assert changed.model == "parakeet-tdt-0.6b-v2"
    assert reason.startswith(
        "--model auto chose parakeet-tdt-0.6b-v2 (onnx-asr) for the language en, 6.05 % word errors (Open ASR): about "
    )
    assert reason.endswith("for 20.0 h of sound, of 8 h allowed.")
    assert resolved(load_settings(model="base")) == (load_settings(model="base"), "")
    assert choose_model(settings, 1e9, memory=PLENTY).reason.endswith("No model is faster.")


def test_without_an_engine_for_the_language_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_choice, "find_spec", lambda module: module == "onnx_asr")
    assert chosen(1, language="en") == "parakeet-tdt-0.6b-v2"
    with pytest.raises(SetupError, match=r"knows no model for the language ja .*Install another engine"):
        chosen(1, language="ja")


def test_it_names_a_better_model_that_lacks_only_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_choice, "find_spec", lambda module: module == "faster_whisper")
    found = choose_model(load_settings(model="auto", language="en"), memory=PLENTY)
    assert found.model == "small.en"
    assert found.reason.endswith(
        " parakeet-tdt-0.6b-v2 makes fewer errors and needs pip install 'nightscribe[onnx-asr]'."
    )


# The commands


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command of `nightscribe models` with nothing in any cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(models, [*arguments, "--models-dir", str(tmp_path / "models")])
        assert done.exit_code == code, (done.output, done.exception)
        return done.stdout if not code else str(done.exception)

    return run


def test_the_list_has_a_line_for_each_model(said: Any, tmp_path: Path) -> None:
    lines = said("list").splitlines()
    assert lines[0].split() == ["NAME", "LANGUAGES", "SIZE", "LICENCE", "SPEED", "ERRORS", "HERE"]
    assert [line.split()[0] for line in lines[1:]] == list(MODELS)
    [line] = [line for line in lines if line.startswith("parakeet-tdt-0.6b-v3 ")]
    for part in ("25 languages", "CC-BY-4.0", "6.32 % en (Open ASR)", " no"):
        assert part in line
    ukrainian = [row["name"] for row in json.loads(said("list", "--for-language", "uk", "--json"))]
    assert "parakeet-tdt-0.6b-v3" in ukrainian
    assert "base" in ukrainian
    assert not {"base.en", "gigaam-v3-ctc", "parakeet-tdt-0.6b-v2"} & set(ukrainian)
    assert said("list", "--here", "--json").strip() == "[]"
    (tmp_path / "models/ctranslate2/base").mkdir(parents=True)
    (tmp_path / "models/ctranslate2/base/model.bin").write_bytes(bytes(1000))
    [here] = json.loads(said("list", "--here", "--json"))
    assert (here["name"], here["size"], here["here"]) == ("base", 1000, True)


def test_a_model_can_be_shown_and_deleted(said: Any, tmp_path: Path) -> None:
    about = said("info", "base")
    assert "Not on this machine. Fetch it: " in about
    assert "nightscribe models pull base" in about
    (tmp_path / "models/openai").mkdir(parents=True)
    checkpoint = tmp_path / "models/openai/base.pt"
    checkpoint.write_bytes(bytes(2000))
    shown = json.loads(said("info", "base", "--json"))
    assert shown["files"] == [{"name": str(checkpoint), "size": 2000, "sha256": None}]
    assert shown["engines"] == ["faster-whisper", "onnx-whisper", "openai-whisper"]
    assert str(checkpoint) in said("rm", "base", "--dry-run")
    assert checkpoint.exists()
    assert "Deleted 0 MB of base" in said("rm", "base")
    assert not checkpoint.exists()
    assert "The model base is not on this machine" in said("rm", "base", code=1)


def test_what_is_not_ours_is_not_deleted(said: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.pt").touch()
    assert "is a path" in said("rm", str(tmp_path / "mine.pt"), code=1)
    assert (tmp_path / "mine.pt").exists()
    assert "Did you mean base" in said("rm", "bsae", code=1)
