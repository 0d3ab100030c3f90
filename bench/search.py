"""Measure the search index: its size, how long a query takes, and how long it takes to add one recording.

The transcripts are generated: words of Zipf's frequencies as in real speech, every twentieth recording in Chinese
characters. They are put into the index directly, because reading records is measured by itself. Where other programs
are at work, the CPU time says more than the time it took.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from pathlib import Path
from typing import TypeVar

from nightscribe.search.base import Entry, Filters, Passage
from nightscribe.search.sqlite_index import SqliteIndex
from nightscribe.search.update import entry_of
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.transcript import Segment, Transcript, Word, utc_now

T = TypeVar("T")

N_WORDS = 200_000
N_CHARACTERS = 4_000
COMMON = "the"
BEGAN = datetime(2000, 1, 1, tzinfo=UTC)


def main() -> None:
    """Print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=100_000, help="how many (default: 100,000)")
    parser.add_argument("--passages", type=int, default=50, help="passages of each (50)")
    parser.add_argument("--repeats", type=int, default=20, help="how often each query is made (20)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightscribe-search-") as folder, SqliteIndex(Path(folder, "x")) as index:
        speech = Speech(given.passages)
        fill(index, speech, given.recordings)
        measure_queries(index, speech, given.recordings, given.repeats)
        measure_one(index, speech, given.recordings)


class Speech:
    """Makes passages with the frequencies of words in real speech."""

    def __init__(self, n_passages: int) -> None:
        self.random = random.Random(1)
        self.n_passages = n_passages
        self.words = [COMMON, *{self._word() for _ in range(N_WORDS)}]
        self.weights = list(accumulate(1 / (n + 2.7) for n in range(len(self.words))))
        self.characters = [chr(0x4E00 + n) for n in range(N_CHARACTERS)]
        self.n_bytes = 0

    def _word(self) -> str:
        letters = self.random.choices(
            "etaoinshrdlcumwfgypbvkjxqz", weights=range(26, 0, -1), k=2 + self.random.getrandbits(3)
        )
        return "".join(letters)

    def entries(self, n: int) -> Iterator[Entry]:
        """Yield recordings, and count the bytes of their texts."""
        for number in range(n):
            yield self.entry(number)

    def entry(self, number: int) -> Entry:
        """Return one recording."""
        is_chinese = number % 20 == 19
        passages = tuple(self._passage(at, is_chinese) for at in range(self.n_passages))
        self.n_bytes += sum(len(each.text.encode()) for each in passages)
        name = f"{number // 1000:04}/{number:07}.mp3"
        return Entry(
            key=f"{name}.json",
            revision="1",
            digest=number.to_bytes(16, "big"),
            recording=name,
            stem=name,
            language="zh" if is_chinese else "de" if number % 7 == 0 else "en",
            recorded_at=BEGAN + timedelta(hours=number),
            duration_s=300.0,
            passages=passages,
        )

    def _passage(self, at: int, is_chinese: bool) -> Passage:
        if is_chinese:
            chosen = self.random.choices(self.characters, cum_weights=self.weights[:N_CHARACTERS], k=24)
            text = "".join(chosen) + "。"
        else:
            text = " ".join(self.random.choices(self.words, cum_weights=self.weights, k=12)).capitalize() + "."
        return Passage(at * 6.0, at * 6.0 + 5.5, text, f"Speaker {at % 3 + 1}" if at % 2 else None)


def fill(index: SqliteIndex, speech: Speech, n: int) -> None:
    """Put all recordings into the index, as an update does."""
    cpu_s = 0.0
    entries = speech.entries(n)
    while batch := list(islice(entries, 400)):
        began_s = time.process_time()
        index.put(batch)
        cpu_s += time.process_time() - began_s
    totals = index.totals()
    print(
        f"{totals.n_recordings:,} recordings, {totals.n_passages:,} passages, {speech.n_bytes / 2**20:,.0f} MB of text"
    )
    print(f"made in {cpu_s:,.0f} s CPU ({1000 * cpu_s / n:.1f} ms a recording)")
    print(f"size {totals.n_bytes / 2**20:,.0f} MB, {totals.n_bytes / speech.n_bytes:.2f} × the text", flush=True)


def measure_queries(index: SqliteIndex, speech: Speech, n: int, repeats: int) -> None:
    """Time queries from the rarest to the most common."""
    words, common = speech.words, speech.words[3]
    rare, middle, other = words[100_000], words[2_000], words[2_500]
    week = BEGAN + timedelta(hours=n / 2)
    queries: dict[str, tuple[str, Filters]] = {
        "a rare word": (rare, Filters()),
        "an ordinary word": (middle, Filters()),
        "the commonest word": (COMMON, Filters()),
        "two ordinary words": (f"{middle} {other}", Filters()),
        "a common and an ordinary word": (f"{common} {middle}", Filters()),
        "two common words": (f"{common} {COMMON}", Filters()),
        "three common words": (f"{common} {COMMON} {words[5]}", Filters()),
        "a phrase of common words": (f'"{common} {COMMON}"', Filters()),
        "either of two": (f"{middle} OR {other}", Filters()),
        "near": (f"{middle} NEAR/5 {common}", Filters()),
        "without": (f"{middle} NOT {common}", Filters()),
        "a prefix of 3 letters": (f"{middle[:3]}*", Filters()),
        "a prefix of 1 letter": ("e*", Filters()),
        "one common character": (speech.characters[1], Filters()),
        "one rare character": (speech.characters[3_000], Filters()),
        "two characters": ("".join(speech.characters[5:7]), Filters()),
        "four characters": ("".join(speech.characters[1:5]), Filters()),
        "a common word in one folder": (COMMON, Filters(folder=f"{n // 2000:04}")),
        "a common word in one week": (COMMON, Filters(since=week, until=week + timedelta(days=7))),
        "a common word in a language": (COMMON, Filters(language="de")),
        "an ordinary word of a speaker": (middle, Filters(speaker="speaker 2")),
        "a common word of a speaker": (COMMON, Filters(speaker="speaker 2")),
        "a common word where it is not": (COMMON, Filters(language="zh")),
        "a misspelt word": (f"{middle[:-1]}zq", Filters()),
        "nothing that occurs": ("zzqxjjy", Filters()),
        "the last page": (middle, Filters()),
    }
    for name, (query, filters) in queries.items():
        offset = 900 if name == "the last page" else 0
        found, wall_ms, cpu_ms = timed(lambda: index.search(query, filters, limit=20, offset=offset), repeats)  # noqa: B023
        hits = f"{'more than ' * found.has_more_hits}{found.n_hits:,} hits"
        print(f"{name:32} {wall_ms:7.1f} ms, {cpu_ms:7.1f} ms CPU, {hits}", flush=True)


def measure_one(index: SqliteIndex, speech: Speech, n: int) -> None:
    """Time how long it takes to add, to replace and to remove one recording, and to read its record."""
    new = iter(range(n, n + 1000))
    _, wall_ms, cpu_ms = timed(lambda: index.put([speech.entry(next(new))]), 200)
    print(f"{'adding one recording':32} {wall_ms:7.1f} ms, {cpu_ms:7.1f} ms CPU (with making it up)")
    old = iter(range(0, n, max(1, n // 200)))
    _, wall_ms, cpu_ms = timed(lambda: index.remove([speech.entry(next(old)).key]), min(100, n // 2))
    print(f"{'removing one recording':32} {wall_ms:7.1f} ms, {cpu_ms:7.1f} ms CPU")
    content = record(speech.entry(0)).model_dump_json().encode()
    _, wall_ms, cpu_ms = timed(lambda: entry_of("a.json", "1", content), 100)
    print(f"{'reading one record':32} {wall_ms:7.1f} ms, {cpu_ms:7.1f} ms CPU, {len(content) / 1024:.0f} KiB")


def record(entry: Entry) -> Transcript:
    """Return a record with the words of an entry."""
    segments = tuple(
        Segment(
            start_s=each.start_s,
            end_s=each.end_s,
            text=each.text,
            average_log_probability=-0.2,
            no_speech_probability=0.01,
            compression_ratio=1.3,
            words=tuple(Word(each.start_s, each.end_s, f" {word}") for word in each.text.split()),
        )
        for each in entry.passages
    )
    return Transcript(
        recording=entry.recording,
        fingerprint="10-abc",
        size=10,
        mtime_ns=1,
        stem=entry.stem,
        formats=("txt",),
        options=Options(engine="auto", model="base"),
        engine="none",
        decoded_s=300.0,
        processing_s=10.0,
        finished_at=utc_now(),
        segments=segments,
    )


def timed(call: Callable[[], T], repeats: int) -> tuple[T, float, float]:
    """Return what the last call returned, and the median of its milliseconds, by the clock and of the processor."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        result = call()
        walls.append(time.perf_counter() - wall_s)
        cpus.append(time.process_time() - cpu_s)
    return result, 1000 * statistics.median(walls), 1000 * statistics.median(cpus)


if __name__ == "__main__":
    main()
