"""Word error rate and speed of both engines on recordings with known text, side by side in one run.

    python bench/accuracy.py MANIFEST --model base --only clips/en --only utterances

MANIFEST: a JSON-lines file; each line has `path` (relative to the manifest), `language` and `text`. English is compared
after Whisper's English normaliser, other languages after its basic one, Chinese and Japanese by character.
Speed is audio-seconds per second of CPU time, so it bears other work on the machine; the ratio is what counts.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import jiwer
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

from shared.errors import AudioError
from shared.jobs import Options, Slice
from shared.settings import Settings
from worker.engines import ENGINES
from worker.transcriber import Models, Transcriber

BY_CHARACTER = {"zh", "ja"}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--engine", action="append", choices=list(ENGINES), help="default: both")
    parser.add_argument("--only", action="append", default=[], help="beginning of the paths of a set; may be repeated")
    parser.add_argument(
        "--beams", type=int, action="append", help="compare numbers of beams; default: the engines' own"
    )
    parser.add_argument("--most", type=int, default=10_000, help="recordings of each set")
    asked = parser.parse_args()

    sets = defaultdict(list)
    for line in asked.manifest.read_text().splitlines():
        recording = json.loads(line)
        name = next((each for each in asked.only if recording["path"].startswith(each)), None)
        if recording["text"] and (name or not asked.only):
            sets[name or str(Path(recording["path"]).parent)].append(recording)

    settings = Settings()
    print(
        f"{'set':<14} {'engine':<24} {'beams':>5} {'files':>5} {'audio s':>8} {'WER %':>6} {'CER %':>6} "
        f"{'audio-s/CPU-s':>13}"
    )
    for name, recordings in sorted(sets.items()):
        for engine in asked.engine or ENGINES:
            models = Models(settings.models_dir, threads=1)
            for beams in asked.beams or [None]:
                language = recordings[0]["language"].partition("-")[0]
                options = Options(engine=engine, model=asked.model, language=language)
                transcriber = models.transcriber(options)
                if beams:
                    _set_beams(engine, beams)
                print(
                    _row(name, transcriber, options, asked.manifest.parent, recordings[: asked.most], beams), flush=True
                )


def _row(
    name: str,
    transcriber: Transcriber,
    options: Options,
    folder: Path,
    recordings: list[dict[str, str]],
    beams: int | None,
) -> str:
    normalise = EnglishTextNormalizer() if options.language == "en" else BasicTextNormalizer()
    references, heard, audio_s, began = [], [], 0.0, time.process_time()
    for recording in recordings:
        whole = Slice(recording=recording["path"], fingerprint="", size=0, stem=recording["path"])
        try:
            part = transcriber.transcribe(
                folder / recording["path"], whole, options, check=lambda: None, progress=lambda _: None
            )
        except AudioError as error:
            print(f"{recording['path']}: {error}")
            continue
        audio_s += part.decoded_s
        references.append(normalise(recording["text"]) or "-")
        heard.append(normalise(" ".join(segment.text for segment in part.segments)))
    cpu_s = time.process_time() - began
    characters = 100 * jiwer.cer(references, heard)
    words = "" if options.language in BY_CHARACTER else f"{100 * jiwer.wer(references, heard):.2f}"
    engine = transcriber.engine_name
    return (
        f"{name:<14} {engine:<24} {beams or '':>5} {len(references):>5} {audio_s:>8.0f} {words:>6} {characters:>6.2f} "
        f"{audio_s / cpu_s:>13.1f}"
    )


def _set_beams(engine: str, beams: int) -> None:
    if engine == "faster-whisper":
        import worker.engines.faster_whisper as module
    else:
        import worker.engines.openai_whisper as module  # type: ignore[no-redef]
    module.BEAM_SIZE = beams


if __name__ == "__main__":
    main()
