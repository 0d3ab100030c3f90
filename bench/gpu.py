"""Measure the openai-whisper engine on a GPU (or, as a trial, on the CPU): speed, memory, and what it waits for.

    python bench/gpu.py words MANIFEST --model base --batch 16 --batch 128
    python bench/gpu.py shape large-v3-turbo --batch 16 --batch 128

`words` runs the worker's own pipeline over recordings in this process, without a queue, and compares the words with the
references. The reader works ahead in a thread of its own, as in a worker; "sound" is the time that the engine waited
for it. `shape` times the steps of a model for which no weights are at hand: it has the sizes of the real one and random
numbers. Such a model never ends a text, so each window is decoded to its limit, several times as long as speech needs.

All times are by the clock, after the GPU has finished each step.
"""

import argparse
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

import jiwer
import numpy as np
import torch
import whisper
from recordings import Recording, ask_for_sets, normalise, prepare

from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.model.jobs import Options, Slice
from nightscribe.shared.model.transcript import Part
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.worker.engines.registry import find_weights
from nightscribe.worker.engines.whisper.openai_whisper import OpenAIWhisper
from nightscribe.worker.engines.whisper.recognizer import WhisperRecognizer
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window, WindowReader, ahead

T = TypeVar("T")

STEPS = ("encode", "detect_language", "decode", "align")
SECONDS = (10.0, 18.0)  # windows of `shape`, as the recognizer cuts them
SHAPES = {  # n_mels, n_audio_state, n_audio_head, n_audio_layer, n_text_layer, n_vocab. Source: the published models
    "tiny": (80, 384, 6, 4, 4, 51865),
    "base": (80, 512, 8, 6, 6, 51865),
    "small": (80, 768, 12, 12, 12, 51865),
    "medium": (80, 1024, 16, 24, 24, 51865),
    "large-v3": (128, 1280, 20, 32, 32, 51866),
    "large-v3-turbo": (128, 1280, 20, 32, 4, 51866),
}


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    words = commands.add_parser("words", help="transcribe recordings with real weights")
    words.add_argument("manifest", type=Path, help="JSON lines with path, seconds, language and text")
    words.add_argument("--model", default="base", help="name, or path of a checkpoint (base)")
    words.add_argument("--minutes", type=float, default=60, help="sound to transcribe; recordings are repeated (60)")
    ask_for_sets(words)
    shape = commands.add_parser("shape", help="time the steps of a model with random weights")
    shape.add_argument("shape", choices=SHAPES)
    shape.add_argument("--windows", type=int, default=256, help="windows to process for each batch size (256)")
    for each in (words, shape):
        each.add_argument("--batch", type=int, action="append", help="windows in a batch; may be repeated (16, 64)")
        each.add_argument("--threads", type=int, default=4, help="threads of torch on the CPU (4)")
    given = parser.parse_args()
    print(f"{device()}; torch {torch.__version__}, openai-whisper {whisper.__version__}; {given.threads} CPU threads")
    measure_words(given) if given.command == "words" else measure_shape(given)


def device() -> str:
    """Return the name of the GPU and its memory, or "CPU"."""
    if not torch.cuda.is_available():
        return "no GPU: on the CPU"
    card = torch.cuda.get_device_properties(0)
    return f"{card.name}, {card.total_memory / 2**30:.0f} GiB"


class Timed:
    """A `Runtime` that adds up the time of each step."""

    def __init__(self, runtime: OpenAIWhisper) -> None:
        self._runtime = runtime
        self.spent_s: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._runtime, name)
        return self._timed(name, found) if name in STEPS else found

    def _timed(self, name: str, step: Callable[..., T]) -> Callable[..., T]:
        def timed(*args: Any, **named: Any) -> T:
            began = time.perf_counter()
            result = step(*args, **named)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.spent_s[name] += time.perf_counter() - began
            self.calls[name] += 1
            return result

        return timed


@dataclass
class Waiting:
    """Counts the windows that pass and the time that the engine waited for them."""

    windows: int = 0
    waited_s: float = 0.0

    def watch(self, sound: Iterator[Window | SliceEnd]) -> Iterator[Window | SliceEnd]:
        """Yield the items of `sound`."""
        while True:
            began = time.perf_counter()
            item = next(sound, None)
            self.waited_s += time.perf_counter() - began
            if item is None:
                return
            self.windows += isinstance(item, Window)
            yield item


def measure_words(given: argparse.Namespace) -> None:
    """Print a line for each batch size: speed, errors, shares of the time, memory."""
    path = Path(given.model)
    weights = path if path.exists() else find_weights("openai-whisper", given.model, Settings().models_dir).path
    runtime = OpenAIWhisper(weights, threads=given.threads)
    with tempfile.TemporaryDirectory(prefix="nightscribe-gpu-") as folder:
        chosen = [
            recording
            for number, name in enumerate(given.set or ("long", "clips"))
            for recording in prepare(
                given.manifest, name, Path(folder, str(number)), seconds=given.seconds, most=given.most
            )
        ]
        many = repeated(chosen, given.minutes * 60, Path(folder, "all"))
        sound_s = sum(each.seconds for each in many)
        print(f"{len(many)} recordings ({len(chosen)} different), {sound_s / 60:.1f} minutes of sound, {path.name}")
        print(f"{'batch':>6}{'x real time':>12}{'windows/s':>11}{'WER %':>7}", end="")
        print("".join(f"{name:>9}" for name in ("encode", "language", "decode", "align", "sound", "rest")), end="")
        print(f"{'GPU MiB':>9}{'MiB':>7}{'CPU s':>7}")
        transcribe(runtime, many[:1], 1)  # the first call of each step prepares the GPU
        for size in given.batch or (16, 64):
            report(runtime, many, size, sound_s)


def repeated(chosen: Sequence[Recording], seconds: float, folder: Path) -> list[Recording]:
    """Return the recordings again and again, each time under another name, until they last `seconds`."""
    folder.mkdir()
    found: list[Recording] = []
    total_s = 0.0
    for number, recording in enumerate(cycle(chosen)):
        if total_s >= seconds:
            return found
        link = folder / f"{number:05}{recording.path.suffix}"
        os.link(recording.path, link)
        found.append(replace(recording, path=link))
        total_s += recording.seconds
    return found


def report(runtime: OpenAIWhisper, many: Sequence[Recording], size: int, sound_s: float) -> None:
    """Transcribe with batches of `size` and print the line of it."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    cpu_s = processor_s()
    began = time.perf_counter()
    timed, waiting, parts = transcribe(runtime, many, size)
    took_s = time.perf_counter() - began
    rest_s = took_s - sum(timed.spent_s.values()) - waiting.waited_s
    shares = [*(timed.spent_s[step] for step in STEPS), waiting.waited_s, rest_s]
    print(f"{size:>6}{sound_s / took_s:>12.1f}{waiting.windows / took_s:>11.1f}{errors(many, parts):>7.2f}", end="")
    print("".join(f"{share / took_s:>9.0%}" for share in shares), end="")
    print(f"{gpu_mib():>9.0f}{process_mib():>7.0f}{processor_s() - cpu_s:>7.1f}", flush=True)


def transcribe(
    runtime: OpenAIWhisper, many: Sequence[Recording], size: int
) -> tuple[Timed, Waiting, list[tuple[SliceEnd, Part | None]]]:
    """Run the worker's pipeline over recordings, each as often as it is listed."""
    timed, waiting = Timed(runtime), Waiting()
    transcriber = Transcriber(WhisperRecognizer(timed), batch_size=size)
    source = FolderSource(many[0].path.parent)
    wanted = slices(source, many)
    with closing(ahead(WindowReader(source, transcriber.window_limits).read(wanted))) as sound:
        request = Request(Options(engine="openai-whisper", model="base"), all_words=True)
        parts = list(transcriber.transcribe(waiting.watch(sound), request))
    return timed, waiting, parts


def slices(source: FolderSource, found: Sequence[Recording]) -> list[Slice]:
    """Return each recording as one slice."""
    whole = []
    for recording in found:
        about = source.stat(recording.path.name)
        fingerprint = source.fingerprint(about)
        whole.append(Slice(recording=about.path, fingerprint=fingerprint, size=about.size, stem=recording.path.stem))
    return whole


def errors(many: Sequence[Recording], parts: Sequence[tuple[SliceEnd, Part | None]]) -> float:
    """Return the word error rate in per cent over the recordings whose words are known."""
    heard = {end.slice_.recording: " ".join(segment.text for segment in part.segments) for end, part in parts if part}
    known = {each.path.name: each for each in many if each.text and each.path.name in heard}
    references = [each.normalised for each in known.values()]
    return 100 * jiwer.wer(references, [normalise(heard[name], each.language) for name, each in known.items()])


def measure_shape(given: argparse.Namespace) -> None:
    """Print a line for each batch size: windows a second of each step, memory."""
    mels, width, heads, audio_layers, text_layers, vocabulary = SHAPES[given.shape]
    torch.manual_seed(0)
    dims = whisper.model.ModelDimensions(
        mels, 1500, width, heads, audio_layers, vocabulary, 448, width, heads, text_layers
    )
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        model = whisper.model.Whisper(dims).half()
        torch.save({"dims": dims.__dict__, "model_state_dict": model.state_dict()}, file.name)
        del model
        runtime = OpenAIWhisper(Path(file.name), threads=given.threads)
    noise = np.random.default_rng(0)
    lengths = noise.uniform(*SECONDS, given.windows)
    sounds = [noise.normal(0, 0.1, round(seconds * RATE)).astype(np.float32) for seconds in lengths]
    print(f"{given.windows} windows, {sum(lengths) / 60:.1f} minutes; default batch {runtime.batch_size}")
    print(f"{'batch':>6}{'encode/s':>10}{'tokens':>8}{'ms/token':>10}{'decode/s':>10}{'align/s':>9}", end="")
    print(f"{'GPU MiB':>9}{'MiB':>7}")
    encoded = [runtime.encode(sound) for sound in sounds[:2]]
    runtime.align(encoded, runtime.decode(encoded, ["en"] * 2, task="transcribe"), ["en"] * 2, task="transcribe")
    for size in given.batch or (16, 64):
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        timed, n_tokens, steps = Timed(runtime), 0, 0
        for at in range(0, len(sounds), size):
            some = [timed.encode(sound) for sound in sounds[at : at + size]]
            english = ["en"] * len(some)
            decoded = timed.decode(some, english, task="transcribe")
            timed.align(some, decoded, english, task="transcribe")
            n_tokens += sum(len(each.tokens) for each in decoded)
            steps += max(len(each.tokens) for each in decoded)
        rates = {step: len(sounds) / timed.spent_s[step] for step in STEPS if step in timed.spent_s}
        print(
            f"{size:>6}{rates['encode']:>10.1f}{n_tokens / len(sounds):>8.0f}"
            f"{1000 * timed.spent_s['decode'] / steps:>10.2f}{rates['decode']:>10.1f}{rates['align']:>9.1f}"
            f"{gpu_mib():>9.0f}{process_mib():>7.0f}",
            flush=True,
        )


def gpu_mib() -> float:
    """Return the most memory that torch held on the GPU at a time."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0


def process_mib() -> float:
    """Return the most memory that this process held at a time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def processor_s() -> float:
    """Return the CPU time of this process and of the decoders that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
