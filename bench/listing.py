"""Measure the time and memory it takes to find what is missing among very many recordings, and to plan it.

The files are made first, in a temporary folder, which is not counted. Nothing is decoded, so they need not be sound.
Times are of this machine and its disk; the files have just been written, so the system knows their names still. Where
other programs are at work, the CPU time says more than the time it took.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from nightscribe.director.plan.bundles import JOB_S, bundles, long_recordings
from nightscribe.director.plan.estimate import LengthEstimate, Rates, sample
from nightscribe.director.plan.planner import Planner
from nightscribe.director.scan.scanner import Scan, Scanner
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.transcript import Segment, Transcript, Word, utc_now
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore

OPTIONS = Options(engine="faster-whisper", model="base")
FORMATS = ("txt", "vtt", "srt")
RATES = Rates({".mp3": 6.0})  # a file of some bytes stands for a clip of a minute


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--per-folder", type=int, default=1_000, help="how many of them in each folder (1,000)")
    parser.add_argument("--finished", type=int, default=0, help="how many have their transcripts already (0)")
    parser.add_argument("--words", type=int, default=1_500, help="words in each of these transcripts (1,500)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightscribe-listing-") as folder:
        source, dest = Path(folder, "source"), Path(folder, "dest")
        source.mkdir()
        dest.mkdir()
        print(f"making {given.recordings:,} files, {given.finished:,} of them finished …", flush=True)
        make(source, dest, given.recordings, given.per_folder, given.finished, given.words)
        measure(FolderSource(source), Records(FolderStore(dest)))


def make(source: Path, dest: Path, n: int, per_folder: int, finished: int, words: int) -> None:
    """Recordings of an hour ago, in folders, and transcripts of the first of them."""
    changed = time.time() - 3600
    files = FolderSource(source)
    text = transcript_json(words)
    for at in range(n):
        name = f"{at // per_folder:06}/{at:08}.mp3"
        if at % per_folder == 0:
            (source / name).parent.mkdir()
        (source / name).write_bytes(f"{at:010}".encode())
        os.utime(source / name, (changed, changed))
        if at < finished:
            write_transcript(dest, name, files, text)


def transcript_json(n_words: int) -> str:
    """What follows the header of a transcript of so many words."""
    words = tuple(Word(i / 2, i / 2 + 0.4, f" word{i}") for i in range(n_words))
    segments = tuple(
        Segment(
            start_s=part[0].start_s,
            end_s=part[-1].end_s,
            text="".join(word.text for word in part),
            average_log_probability=-0.2,
            no_speech_probability=0.01,
            compression_ratio=1.3,
            words=part,
        )
        for part in (words[i : i + 12] for i in range(0, n_words, 12))
    )
    whole = Transcript(
        recording="R",
        fingerprint="F",
        size=10,
        mtime_ns=1,
        stem="S",
        formats=FORMATS,
        options=OPTIONS,
        engine="faster-whisper 1.2.1",
        language="en",
        container_s=60.0,
        decoded_s=60.0,
        processing_s=3.0,
        finished_at=utc_now(),
        segments=segments,
    )
    return whole.model_dump_json()


def write_transcript(dest: Path, name: str, files: FolderSource, text: str) -> None:
    """As a worker does, but for the flushing to disk, which would take the night."""
    recording = files.stat(name)
    stem = name.removesuffix(".mp3")
    made = text.replace('"recording":"R"', f'"recording":"{name}"').replace('"stem":"S"', f'"stem":"{stem}"')
    made = made.replace('"fingerprint":"F"', f'"fingerprint":"{files.fingerprint(recording)}"')
    made = made.replace('"mtime_ns":1', f'"mtime_ns":{recording.mtime_ns}')
    key = dest / ".nightscribe" / "transcripts" / f"{name}.json"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text(made)
    for fmt in FORMATS:
        text_file = dest / f"{stem}.{fmt}"
        text_file.parent.mkdir(exist_ok=True)
        text_file.touch()


def measure(source: FolderSource, records: Records) -> None:
    """Listing alone, then what a run does before its first job is sent."""
    print(f"{'':28}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}")
    step("nothing yet", lambda: "")
    step("list", lambda: f"{sum(len(folder.recordings) for folder in source.folders()):,} files")
    found: list[Scan] = []

    def scan() -> str:
        found.append(Scanner(source, records, FORMATS, settle_s=3.0).scan())
        return f"{len(found[0].missing):,} missing, {found[0].n_finished:,} finished"

    step("list and compare", scan)
    missing = found[0].missing
    step("choose a sample", lambda: f"{len(sample(missing, 32))} of them")
    counted: list[RunProgress] = []
    step("begin to count", lambda: counted.append(RunProgress(found[0], LengthEstimate())) or "")
    step(
        "plan",
        lambda: (
            f"{count(long_recordings(missing, RATES, JOB_S)):,} long, {count(bundles(missing, RATES, JOB_S)):,} jobs"
        ),
    )
    planner = Planner(source, records, missing, RATES, JOB_S)
    step("fingerprints of 100 jobs", lambda: f"{sum(1 for _ in zip(range(100), planner, strict=False)):,} jobs")


def count(things: Iterable[object]) -> int:
    return sum(1 for _ in things)


def step(name: str, work: Callable[[], str]) -> None:
    began, cpu_began = time.monotonic(), time.process_time()
    said = work()
    took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:28}{took_s:>9.1f}{cpu_s:>9.1f}{peak_mb:>9.0f}  {said}", flush=True)


if __name__ == "__main__":
    main()
