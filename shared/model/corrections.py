"""Apply corrections to a transcript, and carry them over to a new transcript of the same recording. Pure.

A record keeps the words of the engine. A correction says what a person wrote instead of some of them: it is found again
by its time and by the words that it replaces. Corrections are applied in their order, so a later one may change what an
earlier one wrote. One whose words are not found near its time is not applied, and is reported as not placed; this
happens when a recording is transcribed again with other words.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from difflib import SequenceMatcher
from typing import NamedTuple, TypeVar

from nightscribe.shared.model.transcript import Correction, Segment, Transcript, Word

TOLERANCE_S = 0.5
"""How far the words of a correction may be from its time."""
SPREAD_S = 2.0
AUTOJUNK = 2_000
"""For longer texts, words as common as "the" are not used to find where two texts agree, which would take minutes."""

# In these scripts there is no space between words, so every character is a token: Chinese, Japanese, Thai, Lao, Khmer,
# Burmese.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
TOKEN = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_SPACED_TOKEN = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}]+)")

T = TypeVar("T")


class Token(NamedTuple):
    """A word, or a character of a script without spaces, and where it stands in a transcript."""

    text: str
    segment: int
    start: int
    end: int
    """Characters of the segment's text."""
    start_s: float
    end_s: float


class Change(NamedTuple):
    """Tokens of a transcript, at least one of them, and the text that is to stand there instead."""

    first: int
    end: int
    after: str


class Applied(NamedTuple):
    """The segments of a transcript after its corrections."""

    segments: tuple[Segment, ...]
    unplaced: tuple[Correction, ...]
    """Corrections whose words are not where they were."""


def corrected(transcript: Transcript) -> Transcript:
    """Return a transcript whose segments hold the corrected text. Its corrections stay beside it, to be read."""
    if not transcript.corrections:
        return transcript
    return transcript.model_copy(update={"segments": applied(transcript).segments})


def applied(transcript: Transcript) -> Applied:
    """Return the corrected segments of a transcript, and the corrections that could not be placed."""
    text = _Text(transcript.segments)
    unplaced = tuple(each for each in transcript.corrections if not text.apply(each))
    return Applied(text.segments(), unplaced)


def _state(transcript: Transcript) -> "_Text":
    text = _Text(transcript.segments)
    for each in transcript.corrections:
        text.apply(each)
    return text


def tokens_of(transcript: Transcript, *, by_time: bool = False) -> list[Token]:
    """Return the tokens of the corrected text, in the order of the segments or, as in subtitles, of their times."""
    text = _state(transcript)
    numbers = range(len(text.timed))
    order = sorted(numbers, key=lambda n: (text.timed[n].start_s, text.timed[n].end_s)) if by_time else numbers
    return [token for number in order for token in text.tokens(number)]


def corrections_of(
    transcript: Transcript, tokens: Sequence[Token], changes: Iterable[Change], *, by: str, at: datetime
) -> tuple[Correction, ...]:
    """Return changes of a transcript as corrections. `tokens`: see `tokens_of`; the changes must not overlap."""
    segments = _state(transcript).timed
    made = []
    for change in changes:
        stretch = tokens[change.first : change.end]
        made.append(
            Correction(
                by=by,
                at=at,
                start_s=round(stretch[0].start_s, 3),
                end_s=round(max(stretch[0].start_s, stretch[-1].end_s), 3),
                before=_text_of(stretch, segments),
                after=" ".join(change.after.split()),
            )
        )
    return tuple(made)


def tag_of(text: str) -> str:
    """Return a short hash of the words of a passage, which shows whether somebody has changed them."""
    return hashlib.sha256(" ".join(TOKEN.findall(normalized(text))).encode(errors="surrogatepass")).hexdigest()[:16]


def text_after(tokens: Sequence[Token], changes: Iterable[Change]) -> list[str]:
    """Return the tokens as they should be after changes."""
    texts, at = list[str](), 0
    for change in sorted(changes):
        texts += [token.text for token in tokens[at : change.first]]
        texts += TOKEN.findall(change.after)
        at = change.end
    return texts + [token.text for token in tokens[at:]]


def normalized(text: str) -> str:
    """Return text in which a letter with an accent is one character, as most programs write it."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def opcodes(before: Sequence[T], after: Sequence[T]) -> list[tuple[int, int, int, int]]:
    """Return the stretches in which two lists differ: the bounds in the first one, and those in the second one."""
    first, n, m = 0, len(before), len(after)
    while first < min(n, m) and before[first] == after[first]:
        first += 1
    while n > first and m > first and before[n - 1] == after[m - 1]:
        n, m = n - 1, m - 1
    if (n, m) == (first, first):
        return []
    matcher = SequenceMatcher(None, before[first:n], after[first:m], autojunk=max(n, m) - first > AUTOJUNK)
    return [
        (first + i1, first + i2, first + j1, first + j2)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]


def matches(before: Sequence[T], after: Sequence[T]) -> dict[int, int]:
    """Return the positions at which two lists agree: those in the second one, by those in the first one."""
    found, i, j = dict[int, int](), 0, 0
    for i1, i2, j1, j2 in [*opcodes(before, after), (len(before), 0, len(after), 0)]:
        found.update(zip(range(i, i1), range(j, j1), strict=True))
        i, j = i2, j2
    return found


def carried(old: Transcript, new: Transcript) -> tuple[Correction, ...]:
    """Return the corrections of an old transcript for a new one of the same recording: a three-way merge by words.

    A correction follows the words that it replaces. If the new transcript has the corrected words already, it has done
    its work. If it has others, nobody knows which are right: the correction is kept with the words around it, so that
    it is reported as not placed.
    """
    if not old.corrections:
        return ()
    base = _Text(old.segments).all_tokens()
    theirs = _Text(new.segments).all_tokens()
    if [token.text for token in base] == [token.text for token in theirs]:
        return old.corrections
    state = _state(old)
    ours, our_segments = state.all_tokens(), state.timed
    places = matches([token.text for token in base], [token.text for token in theirs])
    made = []
    for i1, i2, j1, j2 in opcodes([token.text for token in base], [token.text for token in ours]):
        first, end, our_first, our_end = anchored(i1, i2, j1, j2, len(base))
        if first == end:  # the engine had found no words at all
            continue
        after = _text_of(ours[our_first:our_end], our_segments)
        by = _author(old.corrections, base[first], base[end - 1])
        place = [places.get(at) for at in range(first, end)]
        start = place[0]
        if start is not None and place == list(range(start, start + len(place))):
            stretch, before = (
                theirs[start : start + len(place)],
                _text_of(theirs[start : start + len(place)], new.segments),
            )
        else:
            low = next((places[at] + 1 for at in range(first - 1, -1, -1) if at in places), 0)
            high = next((places[at] for at in range(end, len(base)) if at in places), len(theirs))
            if [token.text for token in theirs[low:high]] == [token.text for token in ours[our_first:our_end]]:
                continue
            # With the words around it, it is not placed by chance.
            before_it, after_it = base[max(0, first - 1) : first], base[end : end + 1]
            stretch = [*before_it, *base[first:end], *after_it]
            before = _text_of(stretch, old.segments)
            after = " ".join([*(t.text for t in before_it), *([after] if after else []), *(t.text for t in after_it)])
        made.append(
            Correction(
                by=by.by,
                at=by.at,
                start_s=round(stretch[0].start_s, 3),
                end_s=round(max(stretch[0].start_s, stretch[-1].end_s), 3),
                before=before,
                after=after,
            )
        )
    return (*made, *applied(old).unplaced)


def anchored(i1: int, i2: int, j1: int, j2: int, n: int) -> tuple[int, int, int, int]:
    """Return a stretch that replaces at least one of `n` tokens: inserted words stand beside one that stays."""
    if i1 < i2:
        return i1, i2, j1, j2
    if i1:
        return i1 - 1, i2, j1 - 1, j2
    return (i1, i2 + 1, j1, j2 + 1) if n else (i1, i2, j1, j2)


def _author(corrections: Sequence[Correction], first: Token, last: Token) -> Correction:
    """Return the last correction of a stretch."""
    touching = [
        each for each in corrections if each.start_s <= last.end_s + 0.01 and each.end_s >= first.start_s - 0.01
    ]
    return touching[-1] if touching else corrections[-1]


def _text_of(tokens: Sequence[Token], segments: Sequence[Segment]) -> str:
    """Return the text of consecutive tokens, with the spaces between them."""
    text = ""
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is None:
            gap = ""
        elif before.segment == token.segment:
            gap = segments[token.segment].text[before.end : token.start]
        else:
            gap = " "
        text += ("" if not gap else " ") + token.text
    return text


class _Text:
    """The segments of a transcript, to which corrections are applied one after the other.

    A segment whose words have no times gets estimates when it is changed, so that the words that stay keep theirs.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.timed = list(segments)
        self._estimated: set[int] = set()
        self._emptied: set[int] = set()

    def segments(self) -> tuple[Segment, ...]:
        """Return the segments as they are now, except those of which nothing is left."""
        return tuple(
            segment.model_copy(update={"words": ()}) if number in self._estimated else segment
            for number, segment in enumerate(self.timed)
            if number not in self._emptied
        )

    def all_tokens(self) -> list[Token]:
        """Return the tokens of all segments."""
        return [token for number in range(len(self.timed)) for token in self.tokens(number)]

    def tokens(self, number: int) -> Iterator[Token]:
        """Yield the tokens of one segment."""
        segment = self.timed[number]
        times = _Times(segment)
        for found in TOKEN.finditer(segment.text):
            start, end = found.span()
            yield Token(normalized(found[0]), number, start, end, times.at(start), times.at(end, is_end=True))

    def apply(self, correction: Correction) -> bool:
        """Make a correction; return whether its words were found."""
        sought = [normalized(text) for text in TOKEN.findall(correction.before)]
        if not sought:
            return self._insert(correction)
        near = [
            number
            for number, segment in enumerate(self.timed)
            if segment.start_s <= correction.end_s + SPREAD_S and segment.end_s >= correction.start_s - SPREAD_S
        ]
        tokens = [token for number in near for token in self.tokens(number)]
        texts, n = [token.text for token in tokens], len(sought)
        starts = [at for at in range(len(texts) - n + 1) if texts[at] == sought[0] and texts[at : at + n] == sought]
        at = min(starts, key=lambda at: abs(tokens[at].start_s - correction.start_s), default=None)
        if at is None or abs(tokens[at].start_s - correction.start_s) > TOLERANCE_S:
            return False
        self._replace(tokens[at : at + n], correction.after)
        return True

    def _insert(self, correction: Correction) -> bool:
        """Add words where the engine has found none at all."""
        if not correction.after or any(segment.text.strip() for segment in self.timed):
            return False
        self.timed.append(Segment(start_s=correction.start_s, end_s=correction.end_s, text=correction.after))
        return True

    def _replace(self, stretch: Sequence[Token], after: str) -> None:
        numbers = list(dict.fromkeys(token.segment for token in stretch))
        for number in numbers:
            inside = [token for token in stretch if token.segment == number]
            self._rewrite(number, inside[0].start, inside[-1].end, after if number == numbers[0] else "")
            if not self.timed[number].text.strip():
                self._emptied.add(number)
        first = self.timed[numbers[0]]
        if swallowed := [self.timed[number].end_s for number in numbers[1:] if number in self._emptied]:
            self.timed[numbers[0]] = first.model_copy(update={"end_s": max(first.end_s, *swallowed)})

    def _rewrite(self, number: int, start: int, end: int, after: str) -> None:
        """Replace characters of one segment, and the words that they belong to."""
        segment = self.timed[number]
        text = segment.text
        if not after:  # together with one of the spaces around it
            if start and text[start - 1].isspace():
                start -= 1
            elif end < len(text) and text[end].isspace():
                end += 1
        times = _Times(segment)
        if not times.is_exact:
            self._estimated.add(number)
        words = times.words()
        group = [at for at, (first, last, _) in enumerate(words) if first < end and last > start]
        made: list[Word] = []
        if group:
            first, last = words[group[0]][0], words[group[-1]][1]
            made = _timed_pieces(text[first:start] + after + text[end:last], [words[at][2] for at in group])
        kept = [word for _, _, word in words]
        kept[group[0] if group else 0 : group[-1] + 1 if group else 0] = made
        self.timed[number] = segment.model_copy(
            update={"text": text[:start] + after + text[end:], "words": tuple(kept)}
        )


class _Times:
    """The times of the characters of a segment: of its words where they have some, otherwise spread evenly."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        joined = "".join(word.text for word in segment.words)
        self.is_exact = bool(segment.words) and joined.strip() == segment.text.strip()
        self._words: list[tuple[int, int, Word]] = []
        if self.is_exact:
            at = _margin(segment.text) - _margin(joined)
            for word in segment.words:
                self._words.append((max(0, at), at + len(word.text), word))
                at += len(word.text)

    def words(self) -> list[tuple[int, int, Word]]:
        """Return the words, each with the bounds of its characters, including the space before it."""
        if self.is_exact:
            return self._words
        return [
            (found.start(), found.end(), Word(self.at(found.start()), self.at(found.end(), is_end=True), found[0]))
            for found in _SPACED_TOKEN.finditer(self._segment.text)
        ]

    def at(self, character: int, *, is_end: bool = False) -> float:
        """Return when a character begins or, with `is_end`, when the one before it ends."""
        segment = self._segment
        if not self.is_exact:
            return _between(segment.start_s, segment.end_s, character, len(segment.text))
        for first, last, word in self._words:
            if character < last or (is_end and character == last):
                begin = first + _margin(word.text)
                return _between(word.start_s, word.end_s, character - begin, last - begin)
        return segment.words[-1].end_s


def _margin(text: str) -> int:
    return len(text) - len(text.lstrip())


def _between(start_s: float, end_s: float, part: int, whole: int) -> float:
    return start_s + max(0.0, end_s - start_s) * min(max(part, 0), whole) / whole if whole > 0 else start_s


def _timed_pieces(text: str, words: Sequence[Word]) -> list[Word]:
    """Return the words of a text that stands instead of other words, in their time."""
    pieces = _SPACED_TOKEN.findall(text)
    if len(pieces) == len(words):
        return [word._replace(text=piece) for piece, word in zip(pieces, words, strict=True)]
    first, last = words[0], words[-1]
    made, at, whole = list[Word](), 0, sum(map(len, pieces))
    for piece in pieces:
        start_s = _between(first.start_s, last.end_s, at, whole)
        at += len(piece)
        end_s = _between(first.start_s, last.end_s, at, whole)
        made.append(Word(round(start_s, 3), round(end_s, 3), piece, first.speaker))
    return made
