"""Say which speaker says which words. Pure; times are in seconds."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.formats.sentences import MARKS
from nightscribe.shared.model.speakers import SpeakerTurn
from nightscribe.shared.model.transcript import Segment, Word

STRAY_WORDS = 2  # so many words on the wrong side of the end of a sentence are an inaccuracy of times ...
STRAY_S = 0.6  # ... if they take no longer than this
ISLAND_S = 0.4  # a shorter word of another speaker within a sentence is one, too
NEAR_S = 1.0  # a segment this close to a turn belongs to it
HOLDS_THE_FLOOR = 0.75  # of the other's overlap suffices for the speaker of the word before, whom engines follow
TOGETHER_S = 0.25  # overlap from which two speak at the same time
POINT_S = 0.02  # some engines give short words no length
# Engines stretch the first word after a pause back over it, so only this much of a word, from its end, is compared.
SLOW_WORD_S, SLOW_CHAR_S = 0.3, 0.08


def attributed(segments: Sequence[Segment], turns: Sequence[SpeakerTurn]) -> tuple[Segment, ...]:
    """Return the segments with their speakers, parted where another one begins to speak.

    A word has a speaker if it falls into a turn; otherwise it goes with its neighbours in its segment, and only the
    segment has one. Segments that have a speaker already, whose channel says so, are left as they are.
    """
    if not turns:
        return tuple(segments)
    timeline = _Timeline(turns)
    found = [(segment, _runs(segment, timeline)) for segment in segments]
    _move_strays(found)
    # A second segment may begin within the first one, and before the part of it that another speaker says.
    parts = (part for segment, runs in found for part in _parted(segment, runs, timeline))
    return tuple(sorted(parts, key=lambda part: part.start_s))


@dataclass
class _Run:
    """Consecutive words of a segment with one speaker."""

    words: list[Word]
    speaker: str | None

    @property
    def seconds(self) -> float:
        return self.words[-1].end_s - self.words[0].start_s

    @property
    def is_stray(self) -> bool:
        return len(self.words) <= STRAY_WORDS and self.seconds <= STRAY_S


class _Timeline:
    """Knows who speaks at any time."""

    def __init__(self, turns: Sequence[SpeakerTurn]) -> None:
        self._edges = sorted({edge for turn in turns for edge in (turn.start_s, turn.end_s)})
        events = sorted([(t.start_s, 1, t.speaker) for t in turns] + [(t.end_s, -1, t.speaker) for t in turns])
        self._active: list[tuple[str, ...]] = []
        """The speakers from each edge to the next."""
        speaking: Counter[str] = Counter()
        at = 0
        for edge in self._edges:
            while at < len(events) and events[at][0] <= edge:
                speaking[events[at][2]] += events[at][1]
                at += 1
            self._active.append(tuple(sorted(+speaking)))

    def stretches(self, start_s: float, end_s: float) -> Iterator[tuple[float, tuple[str, ...]]]:
        """Yield the length of each stretch between two times in which the same people speak, with these."""
        at = max(0, bisect_right(self._edges, start_s) - 1)
        for edge, after, speakers in zip(
            self._edges[at:], [*self._edges[at + 1 :], end_s], self._active[at:], strict=False
        ):
            if edge >= end_s:
                return
            seconds = min(after, end_s) - max(edge, start_s)
            if seconds > 0 and speakers:
                yield seconds, speakers

    def overlaps(self, start_s: float, end_s: float) -> Counter[str]:
        """Return the seconds for which each speaker speaks between two times."""
        found: Counter[str] = Counter()
        for seconds, speakers in self.stretches(start_s, end_s):
            for speaker in speakers:
                found[speaker] += seconds  # type: ignore[assignment]  # counters count anything
        return found

    def near(self, start_s: float, end_s: float) -> str | None:
        """Return the speaker who speaks most around a stretch in which nobody seems to speak, or None."""
        return _most(self.overlaps(start_s - NEAR_S, end_s + NEAR_S))

    def beside(self, speaker: str, start_s: float, end_s: float) -> tuple[str, ...]:
        """Return those who speak at the same time as a speaker, for long enough to be heard."""
        found: Counter[str] = Counter()
        for seconds, speakers in self.stretches(start_s, end_s):
            if speaker in speakers:
                for other in speakers:
                    found[other] += seconds  # type: ignore[assignment]
        return tuple(other for other in sorted(found) if other != speaker and found[other] >= TOGETHER_S)


def _most(overlaps: Counter[str]) -> str | None:
    return max(sorted(overlaps), key=lambda speaker: overlaps[speaker], default=None)


def _runs(segment: Segment, timeline: _Timeline) -> list[_Run]:
    """Divide the words of a segment by speaker; there are none without words, or where the speaker is known.

    Words in none of the turns keep their own speaker unknown, and join their neighbours. The words of a text that a
    person has corrected are not its words any more.
    """
    if segment.speaker or one_line("".join(word.text for word in segment.words)) != one_line(segment.text):
        return []
    words: list[Word] = []
    before: str | None = None
    for word in segment.words:
        text = word.text.strip()
        slowest_s = SLOW_WORD_S + SLOW_CHAR_S * len(text)
        # Some engines time several words as one.
        start_s = word.start_s if " " in text else max(word.start_s, word.end_s - slowest_s)
        overlaps = timeline.overlaps(start_s, max(word.end_s, start_s + POINT_S))
        speaker = _most(overlaps)
        if speaker and before and overlaps[before] >= HOLDS_THE_FLOOR * overlaps[speaker]:
            speaker = before
        words.append(word._replace(speaker=speaker))
        before = speaker or before
    speakers = _without_islands(words, _filled(words))
    return [
        _Run([word for word, _ in group], speaker)
        for speaker, group in groupby(zip(words, speakers, strict=True), key=lambda each: each[1])
    ]


def _filled(words: Sequence[Word]) -> list[str | None]:
    """Return the speaker of each word, that of the nearest one in time where its own is unknown."""
    known = [at for at, word in enumerate(words) if word.speaker]
    if not known:
        return [None] * len(words)
    filled: list[str | None] = []
    for at, word in enumerate(words):
        if word.speaker:
            filled.append(word.speaker)
            continue
        after = bisect_right(known, at)
        beside = known[max(0, after - 1) : after + 1]
        nearest = min(beside, key=lambda n: max(words[n].start_s - word.end_s, word.start_s - words[n].end_s))
        filled.append(words[nearest].speaker)
    return filled


def _without_islands(words: Sequence[Word], speakers: list[str | None]) -> list[str | None]:
    """Return the speakers without single short words between the words of another one."""
    made = list(speakers)
    for at in range(1, len(words) - 1):
        before, after = made[at - 1], speakers[at + 1]
        if before == after != made[at] and words[at].end_s - words[at].start_s < ISLAND_S:
            made[at] = before
    return made


def _move_strays(found: Sequence[tuple[Segment, list[_Run]]]) -> None:
    """Give words just beyond the end of a sentence to the speaker of their own sentence.

    Times of words and turns are a little off, and people mostly begin to speak with a sentence.
    """
    for (before, first), (_, second) in pairwise(found):
        if not (first and second) or before.text[-1:] not in MARKS:
            continue
        if len(second) > 1 and second[0].is_stray and second[0].speaker == first[-1].speaker:
            second[:2] = [_Run(second[0].words + second[1].words, second[1].speaker)]
        elif len(first) > 1 and first[-1].is_stray and first[-1].speaker == second[0].speaker:
            first[-2:] = [_Run(first[-2].words + first[-1].words, first[-2].speaker)]


def _parted(segment: Segment, runs: Sequence[_Run], timeline: _Timeline) -> Iterator[Segment]:
    if not runs:
        if segment.speaker:
            yield segment
            return
        speaker = _most(timeline.overlaps(segment.start_s, segment.end_s))
        yield _spoken(segment, speaker or timeline.near(segment.start_s, segment.end_s), timeline)
        return
    for at, run in enumerate(runs):
        speaker = run.speaker or timeline.near(segment.start_s, segment.end_s)
        if len(runs) == 1:
            yield _spoken(segment.model_copy(update={"words": tuple(run.words)}), speaker, timeline)
            continue
        # The edges of a segment may lie beyond those of its words.
        start_s = segment.start_s if at == 0 else run.words[0].start_s
        end_s = segment.end_s if at == len(runs) - 1 else run.words[-1].end_s
        changes = {
            "start_s": start_s,
            "end_s": max(start_s, end_s),
            "text": "".join(word.text for word in run.words).strip(),
            "words": tuple(run.words),
        }
        yield _spoken(segment.model_copy(update=changes), speaker, timeline)


def _spoken(segment: Segment, speaker: str | None, timeline: _Timeline) -> Segment:
    """Return a segment with its speaker, who takes over the words that a stray time gave to another."""
    if speaker is None:
        return segment
    words = tuple(word if word.speaker in (None, speaker) else word._replace(speaker=None) for word in segment.words)
    beside = timeline.beside(speaker, segment.start_s, segment.end_s)
    return segment.model_copy(update={"speaker": speaker, "also_speaking": beside, "words": words})
