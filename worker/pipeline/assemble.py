"""Assemble the `Part` of a slice from its recognized windows, with flags that a person may want to check."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nightscribe.shared.model.jobs import Slice
from nightscribe.shared.model.transcript import Flag, LanguagePrior, Part, Segment
from nightscribe.worker.engines.base import Recognition, SpeechSlice
from nightscribe.worker.pipeline.confidence import model
from nightscribe.worker.pipeline.segmentation import continued
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window
from nightscribe.worker.repetition import MAX_COMPRESSION_RATIO, is_babble

BABBLE_LOG_PROBABILITY = -0.3  # people repeat themselves too, but then the model is sure of its words
DOUBTFUL_SHARE = 0.25  # share of the spoken time
SURE_LANGUAGE = 0.5


@dataclass
class SliceState:
    """The intermediate results of a slice while its windows are transcribed."""

    slice_: Slice
    given_language: str | None = None
    """Code of the language that the user gave, if any."""
    written_in: str | None = None
    """Code of the language of the text if it differs from the spoken one: a translation is in English."""
    speech: dict[str | None, SpeechSlice] = field(default_factory=lambda: defaultdict(SpeechSlice))
    """By feed, because each track or channel may have a language of its own."""
    language_probability: float | None = None
    language_prior: LanguagePrior | None = None
    """What other recordings of the folder said about the language, if it is unclear."""
    languages: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds spoken in each language."""
    segments: list[Segment] = field(default_factory=list)
    is_plain: bool = False
    """True if the engine writes neither capitals nor punctuation."""
    has_gap: bool = False
    """True if there is speech without text."""
    done_s: float = 0.0
    processing_s: float = 0.0
    end: SliceEnd | None = None

    def learn(self, prior: LanguagePrior) -> None:
        """Let other recordings of the folder help to detect the language."""
        self.language_prior = prior
        for speech in self.speech.values():
            speech.folder_languages = prior.folder

    @property
    def is_done(self) -> bool:
        """Return whether the end is known and no window is left to recognize."""
        return self.end is not None and not any(speech.waiting for speech in self.speech.values())

    def add(self, window: Window, recognition: Recognition, segments: Sequence[Segment], processing_s: float) -> None:
        """Add the results of one window; the times of `segments` are relative to the start of the window."""
        for language, seconds in recognition.other_languages.items():
            self.languages[language] += seconds
        if segments and (spoken := recognition.language or self.given_language):
            self.languages[spoken] += window.seconds
        if recognition.language_probability is not None:
            self.language_probability = min(self.language_probability or 1.0, recognition.language_probability)
        self.is_plain |= recognition.is_plain and bool(segments)
        for segment in segments:
            moved = shifted(segment, window.start_s)
            self.segments.append(moved.model_copy(update={"speaker": window.speaker}) if window.speaker else moved)
        self.done_s += window.progress_s
        self.processing_s += processing_s


def assemble(state: SliceState, end: SliceEnd, engine: str) -> Part:
    """Return the part of a slice whose windows are all recognized."""
    spoken = state.languages if state.segments else {}
    language = max(spoken, key=lambda language: spoken[language], default=None)
    in_order = sorted(state.segments, key=lambda segment: segment.start_s)
    segments = tuple(continued(in_order, state.written_in or language, is_plain=state.is_plain))
    found = flags(segments, languages=state.languages, language_probability=state.language_probability)
    return Part(
        segments=tuple(_with_doubt_only(segment) for segment in segments),
        engine=engine,
        language=language,
        language_prior=state.language_prior if language else None,
        container_s=end.container_s,
        decoded_s=end.decoded_s,
        processing_s=round(state.processing_s, 3),
        flags=(
            *found,
            *([Flag.GAP] if state.has_gap else []),
            *([Flag.CHANNELS_CANCEL] if end.channels_cancel else []),
            *([Flag.TRUNCATED] if end.is_truncated else []),
            *([Flag.OTHER_TRACKS] if end.leaves_tracks_out else []),
        ),
        tracks=end.tracks,
        plain=state.is_plain,
    )


def flags(
    segments: Sequence[Segment], *, languages: Mapping[str, float], language_probability: float | None
) -> tuple[Flag, ...]:
    """Return the flags that a person may want to check.

    `languages`: seconds spoken in each. `language_probability`: None if the language was given.
    """
    found = []
    if not segments:
        found.append(Flag.NO_SPEECH)
    if any((segment.compression_ratio or 0.0) > MAX_COMPRESSION_RATIO for segment in segments) or _babbles(segments):
        found.append(Flag.REPETITION)
    spoken_s = _seconds(segments)
    doubtful_s = _seconds(segment for segment in segments if _is_doubtful(segment))
    if spoken_s and doubtful_s > DOUBTFUL_SHARE * spoken_s:
        found.append(Flag.LOW_CONFIDENCE)
    if segments and language_probability is not None and language_probability < SURE_LANGUAGE:
        found.append(Flag.LANGUAGE_UNSURE)
    if segments and len(languages) > 1:
        found.append(Flag.LANGUAGE_CHANGES)
    return tuple(found)


def _is_doubtful(segment: Segment) -> bool:
    return segment.confidence is not None and segment.confidence < model().doubtful_below


def _with_doubt_only(segment: Segment) -> Segment:
    """Return the segment without its confidence where there is no doubt, because the first release cannot read it."""
    return segment if _is_doubtful(segment) else segment.model_copy(update={"confidence": None})


def _babbles(segments: Sequence[Segment]) -> bool:
    """Return whether the unsure model repeated a phrase, too few times to show in the compression ratio."""
    unsure = [segment for segment in segments if (segment.average_log_probability or 0.0) < BABBLE_LOG_PROBABILITY]
    whole = " ".join(segment.text for segment in unsure) if len(unsure) == len(segments) else ""
    return any(is_babble(text) for text in (whole, *(segment.text for segment in unsure)))


def _seconds(segments: Iterable[Segment]) -> float:
    return sum(segment.end_s - segment.start_s for segment in segments)


def shifted(segment: Segment, by_s: float) -> Segment:
    """Return a segment and its words shifted by `by_s` seconds."""
    return segment.model_copy(
        update={
            "start_s": round(segment.start_s + by_s, 3),
            "end_s": round(segment.end_s + by_s, 3),
            "words": tuple(
                w._replace(start_s=round(w.start_s + by_s, 3), end_s=round(w.end_s + by_s, 3)) for w in segment.words
            ),
        }
    )
