"""The documentation builds as a website without a warning, and its pages request nothing from other servers."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import nightscribe
from nightscribe.cli.main import cli
from nightscribe.shared.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]
REQUESTED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(https?:[^\s\">]+)|<link\b[^>]*\bhref=\"?(https?:[^\s\">]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The website, built strictly: a link that leads nowhere or a page that nobody can reach is an error."""
    if find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed in this environment: install the project with its extra 'docs'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_the_pages_request_nothing_from_other_servers(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    found = {url for page in pages for match in REQUESTED.findall(page.read_text()) for url in match if url}
    assert not found
    assert not [css for css in site.rglob("*.css") if re.search(r"@import|url\([\"']?https?:", css.read_text())]


def test_the_reference_names_every_command_and_setting(site: Path) -> None:
    commands = (site / "reference/cli.html").read_text()
    assert all(f"nightscribe {name}" in commands for name, each in cli.commands.items() if not each.hidden)
    settings = (site / "reference/settings.html").read_text()
    assert all(ENV_PREFIX + name.upper() in settings for name in Settings.model_fields)


def test_the_reference_names_everything_public(site: Path) -> None:
    page = (site / "reference/python.html").read_text()
    assert [name for name in nightscribe.__all__ if name != "__version__" and f".{name}" not in page] == []


def test_no_link_shows_its_markdown(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = re.sub(r"<(script|pre|code)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        assert not re.search(r"\]\([\w./#-]+\)", text), page
