"""Arrange a transcript as a document that people read: a title, the facts, and paragraphs. Pure.

A paragraph is what one person says without a long pause. A longer stretch is divided where a sentence ends and the
speaker pauses longest.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nightscribe.shared.formats.line_breaks import breakable, one_line, width
from nightscribe.shared.formats.sentences import ends_sentence, is_continued
from nightscribe.shared.formats.speakers import shown_names
from nightscribe.shared.model.flag_meanings import MEANINGS
from nightscribe.shared.model.languages import LANGUAGES
from nightscribe.shared.model.paths import without_suffix
from nightscribe.shared.model.transcript import Segment, Transcript

PAUSE_S = 2.0  # between sentences; readers aloud pause for up to a second and a half
LONG_PAUSE_S = 6.0  # also within a sentence
FEWEST_COLUMNS, MOST_COLUMNS = 250, 900  # of a paragraph that is divided; about a twelfth and a third of a page
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ps", "sd", "ur", "yi"})
ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Paragraph:
    """What one person says without a long pause."""

    segments: tuple[Segment, ...]
    speaker: str | None
    """The name of the speaker, where another one begins; None elsewhere, and if no speakers are shown."""

    @property
    def start_s(self) -> float:
        """Return when the paragraph begins."""
        return self.segments[0].start_s

    @property
    def text(self) -> str:
        """Return the paragraph as running text."""
        return running_text(one_line(segment.text) for segment in self.segments)


@dataclass(frozen=True)
class Document:
    """A transcript as people read it."""

    title: str
    recording: str
    """The name of the recording's file."""
    date: str | None
    """When the recording's file was last changed, such as 2024-02-29, in UTC; None if that is unknown."""
    length: str
    """The length of the recording, such as 1:02:03."""
    language: str | None
    """Code of the language of the text."""
    spoken: str | None
    """The language that is spoken, in words."""
    speakers: tuple[str, ...]
    """The names that are shown, in the order in which they first speak."""
    doubts: tuple[str, ...]
    """What a person should check, as sentences."""
    paragraphs: tuple[Paragraph, ...]

    @property
    def facts(self) -> tuple[str, ...]:
        """Return what precedes the text: file, date, length, language and speakers, as far as they are known."""
        return tuple(
            fact for fact in (self.recording, self.date, self.length, self.spoken, ", ".join(self.speakers)) if fact
        )

    @property
    def facts_line(self) -> str:
        """Return the facts on one line, those in letters that run from right to left kept apart from the others."""
        return " · ".join(f"{ISOLATE}{fact}{END_OF_ISOLATE}" if _runs_left(fact) else fact for fact in self.facts)

    @property
    def is_right_to_left(self) -> bool:
        """Return whether the text is written from right to left."""
        return self.language in RIGHT_TO_LEFT


def document_of(transcript: Transcript) -> Document:
    """Return a transcript as a document."""
    names = shown_names(transcript)
    language = text_language(transcript)
    paragraphs = tuple(_paragraphs(transcript, names, language))
    recording = one_line(transcript.recording.rpartition("/")[2])
    return Document(
        title=without_suffix(recording),
        recording=recording,
        date=_date(transcript.mtime_ns),
        length=clock(transcript.decoded_s),
        language=language,
        spoken=_spoken(transcript),
        speakers=tuple(dict.fromkeys(each.speaker for each in paragraphs if each.speaker)),
        doubts=tuple(f"{flag.capitalize()}: {MEANINGS[flag]}." for flag in MEANINGS if flag in transcript.flags),
        paragraphs=paragraphs,
    )


def text_language(transcript: Transcript) -> str | None:
    """Return the code of the language in which a transcript is written."""
    return transcript.options.translate_to if transcript.options.task == "translate" else transcript.language


def clock(seconds: float) -> str:
    """Return a time or a length as `M:SS` or `H:MM:SS`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def running_text(lines: Iterable[str]) -> str:
    """Return sentences as running text, with spaces between them where their script has any."""
    text = ""
    for line in filter(None, lines):
        text += line if not text or breakable(text[-1], line[0]) else f" {line}"
    return text


def _runs_left(text: str) -> bool:
    return any(unicodedata.bidirectional(char) in {"R", "AL"} for char in text)


def _date(mtime_ns: int | None) -> str | None:
    if mtime_ns is None:
        return None
    try:
        return f"{EPOCH + timedelta(microseconds=mtime_ns // 1000):%Y-%m-%d}"
    except OverflowError:
        return None


def _spoken(transcript: Transcript) -> str | None:
    if not transcript.language:
        return None
    name = LANGUAGES.get(transcript.language, transcript.language).title()
    is_translated = transcript.options.task == "translate" and transcript.language != transcript.options.translate_to
    return f"translated from {name}" if is_translated else name


def _paragraphs(transcript: Transcript, names: dict[str | None, str], language: str | None) -> Iterator[Paragraph]:
    spoken = [segment for segment in transcript.segments if one_line(segment.text)]
    before: str | None = None
    for turn in _turns(sorted(spoken, key=lambda segment: (segment.start_s, segment.end_s)), names):
        speaker = names.get(turn[0].speaker)
        for passage in _passages(turn, language):
            for part in _divided(passage, language):
                yield Paragraph(tuple(part), speaker if speaker != before else None)
                before = speaker


def _turns(segments: Iterable[Segment], names: dict[str | None, str]) -> Iterator[list[Segment]]:
    turn: list[Segment] = []
    for segment in segments:
        if turn and names.get(turn[-1].speaker) != names.get(segment.speaker):
            yield turn
            turn = []
        turn.append(segment)
    if turn:
        yield turn


def _passages(turn: Sequence[Segment], language: str | None) -> Iterator[list[Segment]]:
    """Yield the segments of a turn between its long pauses."""
    passage = [turn[0]]
    for segment in turn[1:]:
        pause_s = segment.start_s - passage[-1].end_s
        if pause_s >= LONG_PAUSE_S or (pause_s >= PAUSE_S and _is_end(passage[-1], segment, language)):
            yield passage
            passage = []
        passage.append(segment)
    yield passage


def _divided(passage: list[Segment], language: str | None) -> Iterator[list[Segment]]:
    """Yield the parts of a passage, each at most about `MOST_COLUMNS` long if its sentences allow it."""
    columns = [width(segment.text) for segment in passage]
    left = sum(columns)
    begin = 0
    while left > MOST_COLUMNS:
        taken, best, best_pause_s = 0, 0, -1.0
        for at in range(begin + 1, len(passage)):
            taken += columns[at - 1]
            if left - taken < FEWEST_COLUMNS or (taken > MOST_COLUMNS and best):
                break
            pause_s = max(0.0, passage[at].start_s - passage[at - 1].end_s)
            if taken >= FEWEST_COLUMNS and pause_s > best_pause_s and _is_end(passage[at - 1], passage[at], language):
                best, best_pause_s = at, pause_s
        if not best:
            break
        yield passage[begin:best]
        left -= sum(columns[begin:best])
        begin = best
    yield passage[begin:]


def _is_end(before: Segment, after: Segment, language: str | None) -> bool:
    """Return whether a sentence ends between two segments."""
    return ends_sentence(before.text, after.text, language) or not is_continued(before.text, after.text, language)
