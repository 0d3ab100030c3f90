"""Measure how well the flags tell bad transcripts from good ones, for each line that a log probability could have.

    python bench/confidence.py MANIFEST --only clips/ --skip 6 --most 20

MANIFEST is that of `bench/accuracy.py`. With `--skip` and `--most`, fit the line on some recordings of each folder and
test it on others. A transcript is bad with more than 60 % wrong words and good with less than 20 %. Chinese and
Japanese are left out, since their scripts and spellings would have to be unified first.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import jiwer
from accuracy import BY_CHARACTER
from recordings import normalise

from nightscribe.shared.model.jobs import Options, Slice
from nightscribe.shared.model.transcript import Flag, Part
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.worker.pipeline.assemble import DOUBTFUL_SHARE
from nightscribe.worker.pipeline.models import Models
from nightscribe.worker.pipeline.transcriber import Request
from nightscribe.worker.pipeline.window_reader import WindowReader

BAD, GOOD = 0.6, 0.2
LINES = (-1.0, -0.7, -0.6, -0.55, -0.5, -0.475, -0.45, -0.425, -0.4, -0.35)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--engine", default="faster-whisper")
    parser.add_argument("--only", default="", help="beginning of the paths")
    parser.add_argument("--skip", type=int, default=0, help="recordings of each folder")
    parser.add_argument("--most", type=int, default=20, help="recordings of each folder")
    asked = parser.parse_args()

    seen: Counter[str] = Counter()
    chosen = {}
    for line in asked.manifest.read_text().splitlines():
        recording = json.loads(line)
        folder = str(Path(recording["path"]).parent)
        if not recording["text"] or not recording["seconds"] or not recording["path"].startswith(asked.only):
            continue
        if recording["language"].partition("-")[0] not in BY_CHARACTER:
            seen[folder] += 1
            if asked.skip < seen[folder] <= asked.skip + asked.most:
                chosen[recording["path"]] = recording

    source = FolderSource(asked.manifest.parent)
    options = Options(engine=asked.engine, model=asked.model)
    transcriber = Models(Settings().models_dir, threads=1).transcriber(options)
    slices = [
        Slice(recording=path, fingerprint=source.fingerprint(found), size=found.size, stem=path)
        for path, found in ((path, source.stat(path)) for path in chosen)
    ]
    bad, good = [], []
    sound = WindowReader(source, transcriber.window_limits).read(slices)
    for end, part in transcriber.transcribe(sound, Request(options)):
        if part is None:
            print(f"{end.slice_.recording}: {end.error}")
            continue
        wrong = _wrong(part, chosen[end.slice_.recording])
        if wrong > BAD:
            bad.append(part)
        elif wrong < GOOD:
            good.append(part)
    print(f"{'line':>6} {'of bad':>8} {'of good':>8}   of {len(bad)} and {len(good)} recordings")
    for line in LINES:
        print(f"{line:>6} {_flagged(bad, line):>8} {_flagged(good, line):>8}")


def _wrong(part: Part, recording: dict[str, str]) -> float:
    language = recording["language"].partition("-")[0]
    heard = normalise(" ".join(segment.text for segment in part.segments), language)
    return float(jiwer.wer(normalise(recording["text"], language) or "-", heard))


def _flagged(parts: list[Part], line: float) -> int:
    """Return how many parts have a flag if log probabilities below the line are doubtful."""
    n = 0
    for part in parts:
        lengths_s = [(each.end_s - each.start_s, each.average_log_probability or 0.0) for each in part.segments]
        doubtful_s = sum(length_s for length_s, probability in lengths_s if probability < line)
        others = set(part.flags) - {Flag.LOW_CONFIDENCE}
        n += bool(others) or doubtful_s > DOUBTFUL_SHARE * sum(length_s for length_s, _ in lengths_s)
    return n


if __name__ == "__main__":
    main()
