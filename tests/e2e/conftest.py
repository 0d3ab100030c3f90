"""The command as a user types it: real processes, a real queue server, real weights."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import cache, recordings
from support.command import COMMAND

from shared.errors import WeightsError
from worker.weights.resolver import resolve


@pytest.fixture(scope="session")
def weights(models_dir: Path) -> Path:
    """The folder of models, with `tiny.en` in it for both engines."""
    try:
        resolve("tiny.en", "ctranslate2", models_dir)
        resolve("tiny.en", "openai", models_dir)
    except WeightsError as error:
        cache.unavailable(str(error))
    return models_dir


@pytest.fixture
def environment(weights: Path) -> dict[str, str]:
    """Of the commands under test."""
    return os.environ | {
        "NIGHTSCRIBE_MODELS_DIR": str(weights),
        "NIGHTSCRIBE_MODEL": "tiny.en",
        "NIGHTSCRIBE_SETTLE_S": "0.2",
    }


@pytest.fixture
def nightscribe(environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the command to its end."""

    def run(*arguments: str | Path, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture
def three(tmp_path: Path, speech: Path) -> Path:
    """A source of three recordings in two folders."""
    source = tmp_path / "source"
    (source / "2012").mkdir(parents=True)
    recordings.cut(speech, source / "first.mp3", 0, 6)
    recordings.cut(speech, source / "2012" / "second.WAV", 6, 5)
    recordings.cut(speech, source / "2012" / "third.m4a", 11, 4)
    return source
