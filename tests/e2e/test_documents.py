"""What the documents say is what the program does."""

import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from nightscribe.cli import cli
from shared.settings import ENV_PREFIX, Settings
from shared.transcript import Transcript

ROOT = Path(__file__).parents[2]


def test_the_readme_lists_every_setting_with_its_default() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, field in Settings.model_fields.items():
        row = re.search(
            rf"^\| `{ENV_PREFIX}{name.upper()}` \|.*\| {re.escape(field.description or '')} \|$", readme, re.MULTILINE
        )
        assert row, name
        if field.default_factory is None:
            default = field.default
            shown = (
                ",".join(default)
                if isinstance(default, tuple)
                else f"{default:g}"
                if isinstance(default, float)
                else default
            )
            assert f"`{shown}`" in row[0]


def test_every_option_the_readme_uses_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    known = {option for command in cli.commands.values() for parameter in command.params for option in parameter.opts}
    used = {
        option
        for line in readme.splitlines()
        if "nightscribe " in line or "build.sh run" in line
        for option in re.findall(r"(?<=\s)--[a-z-]+", line)
    }
    assert used <= known | {"--help", "--cli-input-json", "--queue-name"}


def test_the_published_schema_is_that_of_the_transcript() -> None:
    """Made by printing json.dumps(Transcript.model_json_schema(), indent=2)."""
    assert json.loads((ROOT / "docs/transcript.schema.json").read_text()) == Transcript.model_json_schema()


def test_the_compose_file_and_the_code_name_the_same_queue_server() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    assert "localstack/localstack:4.10.0" in compose


def test_the_packages_belong_to_this_distribution() -> None:
    owners = packages_distributions()
    for package in ("nightscribe", "director", "worker", "shared"):
        assert set(owners[package]) == {"nightscribe"}


def test_the_wheel_holds_the_packages_and_the_attributes_of_the_queue(tmp_path: Path) -> None:
    build = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode and "No matching distribution" in build.stderr:
        pytest.skip("hatchling cannot be fetched: the package index does not answer")
    assert build.returncode == 0, build.stderr
    with zipfile.ZipFile(next(tmp_path.glob("nightscribe-*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {
        "nightscribe/cli.py",
        "director/scan.py",
        "worker/engines/base.py",
        "shared/jobs.py",
        "infra/create_queue.json",
    } <= names
    assert not any(name.startswith(("tests/", "bench/")) for name in names)
