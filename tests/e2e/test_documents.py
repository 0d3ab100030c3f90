"""What the documents say is what the program does."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support import recordings
from support.surface import options_of

from nightscribe.cli.main import COMMANDS
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]


def test_the_reference_lists_every_setting_with_its_default() -> None:
    reference = (ROOT / "docs/reference.md").read_text()
    for name, field in Settings.model_fields.items():
        row = re.search(
            rf"^\| `{ENV_PREFIX}{name.upper()}` \|.*\| {re.escape(field.description or '')} \|$",
            reference,
            re.MULTILINE,
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


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) < 1200


@pytest.mark.parametrize("document", ["README.md", "docs/reference.md", "docs/sources.md"])
def test_every_option_a_document_uses_exists(document: str) -> None:
    readme = (ROOT / document).read_text()
    known = {option for command in COMMANDS for option in options_of(command)}
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


def test_the_wheel_takes_up_one_import_name(tmp_path: Path, speech: Path, environment: dict[str, str]) -> None:
    """Other projects have packages called `shared` and `worker` too, in the environment or in the user's folder.

    There the command can be imported, and the Python example of the README transcribes.
    """
    # The wheel is made from the source distribution, which must hold what it needs.
    build = _python("build", "--outdir", str(tmp_path), str(ROOT))
    if build.returncode and "No matching distribution" in build.stdout + build.stderr:
        pytest.skip("hatchling cannot be fetched: the package index does not answer")
    assert build.returncode == 0, build.stderr
    wheel = next(tmp_path.glob("nightscribe-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"nightscribe/shared/queue/create_queue.json", "nightscribe/report/page.html"} <= set(names)
    site = tmp_path / "site"
    installed = _python("pip", "install", "--no-deps", "--target", str(site), str(wheel))
    assert installed.returncode == 0, installed.stderr
    packages = {path.name for path in site.iterdir() if path.suffix != ".dist-info"}
    assert packages == {"bin", "nightscribe"}
    for stranger in ("director", "infra", "shared", "worker"):
        (tmp_path / "theirs" / stranger).mkdir(parents=True)
        (tmp_path / "theirs" / stranger / "__init__.py").write_text("raise AssertionError('it is not ours')")
    recordings.cut(speech, tmp_path / "theirs/talk.mp3", 0, 4)
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    program = "import nightscribe.cli.main, nightscribe.shared.queue; print(nightscribe.__file__)\n"
    program += example.replace("base", "tiny.en")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path])},
        cwd=tmp_path / "theirs",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where, *text = done.stdout.splitlines()
    assert Path(where).is_relative_to(site)
    assert text[0].startswith("It was the best of times")


def _python(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
