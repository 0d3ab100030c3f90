"""What the documents say is what the program does."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nightscribe.cli.main import cli
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.settings import ENV_PREFIX, Settings

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


def test_the_wheel_holds_the_packages_and_the_attributes_of_the_queue(tmp_path: Path) -> None:
    """Other projects have packages called `shared` and `worker` too: installed from the wheel, they must be ours."""
    build = _pip("wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT))
    if build.returncode and "No matching distribution" in build.stderr:
        pytest.skip("hatchling cannot be fetched: the package index does not answer")
    assert build.returncode == 0, build.stderr
    wheel = next(tmp_path.glob("nightscribe-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"infra/create_queue.json", "nightscribe/report/page.html"} <= set(names)
    assert not any(name.startswith(("tests/", "bench/")) for name in names)
    installed = _pip("install", "--no-deps", "--target", str(tmp_path / "site"), str(wheel))
    assert installed.returncode == 0, installed.stderr
    owners = packages_distributions_of(tmp_path / "site")
    for package in ("nightscribe", "director", "worker", "shared"):
        assert owners[package] == {"nightscribe"}


def packages_distributions_of(folder: Path) -> dict[str, set[str]]:
    """Which distributions the packages in a folder belong to."""
    code = (
        "import sys, json, importlib.metadata as m; sys.path.insert(0, sys.argv[1]); "
        "print(json.dumps(m.packages_distributions()))"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    return {package: set(owners) for package, owners in json.loads(said.stdout).items()}


def _pip(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
