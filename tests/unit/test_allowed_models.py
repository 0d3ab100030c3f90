"""Which models a job may have a worker load."""

import os
from pathlib import Path

import pytest

from nightscribe.shared.errors import ModelUnavailable
from nightscribe.shared.model import engines
from nightscribe.shared.model.jobs import Options
from nightscribe.worker.engines.allowed import AllowedModels


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a models folder, recordings and weights of the user's own."""
    for name in ("models/ours", "source/talk", "weights"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "weights" / "tuned.pt").touch()
    (tmp_path / "models" / "link").symlink_to(tmp_path / "source" / "talk")
    return tmp_path


def is_allowed(
    place: Path, model: str, *, own: str = "base", listed: tuple[str, ...] = (), engine: str = "auto"
) -> bool:
    """Ask a worker that was started with these settings."""
    try:
        AllowedModels(own, listed, place / "models").check(Options(engine=engine, model=model))
    except ModelUnavailable as error:
        assert error.code == "model_refused"
        assert "NIGHTSCRIBE_MODELS" in str(error)
        return False
    return True


@pytest.mark.parametrize("model", ["base", "tiny.en", "large-v3"])
def test_by_default_every_known_name_is_allowed(place: Path, model: str) -> None:
    assert is_allowed(place, model)


@pytest.mark.parametrize(
    "model",
    ["source/talk", "models/../source/talk", "models/link", "weights/tuned.pt", "models", "models/ours/../.."],
)
def test_a_path_outside_the_models_folder_is_refused(place: Path, model: str) -> None:
    """A file among the recordings is no model, and a link or dots do not make it one."""
    assert not is_allowed(place, f"{place}/{model}")


@pytest.mark.parametrize("model", ["", "~", "~nobody-there/x", ".", "..", "a\0/b", "/", "x" * 5000, "no-such", "/" * 9])
def test_what_names_no_model_is_refused(place: Path, model: str) -> None:
    assert not is_allowed(place, model)


def test_a_path_below_the_models_folder_is_allowed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_allowed(place, f"{place}/models/ours")
    monkeypatch.chdir(place)
    assert is_allowed(place, "./models/ours", listed=("tiny",))
    assert os.path.lexists("source/talk")
    assert not is_allowed(place, "./source/talk")


def test_the_model_of_the_worker_itself_is_allowed_wherever_it_is(place: Path) -> None:
    tuned = f"{place}/weights/tuned.pt"
    assert is_allowed(place, tuned, own=tuned)
    assert is_allowed(place, "base", own="base", listed=("small",))


def test_a_list_takes_the_place_of_the_known_names(place: Path) -> None:
    listed = ("small", f"{place}/weights/tuned.pt")
    assert is_allowed(place, "small", listed=listed)
    assert is_allowed(place, f"{place}/weights/../weights/tuned.pt", listed=listed)
    assert not is_allowed(place, "large-v3", listed=listed)
    assert not is_allowed(place, f"{place}/source/talk", listed=listed)


def test_of_an_engine_that_finds_its_own_weights_the_names_it_knows_are_allowed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = engines.EngineSpec(
        name="some", load="x:y", requires="sys", install="x", speed=1.0, models=frozenset({"small-ctc"})
    )
    monkeypatch.setitem(engines._registered, "some", some)
    monkeypatch.setitem(
        engines._registered, "any", engines.EngineSpec(name="any", load="x:y", requires="sys", install="x", speed=1.0)
    )
    assert is_allowed(place, "small-ctc", engine="some")
    assert not is_allowed(place, "large-v3", engine="some")
    assert is_allowed(place, "whatever", engine="any")
    assert not is_allowed(place, f"{place}/source/talk", engine="any")
