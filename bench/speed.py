"""Compare nightscribe's speed with other software, with the same weights and recordings, in one run.

    python bench/speed.py MANIFEST --model base --set long --set clips --rounds 3

Every contender runs in a process of its own, with one thread, in turn with the others; the order changes from round to
round. CPU time is that of the whole process tree; all figures are medians of the rounds. "transcribing" leaves out what
comes before the first recording: libraries are asked when they have loaded, commands are run once more in each round
with nothing to transcribe. Machines are busy and differ: believe the ratios.

MANIFEST: a JSON-lines file; each line has `path` (relative to the manifest), `seconds`, `language` and `text`, which is
null where nobody knows and "" where nothing is said. Of a recording longer than --seconds only the beginning is taken,
and its text from the `NAME.segments.json` beside it.

Other people's programs are installed in environments of their own under --cache, with the versions in bench/peers/.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import wave
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import jiwer
import measure
from recordings import Recording, ask_for_sets, normalise, prepare

from nightscribe.shared.model.engines import WHISPER_ENGINES
from nightscribe.shared.settings import Settings
from nightscribe.worker.engines.registry import find_weights

HERE = Path(__file__).parent
CONSTRAINTS = HERE.parent / "constraints.txt"
CACHE = Path.home() / ".cache" / "nightscribe-bench"
NOISE = 0.05  # start-up differs by so much from run to run
HEADINGS = ("contender", "beam", "batch", "thr", "times", "each s", "transcr.", "whole", "wall", "±%", "start-up")
TAIL = ("MiB", "WER %", "invented", "lost")


@dataclass(frozen=True)
class Contender:
    """One way to transcribe."""

    name: str
    kind: str
    """How it is called: library, whisper, whisper-ctranslate2, nightscribe."""
    group: str
    """Whose it is, for the ratios."""
    beam: str = "own"
    batch: str = "own"
    times: str = "segments"
    venv: str | None = None
    """Its requirements in bench/peers/; None: our own environment."""
    options: tuple[str, ...] = ()


def _library(name: str, beam: int, batch: int = 1, times: str = "segments", venv: str | None = None) -> Contender:
    label = f"{name} batched" if batch > 1 and name == "faster-whisper" else name
    options = (name.replace("-", "_"), f"--beam={beam}", f"--batch={batch}", f"--times={times}")
    group = "openai greedy" if name == "openai-whisper" else name
    return Contender(f"{label} library", "library", group, str(beam), str(batch), times, venv, options)


def _ctranslate2(beam: int, *, batched: bool = False, times: str = "segments") -> Contender:
    options = ["--beam_size", str(beam), "--batched", str(batched), "--word_timestamps", str(times == "words")]
    name = "whisper-ctranslate2"
    return Contender(
        f"{name}{' --batched' if batched else ''}", name, name, str(beam), "8" if batched else "1", times, name,
        tuple(options),
    )  # fmt: skip


CONTENDERS = (
    Contender("whisper command", "whisper", "whisper command", beam="5", batch="1"),
    _library("openai-whisper", beam=1),
    _ctranslate2(beam=5),
    _ctranslate2(beam=1),
    _ctranslate2(beam=5, batched=True, times="chunks"),
    _ctranslate2(beam=1, batched=True, times="words"),
    _library("faster-whisper", beam=1),
    _library("faster-whisper", beam=5),
    _library("faster-whisper", beam=1, times="words"),
    _library("faster-whisper", beam=1, batch=8, times="segments"),
    _library("faster-whisper", beam=1, batch=8, times="words"),
    _library("faster-whisper", beam=1, batch=8, times="chunks"),
    _library("faster-whisper", beam=5, batch=8, times="chunks"),
    _library("whisperx", beam=5, batch=8, times="chunks", venv="whisperx"),
    *(
        Contender(f"nightscribe {engine}", "nightscribe", f"nightscribe {engine}", options=("--engine", engine))
        for engine in WHISPER_ENGINES
    ),
)


@dataclass(frozen=True)
class Result:
    """One run of a contender over a set."""

    cost: measure.Cost
    start_up: float
    heard: dict[str, list[tuple[float, float, str]]]
    """(start, end, text) of each segment, by the stem of the recording."""
    times: str

    @property
    def is_noise(self) -> bool:
        """Whether too little was done to be told from start-up."""
        return self.cost.cpu_s - self.start_up < NOISE * self.start_up

    @property
    def transcribing_s(self) -> float:
        """CPU time without what comes before the first recording."""
        return max(NOISE * self.start_up, self.cost.cpu_s - self.start_up)


class Bench:
    """Weights, environments and folders of one run."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.model: str = asked.model
        self.cache: Path = asked.cache
        self.folder = folder
        self.models_dir = Settings().models_dir
        self.weights = {name: str(find_weights(name, self.model, self.models_dir).path) for name in WHISPER_ENGINES}
        self.n_runs = 0
        self.silent = folder / "silent"
        self.silent.mkdir()
        with wave.open(str(self.silent / "silent.wav"), "wb") as silence:
            silence.setparams((1, 2, 16_000, 0, "NONE", ""))
            silence.writeframes(bytes(2 * 16_000))
        (folder / "unreadable.wav").write_bytes(b"not sound")
        os.utime(self.silent / "silent.wav", (1e9, 1e9))

    def python(self, contender: Contender) -> Path:
        """Of its environment, made if need be. Raises: subprocess.CalledProcessError: if that fails."""
        if contender.venv is None:
            return Path(sys.executable)
        requirements = HERE / "peers" / f"{contender.venv}.txt"
        venv = self.cache / contender.venv
        stamp = venv / "installed.txt"
        if not stamp.exists() or stamp.read_text() != requirements.read_text():
            say(f"Installing {contender.venv} in {venv} …")
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
            constraints = [] if contender.venv == "whisperx" else ["-c", str(CONSTRAINTS)]
            install = [str(venv / "bin" / "pip"), "install", "--quiet", "-r", str(requirements), *constraints]
            subprocess.run(install, check=True, stdout=sys.stderr)
            stamp.write_text(requirements.read_text())
        return venv / "bin" / "python"

    def run(self, contender: Contender, recordings: Sequence[Recording]) -> Result:
        """Once over all recordings."""
        folder, language = recordings[0].path.parent, recordings[0].language
        out, cost = self._call(contender, folder, [str(each.path) for each in recordings], language)
        if contender.kind == "nightscribe":
            found = measure.transcripts(out)
            heard = {
                Path(name).stem: [(s.start_s, s.end_s, s.text) for s in made.segments] for name, made in found.items()
            }
            has_words = any(s.words for made in found.values() for s in made.segments)
            times = "words" if has_words else "segments"
        else:
            heard = {
                path.stem: [(s["start"], s["end"], s["text"]) for s in json.loads(path.read_text())["segments"]]
                for path in out.glob("*.json")
            }
            times = contender.times
        if contender.kind == "library":
            loaded = out / "loaded"
            start_up = json.loads(loaded.read_text())["cpu_s"] if loaded.exists() else 0.0
        else:  # nightscribe finds nobody speaking in silence; the others load their model, then refuse what is no sound
            source = self.silent if contender.kind == "nightscribe" else self.folder
            start_up = self._call(contender, source, [str(self.folder / "unreadable.wav")], language)[1].cpu_s
        return Result(cost, start_up, heard, times)

    def _call(self, contender: Contender, folder: Path, paths: list[str], language: str) -> tuple[Path, measure.Cost]:
        self.n_runs += 1
        out = self.folder / f"out-{self.n_runs:03}"
        log = self.folder / f"out-{self.n_runs:03}.log"
        python, options = self.python(contender), contender.options
        environment = {}
        match contender.kind:
            case "nightscribe":
                command = measure.nightscribe(folder, out, "--model", self.model, "--language", language, *options)
                environment = {"NIGHTSCRIBE_MODELS_DIR": str(self.models_dir), "NIGHTSCRIBE_THREADS": "1"}
            case "whisper":
                command = [str(python.with_name("whisper")), *paths, "--model", self.weights["openai-whisper"]]
                command += ["--language", language, "--threads", "1", "--fp16", "False", "-o", str(out)]
            case "whisper-ctranslate2":
                command = [str(python.with_name("whisper-ctranslate2")), *paths, "--language", language]
                command += ["--model_directory", self.weights["faster-whisper"], "--compute_type", "int8"]
                command += ["--threads", "1", "--device", "cpu", "-o", str(out), *options]
            case _:
                engine = "openai-whisper" if options[0] == "openai_whisper" else "faster-whisper"
                command = [str(python), str(HERE / "peers" / "library.py"), options[0], self.weights[engine], str(out)]
                command += [*options[1:], "--language", language, *paths]
        return out, measure.run(command, log, environment)


def main() -> None:
    """Run all, print tables and ratios."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="nightscribe-bench-", dir=asked.work) as made:
        folder = Path(made)
        bench = Bench(asked, folder)
        sets = {
            name: prepare(asked.manifest, name, folder / f"set-{number}", seconds=asked.seconds, most=asked.most)
            for number, name in enumerate(asked.set or ["long", "clips"])
        }
        contenders, absent = _installed(bench, _chosen(asked.only))
        results: dict[tuple[str, str], list[Result]] = defaultdict(list)
        for number in range(asked.rounds):
            at = number * len(contenders) // asked.rounds
            for name, recordings in sets.items():
                for contender in contenders[at:] + contenders[:at]:
                    result = bench.run(contender, recordings)
                    results[name, _key(contender)].append(result)
                    say(
                        f"round {number + 1}, {name}, {_key(contender)}: {result.cost.cpu_s:.1f} CPU-s, of these "
                        f"start-up {result.start_up:.1f}; {result.cost.wall_s:.1f} s"
                    )
                    if len(result.heard) < len(recordings):
                        say(f"  {len(recordings) - len(result.heard)} without result: {result.cost.last_line}")
    print(
        f"model {asked.model}, rounds {asked.rounds}, one thread; faster-whisper {version('faster-whisper')}, "
        f"openai-whisper {version('openai-whisper')}, nightscribe {version('nightscribe')}"
    )
    for name, recordings in sets.items():
        _print_set(
            name, recordings, contenders, {key: runs for (slice_, key), runs in results.items() if slice_ == name}
        )
    print()
    for venv in sorted({each.venv for each in contenders if each.venv}):
        print(" ".join((HERE / "peers" / f"{venv}.txt").read_text().split("\n")).strip())
    for reason in absent:
        print(reason)


def _print_set(
    name: str, recordings: list[Recording], contenders: Sequence[Contender], results: dict[str, list[Result]]
) -> None:
    audio_s = sum(each.seconds for each in recordings)
    print(f"\n{name}: {len(recordings)} recordings, {audio_s:.0f} s of sound")
    print("audio-seconds per core-second: transcribing only | the whole command; per second of wall time: wall\n")
    rows = [(*HEADINGS, *TAIL)]
    for contender in contenders:
        runs = results[_key(contender)]
        if not any(run.heard for run in runs):
            rows.append((contender.name, contender.beam, contender.batch, "1", "failed:", runs[-1].cost.last_line[:70]))
            continue
        costs = [run.cost for run in runs]
        spread = max(run.transcribing_s for run in runs) / min(run.transcribing_s for run in runs) - 1
        lengths = [end - start for run in runs for found in run.heard.values() for start, end, _ in found]
        rows.append(
            (
                contender.name,
                contender.beam,
                contender.batch,
                "1",
                runs[0].times,
                f"{statistics.mean(lengths):.1f}" if lengths else "",
                ("≥" if any(run.is_noise for run in runs) else "")
                + f"{audio_s / statistics.median(run.transcribing_s for run in runs):.1f}",
                f"{audio_s / statistics.median(cost.cpu_s for cost in costs):.1f}",
                f"{audio_s / statistics.median(cost.wall_s for cost in costs):.1f}",
                f"{100 * spread:.0f}",
                f"{statistics.median(run.start_up for run in runs):.1f}",
                f"{statistics.median(cost.memory_mib for cost in costs):.0f}",
                _word_error_rate(runs[-1], recordings),
                _invented(runs[-1], recordings),
                str(len(recordings) - len(runs[-1].heard)),
            )
        )
    _print_table(rows)
    if any(each.text == "" for each in recordings):
        print("\nwords written where nothing is said:")
        silent = [each for each in recordings if each.text == ""]
        kinds = [re.sub(r"^\d+-", "", each.path.stem) for each in silent]
        rows = [("contender", "beam", "batch", "times", *kinds)]
        for contender in contenders:
            run = results[_key(contender)][-1]
            counts = [str(len(_words(run, each))) for each in silent]
            rows.append((contender.name, contender.beam, contender.batch, run.times, *counts))
        _print_table(rows)
    print()
    for line in _ratios(contenders, results, recordings):
        print(line)


def _ratios(
    contenders: Sequence[Contender], results: dict[str, list[Result]], recordings: list[Recording]
) -> list[str]:
    ok = [contender for contender in contenders if any(run.heard for run in results[_key(contender)])]
    by_group: dict[str, list[Contender]] = defaultdict(list)
    for contender in ok:
        by_group[contender.group].append(contender)

    def best(group: Sequence[Contender]) -> Contender | None:
        timed = [each for each in group if each.times != "chunks"]
        return min(
            timed, key=lambda each: statistics.median(r.transcribing_s for r in results[_key(each)]), default=None
        )

    rivals = {
        "openai-whisper, greedy": best(by_group["openai greedy"]),
        "the whisper command": best(by_group["whisper command"]),
        "the fastest of faster-whisper and whisper-ctranslate2 with timed segments": best(
            by_group["faster-whisper"] + by_group["whisper-ctranslate2"]
        ),
    }
    lines = []
    for engine in WHISPER_ENGINES:
        ours = best(by_group[f"nightscribe {engine}"])
        for title, rival in rivals.items():
            is_own = rival is not None and rival.group in {"openai greedy", "whisper command"}
            if ours is None or rival is None or (engine == "openai-whisper" and not is_own):
                continue
            pairs = list(zip(results[_key(ours)], results[_key(rival)], strict=True))
            transcribing = [theirs.transcribing_s / our.transcribing_s for our, theirs in pairs]
            whole = [theirs.cost.cpu_s / our.cost.cpu_s for our, theirs in pairs]
            errors = [_word_error_rate(results[_key(each)][-1], recordings) for each in (ours, rival)]
            lines.append(
                f"nightscribe {engine} against {title}: {statistics.median(transcribing):.2f} × transcribing "
                f"({min(transcribing):.2f}–{max(transcribing):.2f}), {statistics.median(whole):.2f} × whole command; "
                f"WER {errors[0] or '–'} against {errors[1] or '–'} ({_key(rival)})"
            )
    return lines


def _words(run: Result, recording: Recording) -> list[str]:
    heard = run.heard.get(recording.path.stem, [])
    return normalise(" ".join(text for _, _, text in heard), recording.language).split()


def _word_error_rate(run: Result, recordings: list[Recording]) -> str:
    spoken = [each for each in recordings if each.text]
    if not spoken:
        return ""
    heard = [" ".join(_words(run, each)) for each in spoken]
    return f"{100 * jiwer.wer([each.normalised for each in spoken], heard):.2f}"


def _invented(run: Result, recordings: list[Recording]) -> str:
    silent = [each for each in recordings if each.text == ""]
    return str(sum(len(_words(run, each)) for each in silent)) if silent else ""


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows if column < len(row) - 1 or len(row) == len(rows[0]))
              for column in range(len(rows[0]))]  # fmt: skip
    for row in rows:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        print("  ".join(cells).rstrip())


def _key(contender: Contender) -> str:
    return f"{contender.name}, beam {contender.beam}, batch {contender.batch}, {contender.times}"


def _chosen(only: list[str]) -> list[Contender]:
    found = [each for each in CONTENDERS if not only or any(part in _key(each) for part in only)]
    return found or sys.exit(f"No contender is called so. There are: {'; '.join(map(_key, CONTENDERS))}.")


def _installed(bench: Bench, contenders: list[Contender]) -> tuple[list[Contender], list[str]]:
    here, absent = [], {}
    for contender in contenders:
        if contender.venv in absent:
            continue
        try:
            bench.python(contender)
        except (subprocess.CalledProcessError, OSError) as error:
            absent[contender.venv] = f"{contender.venv} could not be installed and is left out: {error}"
            say(absent[contender.venv])
        else:
            here.append(contender)
    return here, list(absent.values())


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="base", help="default: base")
    ask_for_sets(parser)
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PART",
        help="only contenders with this in their name, as in nightscribe or 'whisper command'; may be repeated",
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"environments of others' programs; default: {CACHE}")
    parser.add_argument("--work", type=Path, help="folder for temporary files; default: the system's")
    return parser.parse_args()


if __name__ == "__main__":
    main()
