"""The public Python interface: what it offers, how quickly it is imported, and how its names are typed."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import nightscribe

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_there_and_comes_from_one_place() -> None:
    assert nightscribe.__all__ == sorted(set(nightscribe.__all__), key=nightscribe.__all__.index)
    assert set(nightscribe._HOMES) | {"__version__"} == set(nightscribe.__all__)
    for name, module in nightscribe._HOMES.items():
        assert getattr(nightscribe, name) is getattr(import_module(module), name)
    assert set(dir(nightscribe)) == set(nightscribe.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'transcribble'"):
        nightscribe.transcribble  # noqa: B018


def test_every_public_name_is_explained() -> None:
    for name in set(nightscribe.__all__) - {"__version__"}:
        assert getattr(nightscribe, name).__doc__, name
        assert f"`{name}" in (ROOT / "docs/python.md").read_text(), name


def test_the_import_loads_next_to_nothing() -> None:
    """A notebook or a server imports it long before it uses it."""
    program = "import nightscribe, sys; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"boto3", "click", "ctranslate2", "faster_whisper", "numpy", "pydantic", "rich", "structlog", "torch"}
    assert not heavy & set(done.stdout.split())
    assert "nightscribe" in done.stdout


def test_the_types_are_those_that_a_caller_sees() -> None:
    """Also that the package says it has types."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", "tests/typing/api.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert (ROOT / "nightscribe/py.typed").exists()


def test_a_recording_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(nightscribe.SetupError, match=r"The recording '.*talk\.mp3' does not exist\."):
        nightscribe.transcribe(tmp_path / "talk.mp3")
    with pytest.raises(nightscribe.SetupError, match="is a folder; to transcribe all in it, use transcribe_folder"):
        nightscribe.transcribe(tmp_path)


def test_a_place_without_records_is_no_destination(tmp_path: Path) -> None:
    with pytest.raises(nightscribe.SetupError, match="holds no records of nightscribe"):
        nightscribe.open_destination(tmp_path)


@pytest.mark.parametrize("call", ["transcribe", "transcribe_folder"])
def test_a_value_that_makes_no_sense_is_a_sentence(tmp_path: Path, call: str) -> None:
    (tmp_path / "talk.mp3").write_bytes(b"sound")
    arguments = [tmp_path / "talk.mp3"] if call == "transcribe" else [tmp_path, tmp_path / "out"]
    with pytest.raises(nightscribe.SetupError, match="Unknown language 'klingon'"):
        getattr(nightscribe, call)(*arguments, language="klingon")
    assert not (tmp_path / "out").exists()
