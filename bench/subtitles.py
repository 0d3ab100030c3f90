"""Check subtitles against the guidelines of Netflix and the BBC, and count what breaks them.

Takes .srt files of any program, or folders with transcripts of nightscribe, which are laid out anew for each profile.
A rule that no layout can keep, because people speak faster than others read, is counted all the same.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from nightscribe.shared.destination.keys import TRANSCRIPTS
from nightscribe.shared.formats.cues import cues_of
from nightscribe.shared.formats.document import text_language
from nightscribe.shared.formats.line_breaks import width
from nightscribe.shared.formats.subtitle_profiles import PROFILES, Profile, profile_of
from nightscribe.shared.model.jobs import BBC, Layout, SubtitleProfile
from nightscribe.shared.model.transcript import Transcript

RULES: Mapping[str, str] = {
    "line too long": "a line is wider than the profile allows",
    "too many lines": "a cue has more lines than the profile allows",
    "too fast": "a cue is gone before it can be read",
    "too short": "a cue is shown for less than the minimum",
    "too long": "a cue is shown for more than the maximum",
    "overlap": "a cue begins before the one before it has gone",
    "gap": "between two cues the screen is empty for too short a time",
    "broken needlessly": "two lines hold a text that fits on one",
    "uneven lines": "one line is less than half as long as the other",
    "torn": "a line or a cue ends after an article, a preposition, a conjunction or a title",
    "mark first": "a line begins with a mark that closes",
    "number torn": "a line or a cue ends within a number, or between a number and what it counts",
    "name torn": "a line or a cue ends between two names",
    "fragment": "a cue is a scrap of a sentence, of at most two words or twelve columns",
    "capital": "a cue continues a sentence and begins with a capital letter",
}
WORD_MS = 300  # at least, for each word: BBC Subtitle Guidelines
FRAGMENT_COLUMNS, FRAGMENT_WORDS = 12, 2
ARTICLES = "a an the der die das den dem des ein eine einen einem einer eines le la les un une el los las il lo gli"
PREPOSITIONS = (
    "of in on at to by for from with into und oder von zu mit für auf aus bei de du des et ou à dans avec pour sur y o "
    "en con por para and or but nor than"
)
TITLES = "mr mrs ms dr st prof herr frau mme mlle sr sra"
BINDING = frozenset(f"{ARTICLES} {PREPOSITIONS} {TITLES}".split())
ALWAYS_CAPITAL = frozenset(["i", "i'm", "i'll", "i've", "i'd"])
SENTENCE_END = ".?!…。？！"
CLOSING = "\"'”’»)]"
_TIMES = re.compile(r"(\d+):(\d\d):(\d\d)[.,](\d{3}) --> (\d+):(\d\d):(\d\d)[.,](\d{3})[^\n]*")


class Shown(NamedTuple):
    """A cue as a viewer sees it."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def read_srt(text: str) -> Iterator[Shown]:
    """Yield the cues of an .srt or a .vtt file."""
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        if found := _TIMES.search(block):
            hours, minutes, seconds, ms, *end = map(int, found.groups())
            lines = tuple(filter(None, map(str.strip, block[found.end() :].split("\n"))))
            if lines:
                start_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
                yield Shown(start_ms, ((end[0] * 60 + end[1]) * 60 + end[2]) * 1000 + end[3], lines)


def violations(cues: Sequence[Shown], profile: Profile, *, by_words: bool = False) -> Iterator[tuple[str, Shown]]:
    """Yield each broken rule of `RULES` with the cue that breaks it. `by_words`: speech is measured in words."""
    for before, cue, after in zip([None, *cues], cues, [*cues[1:], None], strict=False):
        for rule in _in_time(cue, after, profile, by_words=by_words):
            yield rule, cue
        for rule in _in_lines(cue, profile):
            yield rule, cue
        for rule in _in_text(before, cue, after):
            yield rule, cue


def _in_time(cue: Shown, after: Shown | None, profile: Profile, *, by_words: bool) -> Iterator[str]:
    ms = cue.end_ms - cue.start_ms
    words = sum(len(line.split()) for line in cue.lines)
    needed_ms = WORD_MS * words if by_words else 1000 * sum(map(width, cue.lines)) / profile.columns_per_s
    if ms < needed_ms - 1:
        yield "too fast"
    if ms < profile.min_ms:
        yield "too short"
    if ms > profile.max_ms:
        yield "too long"
    if after:
        gap_ms = after.start_ms - cue.end_ms
        if gap_ms < 0:
            yield "overlap"
        elif gap_ms < profile.gap_ms or profile.gap_ms < gap_ms < profile.flicker_ms:
            yield "gap"


def _in_lines(cue: Shown, profile: Profile) -> Iterator[str]:
    widths = [width(line) for line in cue.lines]
    is_dialogue = all(line.startswith("-") for line in cue.lines)
    if max(widths) > profile.line_chars:
        yield "line too long"
    if len(widths) > profile.lines:
        yield "too many lines"
    if len(widths) > 1 and not is_dialogue:
        if sum(widths) + len(widths) - 1 <= profile.line_chars:
            yield "broken needlessly"
        if 2 * min(widths) < max(widths):
            yield "uneven lines"
    if any(line[0] in ".,;:!?%…)]»”。，、？！" and not line.startswith("...") for line in cue.lines):
        yield "mark first"


def _in_text(before: Shown | None, cue: Shown, after: Shown | None) -> Iterator[str]:
    borders = [*pairwise(cue.lines), *([(cue.lines[-1], after.lines[0])] if after else [])]
    for upper, lower in borders:
        last, first = upper.split()[-1], lower.split()[0]
        if _ends(upper) or last[-1] in ",;:–—-":
            continue
        bare = last.strip(CLOSING + "(“„«.").casefold()
        if bare in BINDING:
            yield "torn"
        if bare[-1:].isdigit() and (first[0].isdigit() or (first.islower() and first.casefold() not in BINDING)):
            yield "number torn"
        if _is_name(last) and _is_name(first) and not last.isupper() and len(upper.split()) > 1:
            yield "name torn"
    text = " ".join(cue.lines)
    starts_sentence = before is None or _ends(before.lines[-1])
    is_small = len(text.split()) <= FRAGMENT_WORDS or width(text) <= FRAGMENT_COLUMNS
    if is_small and not (starts_sentence and _ends(text)) and not all(map(_is_wide, text[:1])):
        yield "fragment"
    first = text.split()[0].strip("“\"'(").casefold()
    if not starts_sentence and text[0].isupper() and first not in ALWAYS_CAPITAL:
        yield "capital"


def _ends(line: str) -> bool:
    return line.rstrip(CLOSING)[-1:] in SENTENCE_END


def _is_name(word: str) -> bool:
    bare = word.strip("“\"'(,")
    return bare[:1].isupper() and bare.casefold() not in ALWAYS_CAPITAL and bare.isalpha()


def _is_wide(char: str) -> bool:
    return width(char) == 2


class Count:
    """The rules that a set of subtitles breaks under one profile."""

    def __init__(self) -> None:
        self.cues = 0
        self.broken: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, cues: Sequence[Shown], profile: Profile, *, by_words: bool) -> None:
        """Count the cues of one file."""
        self.cues += len(cues)
        for rule, cue in violations(cues, profile, by_words=by_words):
            self.broken[rule] += 1
            self.examples.setdefault(rule, []).append(f"{cue.start_ms / 1000:9.3f}  {' | '.join(cue.lines)}")


def main() -> None:
    """Print a table of rules and profiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", nargs="+", type=Path, help=".srt files, or folders with transcripts of nightscribe")
    parser.add_argument("--subtitles", action="append", choices=list(PROFILES), help="may be repeated; default: all")
    parser.add_argument("--language", default="en", help="of .srt files, for their reading speed (en)")
    parser.add_argument("--examples", type=int, default=0, help="how many cues to show of each broken rule (0)")
    given = parser.parse_args()
    counts: dict[SubtitleProfile, Count] = {name: Count() for name in given.subtitles or PROFILES}
    for place in given.place:
        for name, count in counts.items():
            for cues, profile in _subtitles(place, name, given.language):
                count.add(cues, profile, by_words=name == BBC)
    print(f"{'':20}" + "".join(f"{name:>16}" for name in counts))
    print(f"{'cues':20}" + "".join(f"{count.cues:16,}" for count in counts.values()))
    for rule in RULES:
        print(f"{rule:20}" + "".join(_cell(count, rule) for count in counts.values()))
    for name, count in counts.items():
        for rule, shown in count.examples.items():
            for each in shown[: given.examples]:
                print(f"{name:8} {rule:18} {each}")


def _cell(count: Count, rule: str) -> str:
    n = count.broken[rule]
    return f"{n:9,} {100 * n / max(1, count.cues):5.1f}%"


def _subtitles(place: Path, name: SubtitleProfile, language: str) -> Iterator[tuple[list[Shown], Profile]]:
    layout = Layout(subtitles=name)
    if place.is_file():
        yield list(read_srt(place.read_text(encoding="utf-8-sig"))), profile_of(layout, language)
        return
    for path in sorted((place / TRANSCRIPTS).rglob("*.json")):
        transcript = Transcript.model_validate_json(path.read_bytes())
        laid_out = transcript.model_copy(update={"layout": layout})
        cues = [Shown(cue.start_ms, cue.end_ms, cue.lines) for cue in cues_of(laid_out)]
        yield cues, profile_of(layout, text_language(transcript))


if __name__ == "__main__":
    main()
