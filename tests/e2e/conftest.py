"""The command as a user types it: real processes, a real queue server, real weights."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import cache, recordings
from support.command import environment_of, run_command

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights.resolver import resolve


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
    return environment_of(weights)


@pytest.fixture
def nightscribe(environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the command to its end."""

    def run(*arguments: str | Path, **more: str) -> "subprocess.CompletedProcess[str]":
        return run_command(environment | more, *arguments)

    return run


@pytest.fixture
def three(tmp_path: Path, speech: Path) -> Path:
    """A source of three recordings in two folders."""
    return recordings.three(tmp_path, speech)
