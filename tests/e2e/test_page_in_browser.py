"""The pages as people use them: a real browser, a real server, real workers. One session carries everything."""

import base64
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from docx import Document
from playwright.sync_api import Page, expect
from support import recordings
from support.browser import chromium, served, violations
from support.waiting import wait_until

from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Flag, Segment, Transcript, utc_now
from nightscribe.shared.storage.folder.store import FolderStore

WITHIN_MS = 30_000  # workers load a model first; whatever else is at work on this machine
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
INTERVIEW = "حوار.mp3"
DROP = """([files]) => {
    const transfer = new DataTransfer();
    for (const [name, content] of files) {
        const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
        transfer.items.add(new File([bytes], name, {type: "audio/wav"}));
    }
    for (const kind of ["dragenter", "dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""


@pytest.fixture
def page() -> Iterator[Page]:
    """A page in a browser, in which nothing may fail unseen."""
    with chromium() as browser:
        context = browser.new_context(viewport=DESKTOP, locale="en-GB")  # type: ignore[arg-type]
        opened = context.new_page()
        opened.set_default_timeout(WITHIN_MS)
        expect.set_options(timeout=WITHIN_MS)
        problems: list[str] = []
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        yield opened
        assert problems == []


def interview() -> Transcript:
    """Two people who speak Arabic, in doubt at one place."""
    texts = ("مرحبا بكم في هذا البرنامج.", "شكرا جزيلا على الدعوة.", "متى بدأت العمل؟")
    return Transcript(
        recording=INTERVIEW, fingerprint="1-a", size=1, mtime_ns=None, stem="حوار", formats=(), engine="x",
        language="ar", options=Options(engine="auto", model="tiny", speakers="auto"), decoded_s=15, processing_s=1,
        finished_at=utc_now(), flags=(Flag.LOW_CONFIDENCE,),
        segments=tuple(
            Segment(
                start_s=5 * at, end_s=5 * at + 4, text=text, speaker=f"Speaker {at % 2 + 1}",
                confidence=0.3 if at == 1 else None,
            )
            for at, text in enumerate(texts)
        ),
        speakers=tuple(Speaker(label=f"Speaker {n}", clean_s=5) for n in (1, 2)),
    )  # fmt: skip


def test_people_drop_recordings_and_read_hear_correct_search_export_name_and_delete(
    page: Page, environment: dict[str, str], speech: Path, tmp_path: Path
) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    dest.mkdir()
    clips = [
        recordings.cut(speech, tmp_path / f"clip {n}.wav", 8.5 * n, 6, "-ar", "16000", "-ac", "1") for n in range(3)
    ]
    files = [(each.name, base64.b64encode(each.read_bytes()).decode()) for each in clips]
    records = Records(FolderStore(dest))
    with served(environment, dest, "--source", source, "--workers", "1") as url:
        page.goto(url)
        expect(page.get_by_role("heading", name="No transcripts yet")).to_be_visible()
        assert violations(page) == []

        page.evaluate(DROP, [files])
        expect(page.get_by_role("link", name=re.compile("^Open clip"))).to_have_count(3)
        expect(page.locator("#results")).to_contain_text("clip 2.wav")
        first = records.transcript("uploads/clip 0.wav")
        assert first is not None

        page.get_by_role("link", name="Open clip 0.wav").click()
        listen(page, first)
        correct(page, dest)
        export(page)
        search(page, url)
        read_arabic(page, url, records)
        review(page, url, records)
        refuse(page, url)
        page.goto(url + "/workers")
        expect(page.locator("main")).to_contain_text("No worker is at work, and no recording waits for one.")
        for address in ("/", "/search?q=times", "/review", "/workers", "/recording/uploads/clip%200.wav"):
            for scheme, size in (("light", PHONE), ("dark", DESKTOP)):
                page.set_viewport_size(size)  # type: ignore[arg-type]
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.goto(url + address)
                assert violations(page) == [], (address, scheme)
                assert page.evaluate("(nav => nav.scrollWidth <= nav.clientWidth)(document.querySelector('nav'))")
        delete(page, records)


def listen(page: Page, spoken: Transcript) -> None:
    """Play by the keyboard, and by a click on a word."""
    playing = page.locator("audio")
    expect(page.locator(".passage").first).to_be_visible()
    page.locator("body").press("Space")
    wait_until(lambda: page.evaluate("document.querySelector('audio').currentTime > 0.3"))
    expect(page.locator(".passage[aria-current]")).to_have_count(1)
    page.locator("body").press("Space")
    assert playing.evaluate("audio => audio.paused")

    words = [word for segment in spoken.segments for word in segment.words]
    chosen = next(word for word in words if word.start_s > 1 and len(word.text.strip()) > 3)
    place = page.evaluate(
        """word => {
            for (const text of document.querySelectorAll(".passage .text")) {
                const at = text.firstChild.data.indexOf(word);
                if (at < 0) continue;
                const range = document.createRange();
                range.setStart(text.firstChild, at);
                range.setEnd(text.firstChild, at + word.length);
                const box = range.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2];
            }
        }""",
        chosen.text.strip(),
    )
    page.mouse.click(*place)
    wait_until(lambda: page.evaluate("document.querySelector('audio').currentTime") >= chosen.start_s - 0.05)
    wait_until(lambda: page.evaluate("CSS.highlights.get('spoken').size === 1"))
    wait_until(lambda: page.evaluate("!document.querySelector('audio').paused"))
    page.locator("body").press("k")
    page.locator("body").press(">")
    assert page.locator("#speed").input_value() == "1.25"
    page.locator("body").press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Play or pause")
    assert violations(page) == []
    page.keyboard.press("Escape")
    wait_until(
        lambda: page.evaluate("fetch(document.querySelector('.wave').dataset.url).then(found => found.status === 200)")
    )


def correct(page: Page, dest: Path) -> None:
    """Correct a passage, take that back, and correct it again."""
    passage = page.locator(".passage").first
    before = passage.locator(".text").inner_text()
    passage.locator(".text").dblclick()
    editor = page.get_by_role("textbox", name=re.compile("Correct this passage"))
    editor.fill(f"Chancellors said: {before}")
    editor.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Corrected.")
    expect(passage).to_contain_text("Chancellors said:")
    text = dest / "uploads/clip 0.txt"
    assert "Chancellors said:" in text.read_text()
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    expect(passage.locator(".text")).to_have_text(before)
    assert "Chancellors" not in text.read_text()

    page.locator("body").press("ArrowDown")
    passage.get_by_role("button", name=re.compile("^Play from")).focus()
    page.keyboard.press("e")
    editor.press("End")
    editor.press_sequentially(" Extraordinary.")
    editor.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Corrected.")
    expect(passage.get_by_role("button", name="What the machine heard")).to_be_visible()


def export(page: Page) -> None:
    """Download what was corrected as a Word document."""
    page.locator("summary", has_text="Export").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Word document").click()
    content = Path(downloading.value.path()).read_bytes()
    assert downloading.value.suggested_filename == "clip 0.docx"
    assert "Extraordinary." in "\n".join(each.text for each in Document(BytesIO(content)).paragraphs)


def search(page: Page, url: str) -> None:
    """Find the corrected word, and go to its second."""
    page.get_by_role("link", name="Search").click()
    field = page.get_by_role("searchbox")
    wait_until(lambda: (field.fill("extraordinary"), field.press("Enter"), page.locator(".hit").count())[-1])
    page.locator(".hit").first.click()
    page.wait_for_url(re.compile(r"/recording/uploads/clip%200\.wav\?t=[0-9.]+&q=extraordinary"))
    expect(page.locator(".passage[aria-current]")).to_contain_text("Extraordinary")


def read_arabic(page: Page, url: str, records: Records) -> None:
    """Read from right to left, and name a speaker."""
    records.finish(interview(), ())
    page.goto(f"{url}/recording/{INTERVIEW}")
    assert page.locator(".transcript").evaluate("part => getComputedStyle(part).direction") == "rtl"
    page.get_by_role("button", name="Rename Speaker 2").click()
    page.get_by_role("textbox", name="Name of Speaker 2").fill("ليلى")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Named ليلى.")
    expect(page.locator(".passage .who").nth(1)).to_have_text("ليلى")
    assert violations(page) == []


def review(page: Page, url: str, records: Records) -> None:
    """Go to the passage in doubt, and find it right, with two keys."""
    page.goto(f"{url}/recording/{INTERVIEW}?review=1")
    expect(page.locator(".passage.doubt .time")).to_be_focused()
    page.keyboard.press("l")
    expect(page.locator("[data-left]")).to_have_text("Nothing left in doubt")
    found = records.transcript(INTERVIEW)
    assert found is not None
    assert [each.start_s for each in found.looked_at] == [5.0]


def refuse(visited: Page, url: str) -> None:
    """Drop a file that is no recording: the reason can be read, beside its button or below it."""
    page = visited.context.new_page()  # in which the refusal is no problem
    page.goto(url)
    page.evaluate(DROP, [[["notes.wav", base64.b64encode(b"These are notes, and nobody speaks.").decode()]]])
    expect(page.get_by_text("It holds text, not sound. Send another file.")).to_be_visible()
    for size in (PHONE, DESKTOP):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        reason, button = (page.locator(f".uploads li > .{each}").bounding_box() for each in ("chip", "button"))
        assert reason is not None
        assert button is not None
        is_beside = reason["x"] + reason["width"] <= button["x"]
        assert is_beside or button["y"] + button["height"] <= reason["y"]
    page.close()


def delete(page: Page, records: Records) -> None:
    """Delete a transcript after a question."""
    page.get_by_role("button", name="Delete this transcript").click()
    page.get_by_role("button", name="Keep it").click()
    assert records.transcript("uploads/clip 0.wav")
    page.get_by_role("button", name="Delete this transcript").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Deleted clip 0.wav.")
    assert records.transcript("uploads/clip 0.wav") is None
    expect(page.locator("#results")).not_to_contain_text("clip 0.wav")
