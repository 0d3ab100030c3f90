"""The page that `--formats html` writes, in a real browser: opened from a disk, beside its recording and elsewhere."""

import shutil
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from making import segment, transcript

from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.transcript import Word

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

WORDS = ("It", "was", "the", "best", "of", "times.")
TALK = transcript(
    segment(1, 4, " ".join(WORDS), words=tuple(Word(1 + n / 2, 1.5 + n / 2, f" {w}") for n, w in enumerate(WORDS))),
    segment(7, 9, "It was the worst of times."),
    recording="2012/the talk #1.wav",
    stem="2012/the talk #1",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page()
    opened.problems = []
    opened.requested = []
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.on("console", lambda said: opened.problems.append(said.text))
    opened.on("request", lambda request: opened.requested.append(request.url))
    yield opened
    opened.close()


def recorded(path: Path) -> Path:
    """Write ten seconds of silence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack("<h", 0) * 80_000)
    return path


def written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(render(TALK, "html"))
    return path


def until(page: Any, condition: str) -> None:
    """Wait for a condition in JavaScript. The page's policy forbids the function of playwright that does so."""
    while not page.evaluate(condition):
        page.wait_for_timeout(20)


def test_a_click_on_a_word_plays_it_and_it_lights_up(page: Any, tmp_path: Path) -> None:
    talk = recorded(tmp_path / "2012/the talk #1.wav")
    there = written(tmp_path / "2012/the talk #1.html")
    page.goto(there.as_uri())
    page.wait_for_selector("body.can-play")
    page.evaluate("document.querySelector('audio').playbackRate = 0.0625")  # so that no word is over before it is seen
    page.get_by_text("It was the best of times.").hover()
    page.get_by_text("best", exact=True).click()
    page.locator(".now .word").get_by_text("best", exact=True).wait_for()
    assert 2.5 <= page.evaluate("document.querySelector('audio').currentTime") < 3
    page.keyboard.press("Space")
    until(page, "document.querySelector('audio').paused")
    page.evaluate("document.querySelector('audio').currentTime = 3.6")
    page.locator(".now .word").get_by_text("times.", exact=True).wait_for()
    page.keyboard.press("ArrowRight")
    page.locator(".now").get_by_text("It was the worst of times.").wait_for()
    page.goto(f"{there.as_uri()}#t=1.2")
    page.locator(".now .word").get_by_text("It", exact=True).wait_for()
    assert {url.partition("#")[0] for url in page.requested} == {there.as_uri(), talk.as_uri()}
    assert page.problems == []


def test_a_recording_elsewhere_is_found_by_the_link_or_chosen(page: Any, tmp_path: Path) -> None:
    talk = recorded(tmp_path / "in/2012/the talk #1.wav")
    there = written(tmp_path / "out/2012/the talk #1.html")
    page.goto(there.as_uri())
    page.get_by_text("is not beside this page").wait_for(state="visible")
    page.set_input_files("input", talk)
    page.wait_for_selector("body.can-play")
    assert page.get_by_text("is not beside this page").is_hidden()
    page.goto(f"{there.as_uri()}?recording=..%2F..%2Fin%2F2012%2Fthe%2520talk%2520%25231.wav")
    page.wait_for_selector("body.can-play")
    page.goto(f"{there.as_uri()}?recording=https%3A%2F%2Fexample.org%2Fx.wav")
    page.get_by_text("is not beside this page").wait_for(state="visible")
    assert all(url.startswith(("file:", "blob:")) for url in page.requested)
