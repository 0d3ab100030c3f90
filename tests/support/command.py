"""The command under test and what it leaves behind."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from nightscribe.shared.destination.keys import REPORT_PAGE

COMMAND = [sys.executable, "-P", "-m", "nightscribe"]


def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's shell and AWS profile out of the tests."""
    for name in list(os.environ):
        if name.startswith(("NIGHTSCRIBE_", "AWS_", "LOCALSTACK_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    # Without credentials boto3 would otherwise spend seconds asking the network for an instance's role.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def environment_of(models_dir: Path) -> dict[str, str]:
    """Of the commands under test."""
    return os.environ | {
        "NIGHTSCRIBE_MODELS_DIR": str(models_dir),
        "NIGHTSCRIBE_MODEL": "tiny.en",
        "NIGHTSCRIBE_SETTLE_S": "0.2",
        "NIGHTSCRIBE_WORKERS": "1",  # each costs seconds to start; tests of several say how many
    }


def run_command(environment: Mapping[str, str], *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def texts(dest: Path) -> dict[str, bytes]:
    """Every file of a destination that is not one of the program's own records."""
    return {
        path.relative_to(dest).as_posix(): path.read_bytes()
        for path in dest.rglob("*")
        if path.is_file() and ".nightscribe" not in path.relative_to(dest).parts and path != dest / REPORT_PAGE
    }
