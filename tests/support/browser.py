"""A real browser, and a server for it."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from support.command import COMMAND

NAMES = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
WHOLE_PAGE = {"resultTypes": ["violations"]}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium of the system; skip the test where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("There is no Chromium here; install the package chromium to test the pages in a browser.")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(environment: Mapping[str, str], dest: Path, *arguments: str | Path) -> Iterator[str]:
    """Run `nightscribe serve`, and yield its address; it must end with 0 when it is stopped."""
    command = [*COMMAND, "serve", str(dest), "--port", "0", *map(str, arguments)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert " at http" in line, line
            yield line.split(" at ")[1].split()[0].rstrip("/")
        finally:
            process.terminate()
        assert process.wait(30) == 0


def violations(page: Page) -> list[str]:
    """What axe-core finds in a page as it is now, also what does not fit on the screen."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("options => axe.run(options)", WHOLE_PAGE)
    broken = [f"{each['id']}: {[node['target'] for node in each['nodes']][:3]}" for each in found["violations"]]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        broken.append("it is wider than the screen")
    return broken
