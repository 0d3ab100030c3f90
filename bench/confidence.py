"""Fit the confidence of segments, and measure how well it and the flags tell bad transcripts from good ones.

    python bench/confidence.py MANIFEST --model base --model tiny.en --heard heard.jsonl --write

MANIFEST is that of `bench/accuracy.py`. Each chosen recording is heard as it is and in ways that make it hard
(hard_cases.py); `--heard` keeps what was heard, so that an interrupted run goes on and another fit takes a second. The
model is fitted on half of the recordings and tested on the others; all cases of a recording are in the same half.
`--write` stores it in worker/pipeline/confidence.json.

A transcript is bad with more than 60 % wrong words and good with less than 20 %. Chinese and Japanese are compared by
character, in simplified characters.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import opencc
from accuracy import BY_CHARACTER
from hard_cases import empty_cases, hard_cases
from recordings import normalise

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.jobs import Options, Slice
from nightscribe.shared.model.transcript import Flag, Part
from nightscribe.shared.settings import Settings
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.pipeline import confidence, windows
from nightscribe.worker.pipeline.assemble import DOUBTFUL_SHARE
from nightscribe.worker.pipeline.confidence import Evidence, Model
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.vad import SpeechDetector
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window

BAD, GOOD = 0.6, 0.2
# On the recordings that the line is chosen with; the aim for others is at most 0.05 and at least 0.8.
MOST_GOOD_FLAGGED, LEAST_BAD_FLAGGED = 0.03, 0.9
WRONG_LANGUAGES = ("en", "es", "fr", "vi", "de")
RIDGE = 0.5
STORED = Path(confidence.__file__).with_suffix(".json")
_SIMPLIFIED = opencc.OpenCC("t2s")

Row = dict[str, Any]
"""What was heard of one case: its share of wrong words, flags, and the features and length of each segment."""


def main() -> None:
    """Hear what was not heard before, fit, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", action="append", help="may be repeated; default: base and tiny.en")
    parser.add_argument("--engine", default="faster-whisper")
    parser.add_argument("--heard", type=Path, default=Path("heard.jsonl"), help="file that keeps what was heard")
    parser.add_argument("--most", type=int, default=8, help="recordings of each folder, those of English twice")
    parser.add_argument("--longest", type=float, default=20.0, help="seconds of the longest recording to take")
    parser.add_argument("--cases", type=int, default=3, help="hard cases of each recording")
    parser.add_argument("--fit-only", action="store_true", help="hear nothing new")
    parser.add_argument("--write", action="store_true", help=f"store the model in {STORED.name}")
    asked = parser.parse_args()
    models = asked.model or ["base", "tiny.en"]

    rows = _kept(asked.heard)
    if not asked.fit_only:
        known = {(row["model"], row["recording"], row["case"]) for row in rows}
        with asked.heard.open("a") as file:
            for model in models:
                for row in _heard(asked, model, known):
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    rows.append(row)
    rows = [row for row in rows if row["model"] in models]
    ours, others = [row for row in rows if _is_for_fit(row)], [row for row in rows if not _is_for_fit(row)]
    if not ours or not others:
        sys.exit("Too few recordings were heard to fit a model on some and test it on others.")
    fitted = _fit(ours)
    print("Coefficients: " + ", ".join(f"{name} {factor:.2f}" for name, factor in fitted.coefficients.items()))
    print(f"Intercept {fitted.intercept:.2f}; in doubt below {fitted.doubtful_below:.2f}")
    for name, some in (("fitted on", ours), ("tested on other recordings", others)):
        print(f"\n{name}: {len(some)} cases of {len({row['recording'] for row in some})} recordings")
        _print_calibration(fitted, some)
        _print_flags(fitted, some)
    if asked.write:
        _write(fitted, asked, models, ours, others)


# Hearing


def _heard(asked: argparse.Namespace, model: str, known: set[tuple[str, str, str]]) -> Iterator[Row]:
    recordings = _chosen(asked, english_only=model.endswith(".en"))
    sounds = {path: np.concatenate(list(Decoder(asked.manifest.parent / path))) for path in recordings}
    voices = [sound for path, sound in sounds.items() if len(sound) > 3 * RATE]
    evidence: dict[tuple[str, float], Evidence] = {}

    def score(each: Evidence) -> float:
        evidence[each.text, each.average_log_probability] = each
        return 0.0

    weights = engines.find_weights(asked.engine, model, Settings().models_dir)
    transcriber = Transcriber(engines.load(asked.engine, model, weights.path, threads=1), score=score)
    by_language: dict[str, list[tuple[str, str, Waveform]]] = defaultdict(list)
    for path, language in recordings.items():
        for case, spoken, sound in _cases(path, sounds[path], language, voices, asked.cases, model):
            if (model, path, case) not in known:
                by_language[spoken].append((path, case, sound))
    for spoken, cases in by_language.items():
        options = Options(engine=asked.engine, model=model, language=spoken)
        slices = {f"{n}": (path, case) for n, (path, case, _) in enumerate(cases)}
        stream = _stream([sound for _, _, sound in cases], transcriber)
        for end, part in transcriber.transcribe(stream, Request(options)):
            assert part is not None
            path, case = slices[end.slice_.recording]
            yield _row(part, evidence, model, path, case, recordings[path], asked.texts[path])


def _chosen(asked: argparse.Namespace, *, english_only: bool) -> dict[str, str]:
    """Return the language of each chosen recording, and keep its text in `asked.texts`."""
    seen: dict[str, int] = defaultdict(int)
    chosen, asked.texts = {}, {}
    for line in asked.manifest.read_text().splitlines():
        entry = json.loads(line)
        if not entry["text"] or not entry["seconds"] or entry["seconds"] > asked.longest or not entry["language"]:
            continue
        folder, language = str(Path(entry["path"]).parent), entry["language"].partition("-")[0]
        most = asked.most * (2 if language == "en" else 1) // (4 if english_only and language != "en" else 1)
        if seen[folder] < most:
            seen[folder] += 1
            chosen[entry["path"]], asked.texts[entry["path"]] = language, entry["text"]
    return {path: chosen[path] for path in sorted(chosen, key=_hash)}  # so that an interrupted run has some of each


def _cases(
    path: str, sound: Waveform, language: str, voices: Sequence[Waveform], most: int, model: str
) -> Iterator[tuple[str, str, Waveform]]:
    """Yield the name, the language given to the engine, and the sound of each case of a recording."""
    dice = np.random.default_rng(list(blake2b(f"{model} {path}".encode(), digest_size=8).digest()))
    only_english = model.endswith(".en")
    yield "as it is", "en" if only_english else "auto", sound
    ways = hard_cases(voices)
    for name in dice.choice(list(ways), most, replace=False):
        yield str(name), "auto" if not only_english else "en", ways[str(name)](dice, sound)
    if not only_english and dice.random() < 0.4:
        other = dice.choice([each for each in WRONG_LANGUAGES if each != language])
        yield f"as if {other}", str(other), sound
    if dice.random() < 0.3:
        for name, made in empty_cases(dice, 6.0).items():
            yield name, "en" if only_english else "auto", made


def _stream(sounds: Sequence[Waveform], transcriber: Transcriber) -> Iterator[Window | SliceEnd]:
    for n, sound in enumerate(sounds):
        slice_ = Slice(recording=f"{n}", fingerprint="0-0", size=1, stem=f"{n}")
        detector = SpeechDetector()
        for start_s, waveform in windows.cut([sound], **transcriber.window_limits._asdict()):
            yield Window(slice_, start_s, waveform, detector.listen(waveform))
        yield SliceEnd(slice_, decoded_s=len(sound) / RATE)


def _row(
    part: Part, evidence: dict[tuple[str, float], Evidence], model: str, path: str, case: str, language: str, text: str
) -> Row:
    heard = " ".join(segment.text for segment in part.segments)
    segments = []
    for segment in part.segments:
        known = evidence.get((segment.text, segment.average_log_probability or 0.0))
        if known:  # otherwise it was joined from several
            segments.append({"seconds": known.seconds, "features": confidence.features(known)})
    return {
        "model": model,
        "recording": path,
        "case": case,
        "language": language,
        "wrong": _wrong(heard, "" if case.startswith("only") else text, language),
        "flags": sorted(set(part.flags) - {Flag.LOW_CONFIDENCE}),
        "heard": heard,
        "segments": segments,
    }


def _wrong(heard: str, true: str, language: str) -> float:
    if not true:
        return float(bool(heard))
    if language in BY_CHARACTER:
        plain = [normalise(_SIMPLIFIED.convert(text), language).replace(" ", "") for text in (true, heard)]
        return float(jiwer.cer(plain[0] or "-", plain[1]))
    return float(jiwer.wer(normalise(true, language) or "-", normalise(heard, language)))


def _kept(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _is_for_fit(row: Row) -> bool:
    return _hash(row["recording"])[0] % 2 == 0


def _hash(path: str) -> bytes:
    return blake2b(path.encode(), digest_size=8).digest()[::-1]


# Fitting


def _fit(rows: Sequence[Row]) -> Model:
    """Return the model whose confidence is nearest to the share of right words, without any feature that adds to it."""
    names = list(rows[0]["segments"][0]["features"]) if rows[0]["segments"] else list(_any_features(rows))
    values, right, weights = [], [], []
    for row in rows:
        spoken_s = sum(segment["seconds"] for segment in row["segments"]) or 1.0
        for segment in row["segments"]:
            values.append([segment["features"][name] for name in names])
            right.append(1 - min(1.0, row["wrong"]))
            weights.append(segment["seconds"] / spoken_s)
    x, y, w = np.array(values), np.array(right), np.array(weights)
    used = list(range(len(names)))
    while True:
        found = _logistic(x[:, used], y, w)
        adding = [n for n, factor in enumerate(found[1:]) if factor > 0]
        if not adding:
            break
        del used[max(adding, key=lambda n: found[1 + n])]
    coefficients = {names[column]: round(float(factor), 3) for column, factor in zip(used, found[1:], strict=True)}
    model = Model(round(float(found[0]), 3), coefficients, 0.0)
    return Model(model.intercept, coefficients, _line(model, rows))


def _any_features(rows: Sequence[Row]) -> dict[str, float]:
    found: dict[str, float] = next(segment["features"] for row in rows for segment in row["segments"])
    return found


def _logistic(x: "np.typing.NDArray[Any]", y: "np.typing.NDArray[Any]", w: "np.typing.NDArray[Any]") -> Any:
    """Return intercept and coefficients by Newton's method, with a penalty on large coefficients."""
    with_one = np.column_stack([np.ones(len(x)), x])
    penalty = np.diag([0.0, *[RIDGE] * x.shape[1]])
    found = np.zeros(with_one.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(with_one @ found, -30, 30)))
        slope = with_one.T @ (w * (y - p)) - penalty @ found
        curvature = (with_one * (w * p * (1 - p))[:, None]).T @ with_one + penalty
        step = np.linalg.solve(curvature, slope)
        found += step
        if np.abs(step).max() < 1e-8:
            break
    return found


def _line(model: Model, rows: Sequence[Row]) -> float:
    """Return the line half way between that which flags enough bad transcripts and that which flags few good ones."""
    good, bad = _good(rows), [row for row in rows if row["wrong"] > BAD]
    lines = [line / 100 for line in range(20, 90)]
    few = [line for line in lines if _flagged(model, good, line) <= MOST_GOOD_FLAGGED * len(good)]
    enough = [line for line in lines if _flagged(model, bad, line) >= LEAST_BAD_FLAGGED * len(bad)]
    highest, lowest = max(few, default=lines[0]), min(enough, default=lines[0])
    return round(min(highest, (highest + lowest) / 2), 2)


def _good(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["wrong"] < GOOD and row["heard"]]  # "no speech" is no fault where it is true


def _flagged(model: Model, rows: Sequence[Row], line: float) -> int:
    """Return how many transcripts have a flag if segments with less confidence are in doubt."""
    n = 0
    for row in rows:
        doubtful_s = sum(
            segment["seconds"] for segment in row["segments"] if model.confidence(segment["features"]) < line
        )
        spoken_s = sum(segment["seconds"] for segment in row["segments"])
        n += bool(row["flags"]) or doubtful_s > DOUBTFUL_SHARE * spoken_s
    return n


# Tables


def _print_calibration(model: Model, rows: Sequence[Row]) -> None:
    pairs = [
        (model.confidence(segment["features"]), 1 - min(1.0, row["wrong"]))
        for row in rows
        for segment in row["segments"]
    ]
    print(f"{'confidence':>12} {'segments':>9} {'expected':>9} {'right':>7}")
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        some = [pair for pair in pairs if low <= pair[0] < low + 0.2 or (low == 0.8 and pair[0] == 1)]
        if some:
            expected, right = np.mean(some, axis=0)
            print(f"{low:>6.1f}–{low + 0.2:.1f} {len(some):>10} {expected:>9.2f} {right:>7.2f}")


def _print_flags(model: Model, rows: Sequence[Row]) -> None:
    print(f"{'':<24} {'of bad':>12} {'of good':>12}")
    groups: dict[str, list[Row]] = {"all": list(rows)}
    for row in rows:
        for name in (row["model"], row["language"], row["case"].partition(" ")[0]):
            groups.setdefault(name, []).append(row)
    for name, some in groups.items():
        bad, good = [r for r in some if r["wrong"] > BAD], _good(some)
        n_bad, n_good = (_flagged(model, each, model.doubtful_below) for each in (bad, good))
        print(f"{name:<24} {n_bad:>5} of {len(bad):>3} {n_good:>5} of {len(good):>3}")


def _write(
    fitted: Model, asked: argparse.Namespace, models: Sequence[str], ours: Sequence[Row], others: Sequence[Row]
) -> None:
    def reached(rows: Sequence[Row]) -> dict[str, Any]:
        bad, good = [r for r in rows if r["wrong"] > BAD], _good(rows)
        line = fitted.doubtful_below
        return {
            "recordings": len({row["recording"] for row in rows}),
            "cases": len(rows),
            "bad": len(bad),
            "bad_flagged": _flagged(fitted, bad, line),
            "good": len(good),
            "good_flagged": _flagged(fitted, good, line),
        }

    content = {
        "made_by": "bench/confidence.py",
        "models": list(models),
        "engine": asked.engine,
        "fitted_on": reached(ours),
        "tested_on": reached(others),
        "intercept": fitted.intercept,
        "coefficients": fitted.coefficients,
        "doubtful_below": fitted.doubtful_below,
    }
    STORED.write_text(json.dumps(content, indent=2) + "\n")
    print(f"\nWritten to {STORED.name}.")


if __name__ == "__main__":
    main()
