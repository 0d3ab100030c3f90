"""Choose the recordings of a benchmark from a manifest, cut them if asked, and copy them under plain names."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

SETS = {"long": ("long/one_reader_23min.mp3",), "clips": ("clips/en/", "utterances/"), "hard": ("hard/",)}
OLD_S = 3600  # what was changed a moment ago may still be written, and would be looked at twice


@dataclass(frozen=True)
class Utterance:
    """What is truly said, and when."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Recording:
    """A file to transcribe."""

    path: Path
    origin: str
    seconds: float
    language: str
    text: str | None
    """What is said: "" is nothing, None is unknown."""
    utterances: tuple[Utterance, ...] = ()

    @property
    def normalised(self) -> str:
        """The reference as it is compared."""
        return normalise(self.text or "", self.language)


def normalise(text: str, language: str) -> str:
    """Whisper's own normaliser: English, or the basic one."""
    if language not in _NORMALISERS:
        _NORMALISERS[language] = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    return " ".join(_NORMALISERS[language](text).split())


_NORMALISERS: dict[str, EnglishTextNormalizer | BasicTextNormalizer] = {}


def prepare(manifest: Path, set_name: str, folder: Path, *, seconds: float | None, most: int) -> list[Recording]:
    """Copies of the recordings of a set: a name in `SETS`, or the beginning of their paths.

    Of longer recordings only the first `seconds` are taken, up to the pause after the last whole utterance, where
    utterances are known. At most `most` of each beginning of paths.
    """
    folder.mkdir(parents=True)
    listed = [json.loads(line) for line in manifest.read_text().splitlines()]
    known = [entry for entry in listed if entry["seconds"] and entry["text"] is not None]
    chosen = []
    for beginning in SETS.get(set_name, (set_name,)):
        found = [entry for entry in known if entry["path"].startswith(beginning)]
        chosen += found[:most]
    if not chosen:
        sys.exit(f"No recording with a known text in {manifest} has a path that begins with {set_name!r}.")
    return [_copied(manifest.parent, entry, number, folder, seconds) for number, entry in enumerate(chosen)]


def _copied(corpus: Path, entry: dict, number: int, folder: Path, seconds: float | None) -> Recording:
    origin = corpus / entry["path"]
    plain = re.sub(r"[^A-Za-z0-9]+", "-", origin.stem).strip("-")
    path = folder / f"{number:03}-{plain}{origin.suffix or '.mp3'}"
    beside = origin.parent / f"{origin.stem}.segments.json"
    utterances = [
        Utterance(each["start"], each["end"], each["text"])
        for each in (json.loads(beside.read_text()) if beside.exists() else [])
    ]
    length_s, text = entry["seconds"], entry["text"]
    if seconds and length_s > seconds:
        length_s = seconds
        whole = [each for each in utterances if each.end_s < seconds]
        if whole:
            text = " ".join(each.text for each in whole)
            if len(whole) < len(utterances):
                length_s = min(seconds, (whole[-1].end_s + utterances[len(whole)].start_s) / 2)
        elif text:
            text = None
        utterances = whole
        cut = ["ffmpeg", "-v", "error", "-i", str(origin), "-t", str(length_s), "-vn", "-c", "copy", str(path)]
        subprocess.run(cut, check=True, stdin=subprocess.DEVNULL)
    else:
        shutil.copyfile(origin, path)
    old = time.time() - OLD_S
    os.utime(path, (old, old))
    language = (entry["language"] or "en").partition("-")[0]
    return Recording(path, entry["path"], length_s, language, text, tuple(utterances))


def ask_for_sets(parser: argparse.ArgumentParser) -> None:
    """The options that say which recordings a benchmark takes."""
    parser.add_argument(
        "--set",
        action="append",
        help=f"one of {', '.join(SETS)}, or the beginning of paths; may be repeated; default: long and clips",
    )
    parser.add_argument("--seconds", type=float, default=600, help="of each long recording; default: 600")
    parser.add_argument("--most", type=int, default=10_000, help="recordings of each beginning of paths")
