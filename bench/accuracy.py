"""Measure word error rate and speed of the engines on recordings with known text, by language.

    python bench/accuracy.py MANIFEST --model base --only clips/de --only clips/vi

MANIFEST: a JSON-lines file; each line has `path` (relative to the manifest), `language` and `text`. English is compared
after Whisper's English normaliser, other languages after its basic one, Chinese and Japanese by character.
Speed is audio-seconds per second of CPU time of one process (that of ffmpeg is not counted), so it bears other work on
the machine; `bench/speed.py` compares it with other software.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import jiwer
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

from nightscribe.shared.model.engines import WHISPER_ENGINES
from nightscribe.shared.model.jobs import Options, Slice
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.worker.pipeline.models import Models
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.window_reader import WindowReader

BY_CHARACTER = {"zh", "ja"}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--engine", action="append", choices=list(WHISPER_ENGINES), help="default: both")
    parser.add_argument("--only", action="append", default=[], help="beginning of the paths of a set; may be repeated")
    parser.add_argument("--detect", action="store_true", help="detect the language instead of giving it")
    parser.add_argument("--most", type=int, default=10_000, help="recordings of each set")
    asked = parser.parse_args()

    sets = defaultdict(list)
    for line in asked.manifest.read_text().splitlines():
        recording = json.loads(line)
        name = next((each for each in asked.only if recording["path"].startswith(each)), None)
        if recording["text"] and (name or not asked.only):
            sets[name or str(Path(recording["path"]).parent)].append(recording)

    settings = Settings()
    print(f"{'set':<14} {'engine':<24} {'files':>5} {'audio s':>8} {'WER %':>6} {'CER %':>6} {'audio-s/CPU-s':>13}")
    for engine in asked.engine or WHISPER_ENGINES:
        models = Models(settings.models_dir, threads=1)
        for name, recordings in sorted(sets.items()):
            language = recordings[0]["language"].partition("-")[0]
            options = Options(engine=engine, model=asked.model, language="auto" if asked.detect else language)
            transcriber = models.transcriber(options)
            chosen = recordings[: asked.most]
            print(f"{name:<14} {_row(transcriber, options, language, asked.manifest.parent, chosen)}", flush=True)


def _row(
    transcriber: Transcriber, options: Options, language: str, folder: Path, recordings: list[dict[str, str]]
) -> str:
    source = FolderSource(folder)
    slices = [_whole(source, recording["path"]) for recording in recordings]
    normalise = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    true = {recording["path"]: normalise(recording["text"]) or "-" for recording in recordings}
    heard, audio_s, engine, began = {}, 0.0, "", time.process_time()
    for end, part in transcriber.transcribe(
        WindowReader(source, transcriber.window_limits).read(slices), Request(options)
    ):
        if part is None:
            print(f"{end.slice_.recording}: {end.error}")
            continue
        audio_s += part.decoded_s
        engine = part.engine
        heard[end.slice_.recording] = normalise(" ".join(segment.text for segment in part.segments))
    cpu_s = time.process_time() - began
    references, hypotheses = [true[path] for path in heard], list(heard.values())
    characters = 100 * jiwer.cer(references, hypotheses)
    words = "" if language in BY_CHARACTER else f"{100 * jiwer.wer(references, hypotheses):.2f}"
    return f"{engine:<24} {len(heard):>5} {audio_s:>8.0f} {words:>6} {characters:>6.2f} {audio_s / cpu_s:>13.1f}"


def _whole(source: FolderSource, path: str) -> Slice:
    found = source.stat(path)
    return Slice(recording=path, fingerprint=source.fingerprint(found), size=found.size, stem=path)


if __name__ == "__main__":
    main()
