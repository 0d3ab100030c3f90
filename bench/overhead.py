"""Measure what nightscribe costs beside its speech engine: CPU time of the command over that of the engine.

    python bench/overhead.py MANIFEST --model base --set long --set clips --engine faster-whisper

The engine is timed inside the worker (bench/engine_timer), in the very run whose whole process tree is measured, so
that noise of the machine is in both: every call of a method of the engine counts as the engine. Start-up (Python, the
queue server, loading the model) is what a run over one second of silence costs, and is reported apart:

    overhead = (whole command - start-up) / engine - 1

What remains is decoding with ffmpeg, the speech detector, the queue, the store and the writing of files. The start-up
run loads no sound, so the little it does with its silence is counted as start-up.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import wave
from collections import Counter
from pathlib import Path

import measure
from recordings import ask_for_sets, prepare

from nightscribe.shared.model.engines import WHISPER_ENGINES
from nightscribe.shared.settings import Settings

TIMER = Path(__file__).parent / "engine_timer"


def main() -> None:
    """Print a line for each set and engine."""
    asked = _arguments()
    print(
        f"{'set':<10} {'engine':<16} {'audio s':>8} {'whole':>8} {'start-up':>9} {'engine':>8} {'beside':>8} "
        f"{'overhead %':>10}  calls"
    )
    with tempfile.TemporaryDirectory(prefix="nightscribe-bench-") as made:
        folder = Path(made)
        silence = folder / "silence"
        silence.mkdir()
        with wave.open(str(silence / "silent.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(bytes(2 * 16_000))
        os.utime(silence / "silent.wav", (1e9, 1e9))
        for number, name in enumerate(asked.set or ["long", "clips"]):
            recordings = prepare(asked.manifest, name, folder / f"set-{number}", seconds=asked.seconds, most=asked.most)
            for engine in asked.engine or WHISPER_ENGINES:
                rounds = []
                for at in range(asked.rounds):
                    where = folder / f"{number}-{engine}-{at}"
                    empty, _ = _run(asked.model, engine, recordings[0].language, silence, where / "silence")
                    cost, timed = _run(
                        asked.model, engine, recordings[0].language, recordings[0].path.parent, where / "set"
                    )
                    rounds.append((cost.cpu_s, empty.cpu_s, timed["engine_s"], timed["calls"]))
                    print(f"{name}, {engine}, round {at + 1}: {rounds[-1]}", file=sys.stderr, flush=True)
                whole, start_up, in_engine = (statistics.median(each[at] for each in rounds) for at in range(3))
                overhead = statistics.median((w - s) / e - 1 for w, s, e, _ in rounds)
                calls = ", ".join(f"{method} {n}" for method, n in rounds[-1][3].items())
                print(
                    f"{name:<10} {engine:<16} {sum(each.seconds for each in recordings):>8.0f} {whole:>8.1f} "
                    f"{start_up:>9.1f} {in_engine:>8.1f} {whole - start_up - in_engine:>8.1f} {100 * overhead:>10.1f}"
                    f"  {calls}",
                    flush=True,
                )


def _run(model: str, engine: str, language: str, source: Path, where: Path) -> tuple[measure.Cost, dict]:
    times = where / "times"
    times.mkdir(parents=True)
    options = ("--model", model, "--engine", engine, "--language", language)
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(TIMER), os.environ.get("PYTHONPATH")))),
        "BENCH_ENGINE_TIMES": str(times),
        "NIGHTSCRIBE_MODELS_DIR": str(Settings().models_dir),
        "NIGHTSCRIBE_THREADS": "1",
    }
    cost = measure.run(measure.nightscribe(source, where / "dest", *options), where / "log", environment)
    found = [json.loads(path.read_text()) for path in times.glob("*.json")]
    if cost.status or not found:
        sys.exit(f"nightscribe run ended with {cost.status}:\n{cost.output}")
    calls = sum((Counter(each["calls"]) for each in found), Counter())
    return cost, {"engine_s": sum(each["engine_s"] for each in found), "calls": calls}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="base", help="default: base")
    parser.add_argument(
        "--engine", action="append", choices=list(WHISPER_ENGINES), help="may be repeated; default: all"
    )
    ask_for_sets(parser)
    parser.add_argument("--rounds", type=int, default=1, help="default: 1")
    return parser.parse_args()


if __name__ == "__main__":
    main()
