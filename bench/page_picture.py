"""Make docs/pictures/page.png, the picture of the page in the documents: an invented interview and its sound."""

import argparse
import tempfile
import wave
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from page import CHROMIUM, serving

from nightscribe.services.correct import correct_passage
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Segment, Transcript, Word
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore

RECORDING = "harbour voices/ruth larsen.wav"
RATE = 8_000
WORD_S = 0.32
SAID: tuple[tuple[str, str, float | None], ...] = (
    ("Speaker 1", "You grew up right beside the harbour. What is the first sound you remember?", None),
    ("Speaker 2", "The ropes. When the wind came from the north, every mast in the basin began to sing.", None),
    ("Speaker 2", "My father said you could tell the weather from the note, and he was usually right.", None),
    ("Speaker 1", "Did you go out with him?", None),
    ("Speaker 2", "From when I was nine, on the Solveig, and later with my uncle on the Merry Ann.", 0.46),
    ("Speaker 2", "We left at three in the morning, so that we were back before the market opened.", None),
    ("Speaker 1", "And your mother kept the books?", None),
    ("Speaker 2", "Every crate, every bill. She wrote it all down at night, when the house was finally quiet.", None),
    ("Speaker 2", "I still have those books. Forty years of weather and fish and money, in her small hand.", None),
    ("Speaker 1", "Would you read us a page?", None),
    ("Speaker 2", "Gladly. This one is from the winter when the harbour froze.", None),
)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parents[1] / "docs/pictures/page.png"
    parser.add_argument("picture", nargs="?", type=Path, default=default, help="where to write it")
    parser.add_argument("--dark", action="store_true", help="as readers see it who prefer dark pages")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightscribe-picture-") as folder:
        source, dest = Path(folder, "recordings"), Path(folder, "transcripts")
        make(source, dest)
        with serving(dest, "--source", str(source), "--no-workers") as url:
            take(url, given.picture, dark=given.dark)


def take(url: str, picture: Path, *, dark: bool) -> None:
    """Take the picture while a word is spoken."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1280, "height": 860}, color_scheme="dark" if dark else "light", device_scale_factor=1.5
        )
        page.goto(f"{url}/recording/{RECORDING}?t=7.9")
        page.wait_for_timeout(4000)  # until the waveform is there
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(300)
        page.screenshot(path=picture)
        browser.close()


def make(source: Path, dest: Path) -> None:
    """Make the recording and its transcript, with a correction."""
    segments, spoken, at_s = [], list[tuple[float, float]](), 0.4
    for speaker, text, confidence in SAID:
        parts = text.split(" ")
        words = tuple(
            Word(at_s + WORD_S * n, at_s + WORD_S * n + 0.28, (" " if n else "") + part) for n, part in enumerate(parts)
        )
        segments.append(
            Segment(
                start_s=at_s, end_s=words[-1].end_s, text=text, words=words, speaker=speaker, confidence=confidence,
                average_log_probability=-0.2, no_speech_probability=0.01, compression_ratio=1.2,
            )
        )  # fmt: skip
        spoken += [(word.start_s, word.end_s) for word in words]
        at_s = words[-1].end_s + 0.7
    dest.mkdir(parents=True)
    made = Transcript(
        recording=RECORDING, fingerprint="1-a", size=1, mtime_ns=None, stem="ruth larsen", formats=(),
        options=Options(engine="auto", model="small", speakers="2"), engine="faster-whisper 1.2.1", language="en",
        container_s=at_s, decoded_s=at_s, processing_s=9.0, finished_at=datetime(2026, 3, 14, 3, 12, tzinfo=UTC),
        segments=tuple(segments),
        speakers=(
            Speaker(label="Speaker 1", clean_s=20, name="Interviewer"),
            Speaker(label="Speaker 2", clean_s=60, name="Ruth Larsen"),
        ),
    )  # fmt: skip
    Records(FolderStore(dest)).finish(made, ())
    begun = segments[2].start_s
    correct_passage(FolderLocation(dest), RECORDING, begun, SAID[2][1].replace("note", "pitch"), by="Anna")
    write_sound(source / RECORDING, at_s, spoken)


def write_sound(path: Path, length_s: float, spoken: list[tuple[float, float]]) -> None:
    """Write noise that is loud where words are."""
    chance = np.random.default_rng(1)
    sound = chance.normal(0, 0.004, int(length_s * RATE))
    for start_s, end_s in spoken:
        place = slice(int(start_s * RATE), int(end_s * RATE))
        n = len(sound[place])
        sound[place] += np.hanning(n) * chance.normal(0, chance.uniform(0.08, 0.25), n)
    path.parent.mkdir(parents=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
