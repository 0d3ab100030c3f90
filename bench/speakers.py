"""Measure how well speakers are told apart, in conversations put together from the recordings of many readers.

    python bench/speakers.py READERS --voices 2 3 4 --conversations 10 --seconds 300
    python bench/speakers.py READERS --half tune --phone --room
    python bench/speakers.py READERS --run base --conversations 3 --seconds 60

READERS has one folder for each reader, with any recordings of that reader alone in it. The conversations are the same
for the same seed: turns of 1 to 15 s, pauses, 5 to 10 % of the speech at the same time as other speech, voices of
different loudness, a little noise, and on request small rooms and a telephone's band. What is true is known: somebody
speaks where the reader's own recording is loud and 50 ms around it, pauses of less than half a second included.

Half of the readers are for choosing thresholds (`--half tune`), the others for the figures that are reported. The
error rate counts overlaps, without a collar and with one of 0.25 s on each side. It needs `pyannote.metrics`.

With `--run MODEL`, the conversations become recordings, and `nightscribe run` transcribes them with that model, in turn
with `--speakers off` and `auto`. It prints the share of words with the right speaker, and the processor time. A word is
right if the reader of its speaker speaks in its middle, or next to it where nobody does.
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.speakers import SpeakerCount, Speakers
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.settings import Settings
from nightscribe.shared.speakers.labelling import label

SUFFIXES = (".flac", ".wav", ".mp3", ".ogg", ".opus", ".m4a")
PAUSE_S = 0.5  # a shorter pause belongs to the turn
FRAME_S = 0.02
QUIET = 0.03  # of the loudness of a reader's speech; below that, nobody speaks
EDGE_S = 0.05  # a turn begins and ends by so much outside of what is loud, where sounds are soft
NOISE = 2.0  # times the noise in a reader's recording, below which nobody speaks
MOST_READER_S = 240.0


@dataclass(frozen=True)
class Conversation:
    """A made conversation, and who truly speaks when."""

    name: str
    sound: Waveform
    turns: list[tuple[float, float, str]]

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.sound) / RATE


class Readers:
    """The sound of each reader, decoded when it is first needed."""

    def __init__(self, folder: Path, half: str) -> None:
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
        self.names = names if half == "all" else names[half == "report" :: 2]
        self._folder = folder
        self._pieces: dict[str, list[Waveform]] = {}

    def pieces(self, name: str) -> list[Waveform]:
        """Recordings of a reader, without the silence at both ends."""
        if name not in self._pieces:
            files = sorted(path for path in (self._folder / name).rglob("*") if path.suffix in SUFFIXES)
            random.Random(name).shuffle(files)
            pieces, total_s = [], 0.0
            for file in files:
                sound = np.concatenate([np.zeros(0, np.float32), *Decoder(file, 0.0, None)])
                if stretches := loud(sound):
                    piece = sound[stretches[0][0] : stretches[-1][1]]
                    pieces.append(piece / (np.sqrt(np.mean(piece**2)) + 1e-9))
                    total_s += len(piece) / RATE
                if total_s > MOST_READER_S:
                    break
            self._pieces[name] = pieces
        return self._pieces[name]


def loud(sound: Waveform) -> list[tuple[int, int]]:
    """Where somebody speaks in a recording of one reader, in samples; short pauses are filled."""
    step = round(FRAME_S * RATE)
    n = len(sound) // step
    if n == 0:
        return []
    level = np.sqrt(np.mean(sound[: n * step].reshape(n, step) ** 2, axis=1))
    quietest, loudest = np.percentile(level, [3, 95])
    active = level > min(max(QUIET * loudest, NOISE * quietest), 0.2 * loudest)
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False)) * step
    stretches: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stretches and start - stretches[-1][1] < PAUSE_S * RATE:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return [(start, end) for start, end in stretches if end - start > 0.1 * RATE]


def converse(readers: Readers, n_voices: int, seed: int, *, seconds: float, room: bool, phone: bool) -> Conversation:
    """Make a conversation of some of the readers."""
    chance = random.Random(f"{n_voices} {seed}")
    noise = np.random.default_rng([n_voices, seed])
    names = chance.sample(readers.names, n_voices)
    echo = {name: _echo(chance, noise) if room else None for name in names}
    gain = {name: 0.05 * 10 ** (chance.uniform(-4, 4) / 20) for name in names}
    weight = {name: chance.uniform(0.5, 1.5) for name in names}
    sound = np.zeros(round((seconds + 30) * RATE), np.float32)
    turns: list[tuple[float, float, str]] = []
    at, speaker, waiting = chance.uniform(0, 2), None, list(names)
    while at < seconds:
        others = [name for name in names if name != speaker] or names
        # Everybody has spoken once before anybody comes again by chance.
        speaker = waiting.pop(0) if waiting else chance.choices(others, [weight[name] for name in others])[0]
        piece = _said(readers, speaker, chance)
        start = round(at * RATE)
        said = piece * gain[speaker]
        if (response := echo[speaker]) is not None:
            said = _convolved(said, response)
        said = said[: len(sound) - start]
        sound[start : start + len(said)] += said
        turns += [
            (max(0.0, at + begin / RATE - EDGE_S), at + end / RATE + EDGE_S, speaker) for begin, end in loud(piece)
        ]
        length_s = len(piece) / RATE
        if chance.random() < 0.3:
            at += max(0.5, length_s - chance.uniform(0.4, 2.5))  # the next one interrupts
        else:
            at += length_s + (chance.uniform(0.1, 0.8) if chance.random() < 0.8 else chance.uniform(1, 4))
    sound = sound[: round(seconds * RATE)]
    sound += noise.normal(size=len(sound)).astype(np.float32) * 0.05 * 10 ** (-chance.uniform(25, 40) / 20)
    if phone:
        sound = _phone(sound)
    true = [(start, min(end, seconds), name) for start, end, name in turns if start < seconds]
    return Conversation(f"{n_voices} voices, {seed}", sound, sorted(true))


def _said(readers: Readers, name: str, chance: random.Random) -> Waveform:
    """What a reader says in one turn: 1 to 15 s."""
    wanted = round(min(15.0, max(1.0, chance.lognormvariate(1.3, 0.7))) * RATE)
    piece = chance.choice(readers.pieces(name))
    if len(piece) <= wanted:
        return piece
    start = chance.randrange(len(piece) - wanted)
    cut = piece[start : start + wanted]
    stretches = loud(cut)
    return cut[stretches[0][0] : stretches[-1][1]] if stretches else cut


def _echo(chance: random.Random, noise: np.random.Generator) -> NDArray[np.float32]:
    """The response of a small room."""
    decay_s = chance.uniform(0.15, 0.5)
    times = np.arange(round(decay_s * RATE)) / RATE
    response = noise.normal(size=len(times)) * 10 ** (-3 * times / decay_s)
    response *= 10 ** (-chance.uniform(3, 9) / 20) / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    return response.astype(np.float32)


def _convolved(sound: Waveform, response: NDArray[np.float32]) -> Waveform:
    size = 1 << (len(sound) + len(response)).bit_length()
    product = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(response, size), size)
    return product[: len(sound) + len(response)].astype(np.float32)


def _phone(sound: Waveform) -> Waveform:
    """The band of a telephone, with the steps of its eight bits."""
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    spectrum *= 1 / (1 + (300 / np.maximum(hz, 1)) ** 8) / (1 + (hz / 3400) ** 16)
    narrow = np.fft.irfft(spectrum, len(sound))
    peak = np.abs(narrow).max() or 1.0
    compressed = np.sign(narrow) * np.log1p(255 * np.abs(narrow / peak)) / np.log(256)
    stepped = np.round(compressed * 127) / 127
    return (np.sign(stepped) * (256 ** np.abs(stepped) - 1) / 255 * peak).astype(np.float32)


@dataclass(frozen=True)
class Score:
    """How well one conversation was labelled. Error rates are shares of the speech."""

    n_true: int
    n_found: int
    error: float
    error_with_collar: float
    missed: float
    false_alarm: float
    confused: float
    overlap: float


def score(conversation: Conversation, found: Speakers) -> Score:
    """Compare with what is true."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(turns: list[tuple[float, float, str]]) -> Annotation:
        made = Annotation()
        for n, (start_s, end_s, name) in enumerate(turns):
            made[Segment(start_s, end_s), n] = name
        return made

    true = annotation(conversation.turns).support()
    heard = annotation([(turn.start_s, turn.end_s, turn.speaker) for turn in found.turns])
    whole = Timeline([Segment(0, conversation.seconds)])
    exact = DiarizationErrorRate(collar=0.0)(true, heard, uem=whole, detailed=True)
    lenient = DiarizationErrorRate(collar=0.5)(true, heard, uem=whole)  # half on each side
    total = exact["total"]
    return Score(
        n_true=len(true.labels()),
        n_found=len(found.speakers),
        error=exact["diarization error rate"],
        error_with_collar=lenient,
        missed=exact["missed detection"] / total,
        false_alarm=exact["false alarm"] / total,
        confused=exact["confusion"] / total,
        overlap=true.get_overlap().duration() / total,
    )


def blocks(sound: Waveform) -> Iterator[Waveform]:
    """The sound as a decoder yields it."""
    for at in range(0, len(sound), RATE):
        yield sound[at : at + RATE]


def words_right(conversation: Conversation, transcript: Transcript) -> tuple[int, int]:
    """Return how many words have the right speaker, with the best reader for each label, and how many there are."""
    said = []
    for segment in transcript.segments:
        for word in segment.words:
            middle_s = (word.start_s + word.end_s) / 2
            distances = [(max(start - middle_s, middle_s - end, 0.0), name) for start, end, name in conversation.turns]
            nearest = min(distance for distance, _ in distances)
            said.append((segment.speaker, {name for distance, name in distances if distance == nearest}))
    names = sorted({name for _, _, name in conversation.turns})
    labels = sorted({label for label, _ in said if label})
    names += [""] * (len(labels) - len(names))
    right = max(
        sum(reader[label] in true for label, true in said if label)
        for chosen in permutations(names, len(labels))
        for reader in [dict(zip(labels, chosen, strict=True))]
    )
    return right, len(said)


def run(made: list[Conversation], model: str, models_dir: Path, rounds: int) -> None:
    """Print how many words `nightscribe run` gives to the right speaker, and what it costs."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        for n, conversation in enumerate(made):
            with wave.open(str(source / f"{n}.wav"), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes((np.clip(conversation.sound, -1, 1) * 32767).astype("<i2").tobytes())
        environment = os.environ | {"NIGHTSCRIBE_MODELS_DIR": str(models_dir)}
        costs: dict[str, list[float]] = {"off": [], "auto": []}
        for n in range(rounds):
            for speakers, spent in costs.items():
                before = _children_s()
                command = [sys.executable, "-m", "nightscribe", "run", source, Path(folder) / f"{speakers} {n}"]
                command += ["--model", model, "--speakers", speakers, "--workers", "1"]
                subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, env=environment)
                spent.append(_children_s() - before)
        counts = []
        for n, conversation in enumerate(made):
            record = Path(folder) / f"auto 0/.nightscribe/transcripts/{n}.wav.json"
            transcript = Transcript.model_validate_json(record.read_bytes())
            right, total = words_right(conversation, transcript)
            counts.append((right, total))
            found = len({segment.speaker for segment in transcript.segments} - {None})
            print(f"{conversation.name}: found {found}; {right} of {total} words right, {100 * right / total:.1f} %")
    words = 100 * sum(right for right, _ in counts) / sum(total for _, total in counts)
    off, auto = (statistics.median(each) for each in costs.values())
    print(f"all: {words:.1f} % of words right; CPU s: {off:.1f} off, {auto:.1f} auto, {100 * (auto / off - 1):+.0f} %")


def _children_s() -> float:
    """Return the processor time of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", type=Path)
    parser.add_argument("--half", choices=["tune", "report", "all"], default="report")
    parser.add_argument("--voices", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--conversations", type=int, default=10, help="of each number of voices")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the first conversation")
    parser.add_argument("--room", action="store_true", help="each voice has the echo of a small room")
    parser.add_argument("--phone", action="store_true", help="a telephone's band and eight bits")
    parser.add_argument("--models-dir", type=Path, default=Settings().models_dir)
    parser.add_argument("--run", metavar="MODEL", help="count words of `nightscribe run` with this model")
    parser.add_argument("--rounds", type=int, default=1, help="runs with and without speakers")
    asked = parser.parse_args()

    from nightscribe.worker.pipeline.diarize.diarizer import Diarizer

    readers = Readers(asked.readers, asked.half)
    if asked.run:
        seeds = range(asked.seed, asked.seed + asked.conversations)
        conversations = [
            converse(readers, n_voices, seed, seconds=asked.seconds, room=asked.room, phone=asked.phone)
            for n_voices in asked.voices
            for seed in seeds
        ]
        run(conversations, asked.run, asked.models_dir, asked.rounds)
        return
    diarizer = Diarizer(asked.models_dir)
    print(f"{'voices':>6} {'found':>5} {'DER %':>6} {'0.25 s':>6} {'miss':>5} {'false':>5} {'conf.':>5} {'ms/s':>5}")
    for n_voices in asked.voices:
        scores: list[Score] = []
        costs = []
        for seed in range(asked.seed, asked.seed + asked.conversations):
            made = converse(readers, n_voices, seed, seconds=asked.seconds, room=asked.room, phone=asked.phone)
            began = time.process_time()
            found = label([diarizer.hear(blocks(made.sound))], SpeakerCount())
            costs.append((time.process_time() - began) / made.seconds * 1000)
            scores.append(score(made, found))
        print(row(n_voices, scores, statistics.mean(costs)))


def row(n_voices: int, scores: list[Score], cost: float) -> str:
    """A line of the table."""
    right = sum(each.n_true == each.n_found for each in scores)

    def mean(field: str) -> str:
        return f"{100 * statistics.mean(getattr(each, field) for each in scores):.1f}"

    return (
        f"{n_voices:>6} {right:>2}/{len(scores):<2} {mean('error'):>6} {mean('error_with_collar'):>6} "
        f"{mean('missed'):>5} {mean('false_alarm'):>5} {mean('confused'):>5} {cost:>5.1f}  "
        f"overlap {mean('overlap')} %; found {[each.n_found for each in scores]}"
    )


if __name__ == "__main__":
    main()
