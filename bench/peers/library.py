"""Transcribe with a library as a script of its users would; run by bench/speed.py in a process of its own.

    python bench/peers/library.py LIBRARY WEIGHTS OUT [options] RECORDING…

Writes NAME.json for each recording, in the form of the `whisper` command, and `loaded` with what came before the first.
"""

import argparse
import json
import sys
import time
from pathlib import Path


def openai_whisper(asked):
    """`model.transcribe(path)`: greedy, as the library's own default."""
    import torch
    import whisper

    torch.set_num_threads(1)
    model = whisper.load_model(asked.weights)
    beams = {"beam_size": asked.beam} if asked.beam > 1 else {}
    return lambda path: model.transcribe(path, language=asked.language, fp16=False, **beams)["segments"]


def faster_whisper(asked):
    """Sequential, or with the batched pipeline."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(asked.weights, device="cpu", compute_type="int8", cpu_threads=1)
    options = {"language": asked.language, "beam_size": asked.beam, "word_timestamps": asked.times == "words"}
    if asked.batch > 1:
        model = BatchedInferencePipeline(model)
        options |= {"batch_size": asked.batch, "without_timestamps": asked.times != "segments"}

    def transcribe(path):
        segments, _ = model.transcribe(path, **options)
        return [{"start": each.start, "end": each.end, "text": each.text} for each in segments]

    return transcribe


def whisperx(asked):
    """Without its alignment, whose model has to be downloaded."""
    import torch
    import whisperx as library

    torch.set_num_threads(1)
    model = library.load_model(
        asked.weights,
        "cpu",
        compute_type="int8",
        language=asked.language,
        threads=1,
        asr_options={"beam_size": asked.beam},
    )
    return lambda path: model.transcribe(library.load_audio(path), batch_size=asked.batch)["segments"]


def main():
    """Load, transcribe, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=["openai_whisper", "faster_whisper", "whisperx"])
    parser.add_argument("weights")
    parser.add_argument("out", type=Path)
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--language")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--times", choices=["segments", "words", "chunks"], default="segments")
    asked = parser.parse_args()
    transcribe = globals()[asked.library](asked)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "loaded").write_text(json.dumps({"cpu_s": time.process_time()}))
    for path in asked.recordings:
        try:
            segments = transcribe(path)
        except Exception as error:  # noqa: BLE001  a damaged file is no reason to lose the others
            print(f"Skipping {path}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        kept = [{name: each[name] for name in ("start", "end", "text")} for each in segments]
        (asked.out / f"{Path(path).stem}.json").write_text(json.dumps({"segments": kept}))


if __name__ == "__main__":
    main()
