"""An engine of another package, made as docs/adding-an-engine.md says."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import recordings
from support.command import environment_of, run_command, texts

from nightscribe.shared.audio.decode import RATE, Decoder

GUIDE = Path(__file__).parents[2] / "docs" / "adding-an-engine.md"
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def block(language: str) -> str:
    """Return the first code block of that language in the guide."""
    found = re.search(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def install(site: Path, module: str, code: str, entry_points: dict[str, str]) -> None:
    """Lay out a module and its metadata as pip would."""
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[nightscribe.engines]\n{lines}\n")


@pytest.fixture
def nightscribe(tmp_path: Path) -> Command:
    """Run the command where a good package and a broken one are installed; no weights are needed."""
    site = tmp_path / "site"
    points = tomllib.loads(block("toml"))["project"]["entry-points"]["nightscribe.engines"]
    install(site, "toy_engine", block("python"), points)
    install(site, "broken_engine", "import no_such_library\n", {"broken": "broken_engine:SPEC"})
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    environment = environment_of(tmp_path / "models") | {"PYTHONPATH": path, "NIGHTSCRIBE_WORKERS": "1"}
    return lambda *arguments: run_command(environment, *arguments)


@pytest.fixture
def source(tmp_path: Path, speech: Path) -> Path:
    """One recording of read speech."""
    folder = tmp_path / "source"
    folder.mkdir()
    return recordings.cut(speech, folder / "talk.wav", 0, 12.0, "-ar", "16000").parent


def test_an_engine_of_another_package_transcribes(nightscribe: Command, source: Path, tmp_path: Path) -> None:
    """From the command line to the text files, in a worker process."""
    dest = tmp_path / "dest"
    done = nightscribe("run", source, dest, "--engine", "toy")
    assert done.returncode == 0, done.stderr
    waveform = np.concatenate(list(Decoder(source / "talk.wav")))
    n_loud = sum(np.abs(waveform[at : at + RATE]).max() > 0.1 for at in range(0, len(waveform) - RATE + 1, RATE))
    assert n_loud > 3
    assert set(texts(dest)) == {"talk.txt", "talk.vtt", "talk.srt"}
    assert (dest / "talk.txt").read_text().split() == ["loud"] * n_loud
    record = json.loads((dest / ".nightscribe/transcripts/talk.wav.json").read_text())
    assert record["engine"] == "toy 1.0"
    assert record["options"]["engine"] == "toy"
    assert record["language"] is None
    assert {segment.get("average_log_probability") for segment in record["segments"]} == {None}


def test_the_time_it_will_take_is_estimated_from_its_description(
    nightscribe: Command, source: Path, tmp_path: Path
) -> None:
    """Before anything was transcribed."""
    done = nightscribe("run", source, tmp_path / "dest", "--engine", "toy", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "toy" in done.stdout


CHOICES = "auto, faster-whisper, onnx-whisper, openai-whisper, onnx-asr or toy"
BROKEN = (
    "The engine broken of the package broken-engine is installed but cannot be loaded "
    "(ModuleNotFoundError: No module named 'no_such_library')."
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--engine", "broken"),
            f"--engine is 'broken': {BROKEN} Update or remove the package it comes from, or choose {CHOICES}.",
        ),
        (
            ("--engine", "siri"),
            f"--engine is 'siri': There is no engine named 'siri'. Choose {CHOICES}. {BROKEN}",
        ),
        (("--engine", "toy", "--task", "translate"), "The engine toy cannot translate. Choose --engine faster-whisper"),
    ],
)
def test_a_wrong_choice_is_one_sentence_and_harms_nothing(
    nightscribe: Command, source: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Whatever is broken, the other engines are named, and nothing is made."""
    done = nightscribe("run", source, tmp_path / "dest", *arguments)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "dest" / ".nightscribe").exists()


def test_an_engine_whose_library_is_missing_says_how_to_install_it(source: Path, tmp_path: Path) -> None:
    """As for the built-in engines."""
    site = tmp_path / "site"
    code = block("python").replace('requires="numpy"', 'requires="no_such_library"')
    install(site, "toy_engine", code, {"toy": "toy_engine:SPEC"})
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    environment = environment_of(tmp_path / "models") | {"PYTHONPATH": path}
    done = run_command(environment, "run", source, tmp_path / "dest", "--engine", "toy")
    shutil.rmtree(site)
    assert done.returncode == 2
    assert "The speech engine toy is not installed. Install it: pip install 'toy-engine'." in done.stderr
