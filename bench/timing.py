"""Measure how well times fit: starts of cues and words against the true starts, and words lost at cuts.

    python bench/timing.py MANIFEST --model base --set long/ --seconds 0
    python bench/timing.py MANIFEST --set long --dest DEST

Runs `nightscribe run` with srt and json (or, with --dest, reads what such a run has left), aligns what was heard word
for word with the `NAME.segments.json` beside the manifest's recording, and compares the true start of each utterance
with the start of the cue, and of the word, that holds its first word. Utterances whose first word was not heard are
counted as missed and not compared; a cue that begins more than a word earlier is compared all the same, and told
apart: "first in cue" counts only the cues that begin with the utterance's first word.

Long recordings are cut in slices. Runs of two or more deleted or inserted words within --near seconds of a cut are
counted against those elsewhere. The cuts are those that nightscribe keeps beside its parts while it works, or given
with --cuts; where neither is to be had, every 600 s is assumed, and 30 s around it are counted as near.
"""

import argparse
import json
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jiwer
import measure
import numpy as np
import srt
from recordings import SETS, Recording, normalise, prepare

from nightscribe.shared.model.engines import WHISPER_ENGINES
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.settings import Settings

ASSUMED_CUT_S, ASSUMED_NEAR_S = 600.0, 30.0


@dataclass(frozen=True)
class Token:
    """A normalised word: when the piece that holds it begins, and whether it is the first of it."""

    text: str
    start_s: float
    is_first: bool


def plain(text: str, language: str) -> list[str]:
    """Normalised words. Each by itself, or the normaliser would join numbers differently in cues, words and truth."""
    return [word for raw in text.split() for word in _plain(raw, language)]


@lru_cache(maxsize=100_000)
def _plain(raw: str, language: str) -> list[str]:
    return normalise(raw, language).split()


def tokens(pieces: list[tuple[float, str]], language: str) -> list[Token]:
    """Of cues, words or utterances: (start, text)."""
    return [Token(word, start_s, at == 0) for start_s, text in pieces for at, word in enumerate(plain(text, language))]


def aligned(spoken: list[Token], heard: list[Token]) -> tuple[dict[int, int], list[tuple[str, int, int, int, int]]]:
    """Which heard word each spoken word is (equal or replaced), and the chunks of the alignment."""
    output = jiwer.process_words(" ".join(t.text for t in spoken), " ".join(t.text for t in heard))
    chunks = [(c.type, c.ref_start_idx, c.ref_end_idx, c.hyp_start_idx, c.hyp_end_idx) for c in output.alignments[0]]
    pairs = {}
    for kind, ref_start, ref_end, hyp_start, _ in chunks:
        if kind in {"equal", "substitute"}:
            pairs |= {ref: hyp_start + ref - ref_start for ref in range(ref_start, ref_end)}
    return pairs, chunks


def errors(recording: Recording, pieces: list[tuple[float, str]]) -> tuple[list[float], list[float], int]:
    """How much later each utterance begins by our count: all, those that begin a piece; and how many were missed."""
    spoken = tokens([(each.start_s, each.text) for each in recording.utterances], recording.language)
    heard = tokens(pieces, recording.language)
    pairs, _ = aligned(spoken, heard)
    firsts = [at for at, token in enumerate(spoken) if token.is_first]
    found = [(spoken[at], heard[pairs[at]]) for at in firsts if at in pairs]
    late = [token.start_s - truth.start_s for truth, token in found]
    return late, [by for by, (_, token) in zip(late, found, strict=True) if token.is_first], len(firsts) - len(found)


def timing_row(kind: str, late: list[float], n_missed: int) -> str:
    """A line of the table."""
    if not late:
        return f"  {kind:<22} none"
    apart = np.abs(late)
    return (
        f"  {kind:<22} {len(late):>6} {n_missed:>6} {np.median(apart):>8.2f} {np.percentile(apart, 90):>8.2f} "
        f"{100 * (apart <= 0.2).mean():>8.0f} {100 * (apart <= 0.5).mean():>8.0f} {np.median(late):>+8.2f}"
    )


def losses(recording: Recording, pieces: list[tuple[float, str]], cuts: list[float], near_s: float) -> list[str]:
    """Runs of two or more deleted or inserted words, near the cuts and elsewhere."""
    spoken = tokens([(each.start_s, each.text) for each in recording.utterances], recording.language)
    heard = tokens(pieces, recording.language)
    said_at = _spread(recording)
    _, chunks = aligned(spoken, heard)
    lines, counts = [], {(near, kind): [0, 0] for near in (True, False) for kind in ("delete", "insert")}
    for kind, ref_start, ref_end, hyp_start, hyp_end in chunks:
        n = (ref_end - ref_start) if kind == "delete" else (hyp_end - hyp_start)
        if kind not in {"delete", "insert"} or n < 2:
            continue
        words = spoken[ref_start:ref_end] if kind == "delete" else heard[hyp_start:hyp_end]
        times = said_at[ref_start:ref_end] if kind == "delete" else [word.start_s for word in words]
        cut = next((c for c in cuts if times[0] - near_s <= c <= times[-1] + near_s), None)
        counts[cut is not None, kind][0] += 1
        counts[cut is not None, kind][1] += n
        if cut is not None:
            text = " ".join(word.text for word in words)
            lines.append(f"    cut {cut:.1f} s: {kind} at {times[0]:.1f} s: {text[:90]}")
    covered_s = {True: min(recording.seconds, 2 * near_s * len(cuts))}
    covered_s[False] = max(0.001, recording.seconds - covered_s[True])
    for near, title in ((True, f"within {near_s:g} s of {len(cuts)} cuts"), (False, "elsewhere")):
        (n_lost, lost), (n_doubled, doubled) = counts[near, "delete"], counts[near, "insert"]
        rate = 60 * (lost + doubled) / covered_s[near] if covered_s[near] else 0.0
        lines.append(
            f"  {title}: {n_lost} runs of lost words ({lost} words), {n_doubled} of added ({doubled} words); "
            f"{rate:.2f} words a minute over {covered_s[near]:.0f} s"
        )
    return lines


def _spread(recording: Recording) -> list[float]:
    """Roughly when each word is said: evenly over its utterance."""
    return [
        each.start_s + (each.end_s - each.start_s) * at / len(words)
        for each in recording.utterances
        for words in [plain(each.text, recording.language)]
        for at in range(len(words))
    ]


class Cuts:
    """Where recordings are cut, as nightscribe keeps it in `parts/RECORDING/cuts.json` until they are finished."""

    def __init__(self, dest: Path) -> None:
        self._parts = dest / RECORDS_FOLDER / "parts"
        self.found: dict[str, list[float]] = {}

    def look(self) -> None:
        """Remember what is there now."""
        for path in self._parts.rglob("cuts.json"):
            with suppress(OSError, ValueError):  # gone meanwhile
                self.found[path.parent.name] = json.loads(path.read_text())["cuts"]


def main() -> None:
    """Run or read, and print."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="nightscribe-bench-") as made:
        folder = Path(made)
        recordings = [
            each
            for each in prepare(
                asked.manifest, asked.set, folder / "set", seconds=asked.seconds or None, most=asked.most
            )
            if each.utterances
        ]
        if not recordings:
            sys.exit("None of these recordings has a .segments.json beside it.")
        for engine in asked.engine or (["auto"] if asked.dest else WHISPER_ENGINES):
            dest = asked.dest or folder / engine
            cuts = Cuts(dest)
            cuts.look()
            if not asked.dest:
                _run(asked, engine, recordings, dest, cuts)
            print(f"\n{asked.dest or f'{engine}, {asked.model}'}")
            print(
                f"  {'starts of':<22} {'n':>6} {'missed':>6} {'median':>8} {'90th':>8} {'≤0.2 s %':>8} {'≤0.5 s %':>8} "
                f"{'bias':>8}"
            )
            for recording in recordings:
                known = asked.cuts or cuts.found.get(recording.path.name)
                _print_recording(dest, recording, known, asked.near)


def _print_recording(dest: Path, recording: Recording, cuts: list[float] | None, near_s: float) -> None:
    stems = (recording.path.stem, Path(recording.origin).stem)
    texts = sorted(each for stem in stems for each in dest.rglob(f"{stem}.*") if RECORDS_FOLDER not in each.parts)
    subtitles = next((each for each in texts if each.suffix == ".srt"), None)
    written = next((each for each in texts if each.suffix == ".json"), None)
    print(f"  {recording.origin}, first {recording.seconds:.0f} s")
    cues: list[tuple[float, str]] = []
    if subtitles:
        cues = [(cue.start.total_seconds(), cue.content) for cue in srt.parse(subtitles.read_text())]
        late, first, n_missed = errors(recording, cues)
        print(timing_row("cues", late, n_missed))
        print(timing_row("cues, first in cue", first, len(recording.utterances) - len(first)))
        lengths = [(cue.end - cue.start).total_seconds() for cue in srt.parse(subtitles.read_text())]
        print(f"    {len(cues)} cues, mean {np.mean(lengths):.1f} s, longest {max(lengths):.1f} s")
    words: list[tuple[float, str]] = []
    if written:
        segments = json.loads(written.read_text())["segments"]
        words = [(start_s, text) for each in segments for start_s, _, text in each.get("words", [])]
    if words:
        late, _, n_missed = errors(recording, words)
        print(timing_row("words", late, n_missed))
    else:
        print("  words                  none in the json")
    if cuts is None:
        cuts, near_s = list(np.arange(ASSUMED_CUT_S, recording.seconds, ASSUMED_CUT_S)), ASSUMED_NEAR_S
        print(f"  where it was cut is not known; every {ASSUMED_CUT_S:g} s is assumed")
    cuts = [cut for cut in cuts if cut < recording.seconds]
    if words or cues:
        for line in losses(recording, words or cues, cuts, near_s):
            print(line)


def _run(asked: argparse.Namespace, engine: str, recordings: list[Recording], dest: Path, cuts: Cuts) -> None:
    options = ["--model", asked.model, "--engine", engine, "--language", recordings[0].language]
    options += ["--formats", "srt,json", *asked.option]
    environment = {"NIGHTSCRIBE_MODELS_DIR": str(Settings().models_dir), "NIGHTSCRIBE_WORD_TIMESTAMPS": "1"}
    command = measure.nightscribe(recordings[0].path.parent, dest, *options)
    cost = measure.run(command, dest.with_name(f"{engine}.log"), environment, cuts.look)
    print(f"{engine}: {cost.cpu_s:.0f} CPU-s; {cost.last_line}", file=sys.stderr, flush=True)
    if cost.status:
        sys.exit(f"nightscribe run ended with {cost.status}:\n{cost.output}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="base", help="default: base")
    parser.add_argument(
        "--engine", action="append", choices=list(WHISPER_ENGINES), help="may be repeated; default: all"
    )
    parser.add_argument("--set", default="long", help=f"one of {', '.join(SETS)}, or the beginning of paths")
    parser.add_argument("--seconds", type=float, default=0, help="of each recording; default: 0, which is all")
    parser.add_argument("--most", type=int, default=10_000, help="recordings")
    parser.add_argument("--dest", type=Path, help="read what an earlier run has left instead (recordings of any name)")
    parser.add_argument("--cuts", type=float, nargs="+", help="seconds at which the recordings were cut")
    parser.add_argument("--near", type=float, default=5.0, help="seconds around a cut; default: 5")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        help="further option of nightscribe run, as in --option=--word-timestamps",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
