"""Measure the pages of the server with many recordings: first paint, layout shift, and the time of each response.

The transcripts are generated. Real Chromium loads the pages; its own figures are printed.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nightscribe.services.search import index
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Flag, Segment, Transcript, Word
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOADS = 5
SHIFT = """
window.shift = 0;
new PerformanceObserver((list) => {
    for (const each of list.getEntries()) if (!each.hadRecentInput) window.shift += each.value;
}).observe({type: "layout-shift", buffered: true});
"""
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = [
    "the",
    "and",
    "we",
    "that",
    "of",
    "in",
    "it",
    "is",
    "was",
    "for",
    "you",
    "they",
    "have",
    "with",
    "this",
    "but",
    "from",
    "are",
    "not",
    "what",
    "can",
    "there",
    "when",
    "one",
    "all",
    "your",
    "which",
    "were",
    "how",
    "some",
    "time",
    "people",
    "know",
    "about",
    "could",
    "year",
    "would",
    "like",
    "other",
    "then",
    "now",
    "way",
    "through",
    "think",
    "where",
    "also",
    "because",
    "going",
    "river",
    "night",
    "budget",
    "school",
    "letter",
    "garden",
    "station",
    "weather",
    "question",
    "answer",
    "window",
    "morning",
    "harbour",
]
NAMES = ("Anna", "Bea Kowalska", "Dr. Chen", "Diego", "Speaker 2", "Ewa", "Speaker 1", "Friedrich")
FLAGS = (Flag.GAP, Flag.TRUNCATED, Flag.LOW_CONFIDENCE, Flag.LANGUAGE_CHANGES, Flag.REPETITION)


def main() -> None:
    """Print a line for each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=10_000, help="how many (default: 10,000)")
    parser.add_argument("--hours", type=float, default=10.0, help="length of the longest one (10)")
    parser.add_argument("--keep", type=Path, help="make or use the recordings in this folder")
    parser.add_argument("--serve", action="store_true", help="only serve them, until Ctrl-C")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightscribe-page-") as folder:
        dest = given.keep or Path(folder)
        if not (dest / ".nightscribe").exists():
            began = time.process_time()
            fill(dest, given.recordings, given.hours)
            index(FolderLocation(dest))
            print(f"made {given.recordings:,} recordings in {time.process_time() - began:.0f} s of CPU time")
        with serving(dest) as url:
            if given.serve:
                print(url)
                time.sleep(10**6)
            measure(url)


def measure(url: str) -> None:
    """Print what the browser says of each page, after it has loaded styles and scripts once."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM:
        sys.exit("There is no Chromium here; install the package chromium.")
    pages = {
        "library": "/",
        "page 100": "/?page=100",
        "filtered": "/?q=talk&language=de&flag=gap",
        "long transcript": "/recording/long/day.mp3",
        "search": "/search?q=harbour",
        "review": "/review",
        "workers": "/workers",
    }
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(SHIFT)
        for name, path in pages.items():
            urllib.request.urlopen(url + path).read()
            began = time.perf_counter()
            size = len(urllib.request.urlopen(url + path).read())
            response_ms = 1000 * (time.perf_counter() - began)
            paints_ms, shifts = list[float](), list[float]()
            for _ in range(LOADS):
                page.goto("about:blank")
                page.goto(url + path, wait_until="load")
                page.wait_for_timeout(1000)
                paints_ms.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
                shifts.append(page.evaluate("window.shift"))
            print(
                f"{name:16} response {response_ms:4.0f} ms, {size / 1000:4.0f} kB; first paint {min(paints_ms):.0f} ms "
                f"at best, {statistics.median(paints_ms):4.0f} ms in the middle; layout shift {max(shifts):.4f}"
            )
        browser.close()


@contextmanager
def serving(dest: Path, *arguments: str) -> Iterator[str]:
    """Serve a destination in a process of its own, and yield its address."""
    command = [sys.executable, "-m", "nightscribe", "serve", str(dest), "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            line = process.stdout.readline()
            yield line.split(" at ")[1].split()[0].rstrip("/")
        finally:
            process.terminate()


def fill(dest: Path, n: int, hours: float) -> None:
    """Put transcripts and failures into a destination."""
    chance = random.Random(1)
    dest.mkdir(parents=True, exist_ok=True)
    records = Records(FolderStore(dest))
    for number in range(n):
        at = BEGAN + timedelta(minutes=17 * number)
        recording = f"{at:%Y}/{at:%m}/talk {number:05}.mp3"
        if number % 97 == 0:
            records.fail(failure(recording, at))
            continue
        records.store.put(f".nightscribe/transcripts/{recording}.json", made(recording, at, chance), durable=False)
    if hours:
        long = made("long/day.mp3", BEGAN, chance, n_segments=round(hours * 3600 / 5), labelled=True)
        records.store.put(".nightscribe/transcripts/long/day.mp3.json", long)


def failure(recording: str, at: datetime) -> Failure:
    """Return a failure."""
    return Failure(
        recording=recording, fingerprint="1-a", size=1, mtime_ns=None, code="text_not_sound",
        reason="It holds text, and no sound.", attempts=1, worker="w", failed_at=at,
    )  # fmt: skip


def made(recording: str, at: datetime, chance: random.Random, n_segments: int = 0, labelled: bool = False) -> bytes:
    """Return a transcript as it is stored."""
    labelled = labelled or chance.random() < 0.4
    names = chance.sample(NAMES, 3)
    segments = []
    for number in range(n_segments or chance.randint(4, 16)):
        words, start_s = [], 5.0 * number
        for nth in range(chance.randint(5, 16)):
            text = chance.choice(WORDS)
            words.append(Word(start_s + 0.3 * nth, start_s + 0.3 * nth + 0.25, (" " if nth else "") + text))
        last = words[-1]
        words[-1] = last._replace(text=last.text + ".")
        segments.append(
            Segment(
                start_s=start_s, end_s=words[-1].end_s, text="".join(word.text for word in words), words=tuple(words),
                average_log_probability=-0.3, no_speech_probability=0.01, compression_ratio=1.2,
                confidence=round(chance.uniform(0.2, 0.6), 2) if chance.random() < 0.05 else None,
                speaker=f"Speaker {1 + (number // 4) % 3}" if labelled else None,
            )
        )  # fmt: skip
    transcript = Transcript(
        recording=recording, fingerprint="1-a", size=1, mtime_ns=int(at.timestamp() * 1e9),
        stem=recording.removesuffix(".mp3"), formats=(), engine="faster-whisper 1.2.1",
        options=Options(engine="auto", model="small", speakers="auto" if labelled else "off"),
        language=chance.choice(("en", "en", "en", "de", "fr", "pl", "ja")), container_s=5.0 * len(segments),
        decoded_s=5.0 * len(segments), processing_s=3.0, flags=(chance.choice(FLAGS),) if chance.random() < 0.2 else (),
        finished_at=at, segments=tuple(segments),
        speakers=tuple(
            Speaker(label=f"Speaker {nth}", clean_s=10, name=None if name.startswith("Speaker") else name)
            for nth, name in enumerate(names, 1)
        ) if labelled else (),
    )  # fmt: skip
    return transcript.model_dump_json().encode()


if __name__ == "__main__":
    main()
