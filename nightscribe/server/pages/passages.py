"""Prepare a transcript for reading: passages with their times, voices, doubts and corrections. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nightscribe.shared.formats.speakers import shown_names
from nightscribe.shared.model.corrections import TOKEN, applied, corrected, normalized, opcodes, tag_of
from nightscribe.shared.model.doubt import is_settled
from nightscribe.shared.model.transcript import Flag, Segment, Transcript

N_VOICES = 8
"""Colours for voices; more than that many use them again."""
VERY_DOUBTFUL = 0.4
REPETITIVE = 2.4
"""Compression ratio above which Whisper takes a text for a repetition."""
HOLE_S = 4.0
"""Shortest stretch without text that is shown in a transcript with the flag `gap`."""
CHUNK = 250


@dataclass(frozen=True)
class Speaking:
    """A voice of a recording."""

    label: str
    name: str
    colour: int
    spoken_s: float
    share: float
    """Part of the spoken time, from 0 to 1."""
    voice: str | None
    """Id of the voice over all recordings, if a person has named it."""


@dataclass(frozen=True)
class Passage:
    """A segment as a page shows it."""

    key: str
    """Id of its element. It stays the same when other passages are added or removed."""
    start_s: float
    end_s: float
    text: str
    tag: str
    words: str
    """Length in UTF-16 units, start after that of the passage and duration in 1/100 s, of each word."""
    speaker: Speaking | None
    is_turn: bool
    """Whether somebody else begins to speak."""
    confidence: float | None
    """Expected share of right words, where they are in doubt and nobody has looked at them."""
    is_repetitive: bool
    machine: str | None
    """What the engine understood, where people have corrected it."""
    corrected: str
    """Bounds of corrected words in UTF-16 units."""
    hole_s: float | None
    """Length of the stretch without text before it, where somebody seems to speak."""

    @property
    def percent(self) -> int:
        """Return the expected share of right words in percent."""
        return round(100 * (self.confidence or 0))

    @property
    def is_very_doubtful(self) -> bool:
        """Return whether hardly any word is expected to be right."""
        return self.confidence is not None and self.confidence < VERY_DOUBTFUL


@dataclass(frozen=True)
class Chunk:
    """Passages that a page loads together."""

    number: int
    passages: tuple[Passage, ...]

    @property
    def start_s(self) -> float:
        """Return the start of the first one."""
        return self.passages[0].start_s

    @property
    def end_s(self) -> float:
        """Return the last end."""
        return max(each.end_s for each in self.passages)


@dataclass(frozen=True)
class Reading:
    """A transcript as a page shows it."""

    transcript: Transcript
    passages: tuple[Passage, ...]
    speakers: tuple[Speaking, ...]
    n_unplaced: int

    @property
    def n_doubtful(self) -> int:
        """Return the number of passages at which somebody should look."""
        return sum(each.confidence is not None for each in self.passages)

    @property
    def chunks(self) -> list[Chunk]:
        """Return the passages in chunks."""
        starts = range(0, len(self.passages), CHUNK)
        return [Chunk(number, self.passages[at : at + CHUNK]) for number, at in enumerate(starts)]


def reading(transcript: Transcript) -> Reading:
    """Return a transcript as a page shows it."""
    speakers = speakers_of(transcript)
    machine = {(each.start_s, each.speaker): each.text.strip() for each in transcript.segments}
    passages: list[Passage] = []
    keys, last, at_s = Counter[float](), None, 0.0
    has_holes = Flag.GAP in transcript.flags
    for segment in sorted(corrected(transcript).segments, key=lambda each: (each.start_s, each.end_s)):
        if not segment.text.strip():
            continue
        hole_s = segment.start_s - at_s
        heard = machine.get((segment.start_s, segment.speaker)) if transcript.corrections else None
        keys[segment.start_s] += 1
        passages.append(
            passage(
                segment,
                nth=keys[segment.start_s],
                speaker=speakers.get(segment.speaker or ""),
                is_turn=segment.speaker != last,
                heard=heard,
                is_settled=is_settled(transcript, segment),
                hole_s=hole_s if has_holes and hole_s >= HOLE_S else None,
            )
        )
        last, at_s = segment.speaker, max(at_s, segment.end_s)
    unplaced = applied(transcript).unplaced if transcript.corrections else ()
    return Reading(transcript, tuple(passages), tuple(speakers.values()), len(unplaced))


def passage(
    segment: Segment,
    *,
    nth: int = 1,
    speaker: Speaking | None = None,
    is_turn: bool = False,
    heard: str | None = None,
    is_settled: bool = False,
    hole_s: float | None = None,
) -> Passage:
    """Return a segment as a page shows it. `nth`: among those that begin at the same time."""
    text = segment.text.strip()
    return Passage(
        key=f"p{round(segment.start_s * 1000)}" + (f"-{nth}" if nth > 1 else ""),
        start_s=segment.start_s,
        end_s=max(segment.start_s, segment.end_s),
        text=text,
        tag=tag_of(text),
        words=words_of(segment),
        speaker=speaker,
        is_turn=is_turn and speaker is not None,
        confidence=None if is_settled else segment.confidence,
        is_repetitive=(segment.compression_ratio or 0) > REPETITIVE,
        machine=heard if heard is not None and heard != text else None,
        corrected=_corrected(heard, text) if heard is not None and heard != text else "",
        hole_s=hole_s,
    )


def speakers_of(transcript: Transcript) -> dict[str, Speaking]:
    """Return the voices whose names are shown, by label, in the order in which they first speak."""
    names = shown_names(transcript)
    known = {each.label: each for each in transcript.speakers}
    spoken: dict[str, float] = dict.fromkeys((label for label in names if label), 0.0)
    for segment in transcript.segments:
        if segment.speaker in spoken:
            spoken[segment.speaker] += segment.end_s - segment.start_s
    total_s = sum(spoken.values()) or 1.0
    return {
        label: Speaking(
            label=label,
            name=names[label],
            colour=number % N_VOICES,
            spoken_s=spoken_s,
            share=spoken_s / total_s,
            voice=known[label].voice if label in known else None,
        )
        for number, (label, spoken_s) in enumerate(spoken.items())
    }


def changed(before: Reading, after: Reading) -> list[tuple[str, Passage | None]]:
    """Return the passages that differ, by their keys; None for one that is gone."""
    now = {each.key: each for each in after.passages}
    return [(each.key, now.get(each.key)) for each in before.passages if now.get(each.key) != each]


def has_new(before: Reading, after: Reading) -> bool:
    """Return whether there are passages that were not there before, so that a page must be loaded again."""
    return bool({each.key for each in after.passages} - {each.key for each in before.passages})


def words_of(segment: Segment) -> str:
    """Return the words of a segment as scripts read them; empty if they have no times."""
    text = "".join(word.text for word in segment.words)
    if not segment.words or text.strip() != segment.text.strip():
        return ""
    skipped = len(text) - len(text.lstrip())
    made = []
    for number, word in enumerate(segment.words):
        shown = word.text[skipped:] if number == 0 else word.text
        start = max(0, round((word.start_s - segment.start_s) * 100))
        made.append(f"{_units(shown)}.{start}.{max(1, round((word.end_s - word.start_s) * 100))}")
    return " ".join(made)


def _corrected(heard: str, text: str) -> str:
    """Return the bounds of the words in a text that the engine did not understand."""
    tokens = list(TOKEN.finditer(text))
    before = [normalized(token) for token in TOKEN.findall(heard)]
    spans = [
        (tokens[first].start(), tokens[end - 1].end())
        for _, _, first, end in opcodes(before, [normalized(token[0]) for token in tokens])
        if end > first
    ]
    return " ".join(f"{_units(text[:start])}-{_units(text[:end])}" for start, end in spans)


def _units(text: str) -> int:
    """Return the length of a text as scripts count it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", errors="surrogatepass")) // 2


def plain(segments: Iterable[Segment]) -> Sequence[Passage]:
    """Return segments of an unfinished recording, of which nothing more is known."""
    keys = Counter[float]()
    made = []
    for segment in segments:
        if segment.text.strip():
            keys[segment.start_s] += 1
            made.append(passage(segment, nth=keys[segment.start_s], is_settled=True))
    return made
