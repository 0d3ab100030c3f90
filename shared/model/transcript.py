"""The canonical transcript, and the stored result of a slice.

Times are seconds from the beginning of the recording. Version 2 added speakers, scores that may be missing, the hash
of the whole content, reviews and corrections, and the code of a failure; `Versioned` says when it is written.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AwareDatetime, Field, field_serializer

from nightscribe.shared.model.jobs import FORMATS_OF_VERSION_1, FormatName, Job, Layout, Options, RelativePath, Slice
from nightscribe.shared.model.speaker_options import same_labels
from nightscribe.shared.model.speakers import LocalSpeakers, Speaker, SpeakerTurn
from nightscribe.shared.model.versioned import Stored, Versioned, has_unknown_fields, is_default, is_empty, is_none


class Flag(StrEnum):
    """A property of a transcript that a person may want to check."""

    TRUNCATED = "truncated"  # the file states more sound than could be decoded
    NO_SPEECH = "no speech"  # nobody speaks, so the transcript is empty
    REPETITION = "repetition"  # the same words occur over and over
    LOW_CONFIDENCE = "low confidence"  # the model was unsure of its words
    LANGUAGE_UNSURE = "language unsure"  # the detected language may be wrong
    LANGUAGE_CHANGES = "language changes"  # more than one language is spoken
    CHANNELS_CANCEL = "channels cancel"  # one channel is the other inverted, so only one of them was used
    GAP = "gap"  # somebody speaks where there is no text
    OTHER_TRACKS = "other tracks"  # audio tracks that are not silent were not transcribed


FLAGS_OF_VERSION_1 = frozenset(Flag) - {Flag.GAP, Flag.OTHER_TRACKS}


class Word(NamedTuple):
    """A word with its spaces and punctuation. In JSON, a list of three values, or of four with a speaker."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None


Label = Annotated[
    str | None, Field(description="Label of who speaks, where that was requested and found.", exclude_if=is_none)
]


class Segment(Stored):
    """A stretch of speech of about one sentence, with the model's scores."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    text: str
    speaker: Label = None
    also_speaking: tuple[str, ...] = Field(
        default=(), description="Labels of those who speak at the same time.", exclude_if=is_empty
    )
    average_log_probability: float | None = Field(default=None, description="None where the engine gives no scores.")
    no_speech_probability: float | None = None
    compression_ratio: float | None = None
    confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Expected share of right words, where the text is in doubt.",
        exclude_if=is_none,
    )
    words: tuple[Word, ...] = Field(
        default=(), description="Joined, they are the text. Empty if the words have no times."
    )

    def lowest_version(self) -> int:
        """Return the lowest version of a record that can hold this segment."""
        scores = (self.average_log_probability, self.no_speech_probability, self.compression_ratio)
        has_speakers = self.speaker is not None or any(word.speaker is not None for word in self.words)
        has_doubt = self.confidence is not None or None in scores
        return 2 if has_speakers or has_doubt or self.also_speaking or self.model_extra else 1

    @field_serializer("words", when_used="json")
    def _without_empty_speakers(self, words: tuple[Word, ...]) -> list[tuple[Any, ...]]:
        return [word[:3] if word.speaker is None else tuple(word) for word in words]


class AudioTrack(Stored):
    """One of several audio tracks of a recording."""

    number: int = Field(ge=1, description="Its place among the audio tracks, from 1 on, as `--tracks` counts.")
    language: str | None = Field(default=None, description="Language that its tag states.", exclude_if=is_none)
    title: str | None = Field(default=None, description="Title that its tag states.", exclude_if=is_none)
    transcribed: bool


Tracks = Annotated[
    tuple[AudioTrack, ...],
    Field(description="All audio tracks of a recording that has several.", exclude_if=is_empty),
]


Plain = Annotated[
    bool,
    Field(
        description="True if the model writes neither capitals nor punctuation, so that these are missing in the text.",
        exclude_if=is_default(False),
    ),
]


def _lowest_version(segments: tuple[Segment, ...]) -> int:
    return max((segment.lowest_version() for segment in segments), default=1)


class LanguagePrior(Stored):
    """How other recordings of the folder helped to detect the language of one that is unclear by itself."""

    alone: str = Field(description="Code of the language that the recording seems to be in by itself.")
    alone_probability: float = Field(ge=0, le=1)
    folder: dict[str, int] = Field(description="Other recordings of the folder that are certainly in each language.")


Prior = Annotated[
    LanguagePrior | None,
    Field(description="Present if other recordings helped to detect the language.", exclude_if=is_none),
]


class Part(Versioned):
    """The stored result of one slice."""

    version: Literal[1, 2] = 1
    segments: tuple[Segment, ...]
    engine: str = Field(description="Name and version of the engine.")
    language: str | None = Field(description="Code of the language spoken; None if nobody speaks.")
    language_prior: Prior = None
    container_s: float | None = Field(description="Length of the whole recording in seconds, as its container states.")
    decoded_s: float = Field(description="Seconds of this slice that could be decoded.")
    processing_s: float
    flags: tuple[Flag, ...] = ()
    tracks: Tracks = ()
    plain: Plain = False
    speakers: LocalSpeakers | None = Field(
        default=None, description="The voices of this slice, where speakers were requested.", exclude_if=is_none
    )

    def lowest_version(self) -> int:
        """Return 2 if a segment, a flag or a new field requires it or another release added fields, else 1."""
        is_new = (
            self.speakers is not None
            or bool(self.tracks)
            or self.plain
            or self.language_prior is not None
            or has_unknown_fields(self)
            or not FLAGS_OF_VERSION_1.issuperset(self.flags)
        )
        return 2 if is_new else _lowest_version(self.segments)


class Review(Stored):
    """A person's approval of a transcript."""

    by: str = Field(description="Name of the person.")
    at: AwareDatetime


class LookedAt(Stored):
    """A person's approval of one passage, whose words were in doubt."""

    by: str = Field(description="Name of the person.")
    at: AwareDatetime
    start_s: float = Field(ge=0, description="Start of the passage.")


class Correction(Stored):
    """A person's change to the text of a stretch."""

    by: str = Field(description="Name of the person.")
    at: AwareDatetime
    start_s: float = Field(ge=0, description="Start of the stretch.")
    end_s: float = Field(ge=0, description="End of the stretch.")
    before: str = Field(description="Text before the correction.")
    after: str = Field(description="Text after the correction.")


class Provenance(Versioned):
    """The origin of a transcript: its recording, and how it was made."""

    version: Literal[1, 2] = 1
    recording: str = Field(description="Path below the source.")
    fingerprint: str = Field(description="Size and hash of the first and last 64 KiB.")
    content_sha256: str | None = Field(
        default=None, description="SHA-256 of the whole file, where it was computed.", exclude_if=is_none
    )
    size: int = Field(description="Bytes.")
    mtime_ns: int | None = Field(description="When the recording was last changed, where the source knows it.")
    stem: RelativePath = Field(description="Path of the text files in the destination, without extension.")
    formats: tuple[FormatName, ...] = Field(description="Text files written when it was finished.")
    layout: Layout = Layout()
    options: Options
    redo: str | None = Field(default=None, description="Run that requested a finished recording again.")
    engine: str = Field(description="Name and version of the engine.")
    language: str | None = None
    language_prior: Prior = None
    container_s: float | None = None
    decoded_s: float
    processing_s: float
    flags: tuple[Flag, ...] = ()
    tracks: Tracks = ()
    plain: Plain = False
    confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Expected share of right words in the segments whose text is in doubt.",
        exclude_if=is_none,
    )
    reviewed: Review | None = Field(
        default=None, description="Who approved the transcript, and when.", exclude_if=is_none
    )
    finished_at: AwareDatetime

    def lowest_version(self) -> int:
        """Return 2 if it uses a field of version 2 or another release added fields, else 1."""
        has_new_values = not (
            FORMATS_OF_VERSION_1.issuperset(self.formats) and FLAGS_OF_VERSION_1.issuperset(self.flags)
        )
        new = (self.content_sha256, self.reviewed, self.confidence, self.language_prior)
        is_new = has_new_values or bool(self.tracks) or self.plain or any(value is not None for value in new)
        is_new = is_new or not (self.options.is_of_version_1 and self.layout.is_of_version_1)
        return 2 if is_new or has_unknown_fields(self) else 1

    def settles(self, job: Job, slice_: Slice) -> bool:
        """Return whether this transcript is what the job requests for the slice's recording: same sound, same redo.

        A job without a redo is for a recording that was missing, so any transcript of the same sound will do. Of a job
        that only labels speakers: same sound, same labels.
        """
        if self.fingerprint != slice_.fingerprint:
            return False
        if job.only_speakers:
            return same_labels(self.options, job.options)
        return job.redo is None or self.redo == job.redo


class Transcript(Provenance):
    """The canonical record of a finished recording, from which every text file is made."""

    # Keep segments last: `Records` reads the other fields from the first bytes of the file.
    segments: tuple[Segment, ...]
    corrections: tuple[Correction, ...] = Field(
        default=(), description="Changes that people made to the text, oldest first.", exclude_if=is_empty
    )
    looked_at: tuple[LookedAt, ...] = Field(
        default=(), description="Passages that people found right, oldest first.", exclude_if=is_empty
    )
    turns: tuple[SpeakerTurn, ...] = Field(
        default=(), description="Who speaks when, in the order of their beginnings.", exclude_if=is_empty
    )
    speakers: tuple[Speaker, ...] = Field(
        default=(), description="The speakers, in the order in which they first speak.", exclude_if=is_empty
    )

    def lowest_version(self) -> int:
        """Return 2 if it or a segment uses a field of version 2 or an unknown one, else 1."""
        is_new = self.corrections or self.looked_at or self.turns or self.speakers
        return 2 if is_new else max(super().lowest_version(), _lowest_version(self.segments))


def utc_now() -> datetime:
    """Return the current time as records state it, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
