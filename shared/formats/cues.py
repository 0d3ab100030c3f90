"""Divide speech into cues that people can read on a screen.

Every way of dividing the words into cues, and a cue into lines, has a cost; dynamic programming finds the cheapest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from math import inf
from typing import NamedTuple

from nightscribe.shared.formats.line_breaks import BORDER, WORD, break_cost, one_line, pieces, width
from nightscribe.shared.formats.sentences import ends_sentence, is_continued
from nightscribe.shared.formats.speakers import Names, shown_names
from nightscribe.shared.formats.subtitle_profiles import PROFILES, Profile, profile_of
from nightscribe.shared.model.jobs import PLAIN, Layout
from nightscribe.shared.model.transcript import Segment, Transcript, Word

MIN_CUE_MS = 100  # players drop a cue without duration
MAX_CUE_MS = PROFILES[PLAIN].max_ms
PAUSE_MS = 600  # after such a pause between segments, another thought or another speaker follows
LONG_PAUSE_MS = 1000  # inside a segment, the speaker takes a breath in mid-sentence
APART_MS = 1500  # no cue spans a longer pause, because words must not be read so long before they are heard
SLOWEST_COLUMNS_PER_S = 6  # how slowly people speak at most

# Costs of a cue in addition to the break at its end, on the scale of `line_breaks.break_cost`.
CUE = 2.0  # for each cue
FULL = 6.0  # times the square of its fullness, so that the parts of a sentence become equally long
INNER_END = 3.0  # for each sentence that ends inside it
AT_PAUSE = 0.25  # times the break at its end, where the speaker pauses
INNER_PAUSE_PER_S = 8.0  # for each second of a pause inside it, beyond `BREATH_MS`
BREATH_MS = 300
GONE_PER_S = 15.0  # per second that its display time falls short of what it takes to read it
FLICKER = 8.0  # if the screen is empty for a moment after it
ORPHAN = 10.0  # if it is only a scrap of a sentence, shorter than `ORPHAN_COLUMNS`
ORPHAN_COLUMNS = 12
LINES = 0.3  # times the cost of its line breaks
TEARING = 2.0  # times what a line break costs beyond an ordinary one between words
UNEVEN = 25.0  # times the sum of the squared differences from even lines
MOST_PIECES = 150  # in a cue; nobody says more in `MAX_CUE_MS`, but a record may hold any times
BALANCED_LINES = 4  # of a cue at most; the work to find the best division grows steeply with their number
SLOPE = 0.08  # each line should exceed the one above it by this share of a full line
WITHIN_WORD = 2.0  # for a break inside a stretch that the model timed as one word, in scripts without spaces

NAME_SHARE = 0.5  # of a line at most, for the name of a speaker
DASH = "- "  # before each of two speakers in one cue


@dataclass(frozen=True)
class Cue:
    """The lines on the screen from `start_ms` to `end_ms`."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    speakers: tuple[str | None, ...] = ()
    """The name of the speaker of each line; None where it is not shown. Two names share a cue only in a dialogue."""

    @property
    def speaker(self) -> str | None:
        """Return the name of the speaker, or of both in a dialogue."""
        return " / ".join(dict.fromkeys(name for name in self.speakers if name)) or None


class _Piece(NamedTuple):
    """A stretch of text that no break divides."""

    text: str
    spaced: bool  # a space precedes it, unless it begins a line
    start_ms: int
    end_ms: int
    segment: int
    within_word: bool  # it continues a word that was timed as one
    speaker: str | None  # the name that is shown, if any


def cues(
    segments: Sequence[Segment],
    layout: Layout,
    language: str | None = None,
    names: Names | None = None,
    *,
    named: bool = False,
) -> list[Cue]:
    """Divide segments into cues, ordered by time; none is empty, shorter than `MIN_CUE_MS` or overlaps the next.

    A cue has one speaker, unless two who speak briefly after one another share one: then each has a line with a dash.

    Args:
        language: language code of the text.
        names: the names of the speakers that are shown.
        named: write the name of a speaker before the words wherever another one begins to speak.
    """
    made: list[Cue] = []
    profile = profile_of(layout, language)
    passages = list(_passages(_pieces(segments, profile.line_chars, names or {}, named=named)))
    for number, passage in enumerate(passages, 1):
        next_ms = passages[number][0].start_ms if number < len(passages) else inf
        made += _Passage(passage, profile, language, next_ms).cues()
    return _timed(list(_with_dialogues(made, profile)) if names else made, profile)


def cues_of(transcript: Transcript, *, named: bool = False) -> list[Cue]:
    """Return the cues of a transcript in its own layout. `named`: see `cues`."""
    language = transcript.options.translate_to if transcript.options.task == "translate" else transcript.language
    names = tuple(shown_names(transcript).items())
    return _cached(transcript.segments, transcript.layout, language, names, named=named and bool(names))


@lru_cache(maxsize=2)  # all formats of one transcript are rendered in sequence
def _cached(
    segments: tuple[Segment, ...],
    layout: Layout,
    language: str | None,
    names: tuple[tuple[str | None, str], ...],
    *,
    named: bool,
) -> list[Cue]:
    return cues(segments, layout, language, dict(names), named=named)


def _pieces(segments: Sequence[Segment], line_chars: int, names: Names, *, named: bool) -> list[_Piece]:
    ordered = sorted(segments, key=lambda s: (s.start_s, s.end_s))
    made: list[_Piece] = []
    starts_s = [segment.start_s for segment in ordered]
    before: str | None = None
    for number, (segment, next_s) in enumerate(zip(ordered, [*starts_s, inf][1:], strict=True)):
        # The model is less sure of ends than of starts, so the earlier segment loses an overlap.
        times = list(_characters(segment, min(segment.end_s, next_s)))
        at = 0
        speaker = names.get(segment.speaker)
        prefix = _prefix(speaker, line_chars) if named and speaker and speaker != before else ""
        for text, spaced in pieces(one_line(segment.text), line_chars - width(prefix)):
            until = at + len(text.replace(" ", ""))
            within_word = at > 0 and times[at].word == times[at - 1].word
            start_ms, end_ms = times[at].start_ms, times[until - 1].end_ms
            made.append(_Piece(prefix + text, spaced, start_ms, end_ms, number, within_word, speaker))
            prefix, before = "", speaker
            at = until
    return made


def _prefix(name: str, line_chars: int) -> str:
    """Return a name as it stands before words, shortened if it would take too much of a line."""
    room = max(1, round(line_chars * NAME_SHARE) - len(": "))
    if width(name) > room:
        name = name[: room - 1]
        while width(name) > room - 1 and name:
            name = name[:-1]
        name = f"{name.rstrip()}…"
    return f"{name}: "


class _Time(NamedTuple):
    start_ms: int
    end_ms: int
    word: int


def _characters(segment: Segment, until_s: float) -> Iterator[_Time]:
    """Yield the time of each character except spaces, spread evenly over its word and kept inside the segment."""
    text, words = one_line(segment.text), segment.words
    if one_line("".join(word.text for word in words)) != text:
        # Without words, only the start is certain. Nobody speaks more slowly than this, so the rest is silence.
        longest_s = max(MAX_CUE_MS / 1000, width(text) / SLOWEST_COLUMNS_PER_S)
        words = (Word(segment.start_s, min(segment.end_s, segment.start_s + longest_s), text),)
    lowest, highest = segment.start_s, max(segment.start_s, until_s)
    starts = list(accumulate((min(max(word.start_s, lowest), highest) for word in words), max))
    for number, (word, start_s, next_s) in enumerate(zip(words, starts, [*starts, highest][1:], strict=True)):
        end_s = max(start_s, min(word.end_s, next_s))
        count = len(one_line(word.text).replace(" ", ""))
        edges = [round(1000 * (start_s + (end_s - start_s) * n / count)) for n in range(count + 1)] if count else []
        yield from (_Time(start, end, number) for start, end in pairwise(edges))


def _passages(flow: list[_Piece]) -> Iterator[list[_Piece]]:
    """Yield the pieces between the pauses and changes of speaker that no cue may span."""
    passage: list[_Piece] = []
    for piece in flow:
        if passage and (piece.start_ms - passage[-1].end_ms >= APART_MS or piece.speaker != passage[-1].speaker):
            yield passage
            passage = []
        passage.append(piece)
    if passage:
        yield passage


class _Passage:
    """Divides consecutive pieces into cues; `i` and `j` denote the pieces from `i` up to but excluding `j`."""

    def __init__(self, flow: list[_Piece], profile: Profile, language: str | None, next_ms: float) -> None:
        """`next_ms`: when the passage after this one begins."""
        self.flow, self.profile = flow, profile
        self.starts_ms = [*(piece.start_ms for piece in flow), next_ms]
        self.edges = [0, *accumulate(width(piece.text) + piece.spaced for piece in flow)]
        self.breaks, self.cue_breaks, inner = [0.0], [0.0], [0.0]
        for before, after in pairwise(flow):
            ends = ends_sentence(before.text, after.text, language)
            if before.segment != after.segment and not is_continued(before.text, after.text, language):
                ends = True
            cost = break_cost(before.text, after.text, spaced=after.spaced, language=language)
            cost = min(cost, BORDER) if ends else cost
            cost += 0 if after.spaced else WITHIN_WORD * after.within_word
            self.breaks.append(cost)
            pause_ms = after.start_ms - before.end_ms
            is_pause = pause_ms >= (LONG_PAUSE_MS if before.segment == after.segment else PAUSE_MS)
            self.cue_breaks.append(AT_PAUSE * cost if is_pause else cost)
            inner.append(INNER_END * ends + INNER_PAUSE_PER_S * max(0, pause_ms - BREATH_MS) / 1000)
        self.line_breaks = [cost + TEARING * max(0, cost - WORD) for cost in (*self.breaks, 0.0)]
        self.breaks.append(0.0)
        self.cue_breaks.append(0.0)
        self.inner = list(accumulate(inner))
        self.ends = [True, *(cost <= BORDER for cost in self.breaks[1:-1]), True]
        self.reach = list(self._reach())

    def _width(self, i: int, j: int) -> int:
        return self.edges[j] - self.edges[i] - self.flow[i].spaced

    def _reach(self) -> Iterator[int]:
        """Yield, for each piece, the end of the longest line that begins with it."""
        j = 0
        for i in range(len(self.flow)):
            while j < len(self.flow) and self._width(i, j + 1) <= self.profile.line_chars:
                j += 1
            yield j

    def cues(self) -> Iterator[Cue]:
        """Yield the cues of the cheapest division, with the times of their words."""
        n = len(self.flow)
        best, begin = [0.0] + [inf] * n, [0] * (n + 1)
        for i in range(n):
            lines, fits_to = 1, self.reach[i]
            for j in range(i + 1, min(n, i + MOST_PIECES) + 1):
                if j > fits_to:
                    if lines == self.profile.lines:
                        break
                    lines, fits_to = lines + 1, self.reach[fits_to]
                if j > i + 1 and self.flow[j - 1].end_ms - self.flow[i].start_ms > self.profile.max_ms:
                    break
                cost = best[i] + self._cost(i, j)
                if lines > 1 and cost < best[j]:
                    cost += LINES * self._lines(i, j, lines)[0]
                if cost < best[j]:
                    best[j], begin[j] = cost, i
        ends = [n]
        while ends[-1]:
            ends.append(begin[ends[-1]])
        for i, j in pairwise(reversed(ends)):
            text = self._text(i, j)
            speaker = self.flow[i].speaker
            yield Cue(self.flow[i].start_ms, self.flow[j - 1].end_ms, text, (speaker,) * len(text) if speaker else ())

    def _cost(self, i: int, j: int) -> float:
        """Return the cost of a cue without its line breaks."""
        columns = self._width(i, j)
        fullness = columns / (self.profile.line_chars * self.profile.lines)
        cost = CUE + FULL * fullness**2 + self.cue_breaks[j] + self.inner[j - 1] - self.inner[i]
        if columns < ORPHAN_COLUMNS and not (self.ends[i] and self.ends[j]):
            cost += ORPHAN
        wanted_ms = max(self.profile.min_ms, 1000 * columns / self.profile.columns_per_s)
        shown_ms = self.starts_ms[j] - self.profile.gap_ms - self.starts_ms[i]
        cost += GONE_PER_S * max(0, wanted_ms - shown_ms) / 1000
        silence_ms = self.starts_ms[j] - self.flow[j - 1].end_ms
        if shown_ms > self.profile.max_ms and self.profile.gap_ms < silence_ms < self.profile.flicker_ms:
            cost += FLICKER  # it may not stay until the next
        return cost

    def _lines(self, i: int, j: int, count: int) -> tuple[float, tuple[int, ...]]:
        """Return the cost of the cheapest division of a cue into `count` lines, and the end of each line."""
        line_chars = self.profile.line_chars
        if count > BALANCED_LINES:
            ends = [self.reach[i]]
            while ends[-1] < j:
                ends.append(self.reach[ends[-1]])
            return sum(self.line_breaks[end] for end in ends[:-1]), (*ends[:-1], j)
        mean = self._width(i, j) / count
        if count == 2:  # almost all; the general way takes several times as long
            least, end, slope = inf, j, SLOPE * line_chars / 2
            for k in range(i + 1, min(self.reach[i], j - 1) + 1):
                if self.reach[k] >= j:
                    uneven = (self._width(i, k) - mean + slope) ** 2 + (self._width(k, j) - mean - slope) ** 2
                    cost = self.line_breaks[k] + UNEVEN * uneven / line_chars**2
                    if cost < least:
                        least, end = cost, k
            return least, (end, j)

        @cache
        def divide(i: int, left: int) -> tuple[float, tuple[int, ...]]:
            wanted = mean + SLOPE * line_chars * ((count + 1) / 2 - left)
            if left == 1:
                if self.reach[i] < j:
                    return inf, ()
                return UNEVEN * ((self._width(i, j) - wanted) / line_chars) ** 2, (j,)
            found: tuple[float, tuple[int, ...]] = (inf, ())
            for k in range(i + 1, min(self.reach[i], j - 1) + 1):
                cost, ends = divide(k, left - 1)
                cost += self.line_breaks[k] + UNEVEN * ((self._width(i, k) - wanted) / line_chars) ** 2
                if cost < found[0]:
                    found = cost, (k, *ends)
            return found

        return divide(i, count)

    def _text(self, i: int, j: int) -> tuple[str, ...]:
        count, end = 1, self.reach[i]
        while end < j:
            count, end = count + 1, self.reach[end]
        ends = self._lines(i, j, count)[1]
        return tuple(
            "".join(" " * piece.spaced + piece.text for piece in self.flow[a:b]).strip(" ")
            for a, b in pairwise([i, *ends])
        )


def _with_dialogues(spoken: list[Cue], profile: Profile) -> Iterator[Cue]:
    """Yield the cues, two of different speakers as one where the time is too short to read them one after another."""
    at = 0
    while at < len(spoken):
        cue, others = spoken[at], spoken[at + 1 : at + 3]
        if others and _is_dialogue(cue, others[0], others[1].start_ms if len(others) > 1 else inf, profile):
            other = others[0]
            lines = (f"{DASH}{cue.lines[0]}", f"{DASH}{other.lines[0]}")
            yield Cue(cue.start_ms, other.end_ms, lines, (*cue.speakers, *other.speakers))
            at += 2
        else:
            yield cue
            at += 1


def _is_dialogue(cue: Cue, other: Cue, next_ms: float, profile: Profile) -> bool:
    """Return whether two cues must share the screen. `next_ms`: when the cue after them begins."""
    each_fits = all(
        len(each.lines) == 1 and each.speaker and width(DASH + each.lines[0]) <= profile.line_chars
        for each in (cue, other)
    )
    if profile.lines < 2 or not each_fits or cue.speaker == other.speaker:
        return False
    if other.start_ms - cue.end_ms >= PAUSE_MS or other.end_ms - cue.start_ms > profile.max_ms:
        return False
    return min(other.start_ms - cue.start_ms, next_ms - other.start_ms) < profile.min_ms


def _timed(spoken: list[Cue], profile: Profile) -> list[Cue]:
    """Show each cue long enough to be read, and remove it before the next."""
    made: list[Cue] = []
    starts_ms = [cue.start_ms for cue in spoken]
    for cue, next_ms in zip(spoken, [*starts_ms, inf][1:], strict=True):
        start_ms = max(cue.start_ms, made[-1].end_ms if made else 0)
        read_ms = 1000 * sum(map(width, cue.lines)) / profile.columns_per_s
        wanted_ms = max(cue.end_ms + profile.linger_ms, start_ms + max(profile.min_ms, int(read_ms)))
        if next_ms - wanted_ms < profile.flicker_ms:
            wanted_ms = int(next_ms)
        end_ms = min(wanted_ms, start_ms + profile.max_ms, next_ms - profile.gap_ms)
        if profile.gap_ms < next_ms - end_ms < profile.flicker_ms:  # it may not stay until the next one
            end_ms = max(cue.end_ms, next_ms - profile.flicker_ms)
        made.append(replace(cue, start_ms=start_ms, end_ms=int(max(end_ms, start_ms + MIN_CUE_MS))))
    return made
