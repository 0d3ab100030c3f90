"""The canonical transcript, the stored result of a slice, and the reason why a recording has no transcript.

Times are seconds from the beginning of the recording. Version 2 added speakers, scores that may be missing, the hash
of the whole content, reviews and corrections, and the code of a failure; `Versioned` says when it is written.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AwareDatetime, Field, field_serializer, model_validator

from nightscribe.shared.errors import UNKNOWN
from nightscribe.shared.model.failure_codes import code_of_first_release
from nightscribe.shared.model.jobs import FORMATS_OF_VERSION_1, FormatName, Job, Layout, Options, RelativePath, Slice
from nightscribe.shared.model.record import Stored, Versioned, has_unknown_fields, is_empty, is_none


class Flag(StrEnum):
    """Something in a transcript that a person may want to look at."""

    TRUNCATED = "truncated"  # less sound could be decoded than the file states
    NO_SPEECH = "no speech"  # nobody speaks: the transcript is empty on purpose
    REPETITION = "repetition"  # the same words over and over
    LOW_CONFIDENCE = "low confidence"  # the model was not sure of what it heard
    LANGUAGE_UNSURE = "language unsure"  # the detected language may be wrong
    LANGUAGE_CHANGES = "language changes"  # more than one language is spoken
    CHANNELS_CANCEL = "channels cancel"  # one channel is the other inverted; only one of them was listened to


class Word(NamedTuple):
    """A word with the spaces and marks that belong to it. In JSON a list of three, or of four with a speaker."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None


Speaker = Annotated[
    str | None, Field(description="Who speaks, as far as that was asked for and found out.", exclude_if=is_none)
]


class Segment(Stored):
    """A sentence or so of speech, with the scores that the model gave it."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    text: str
    speaker: Speaker = None
    average_log_probability: float | None = Field(default=None, description="None where the engine gives no scores.")
    no_speech_probability: float | None = None
    compression_ratio: float | None = None
    words: tuple[Word, ...] = Field(
        default=(), description="Joined, they are the text. Empty where no words were timed."
    )

    def lowest_version(self) -> int:
        """Return the lowest version of a record that can hold this segment."""
        scores = (self.average_log_probability, self.no_speech_probability, self.compression_ratio)
        is_new = self.speaker is not None or None in scores or any(word.speaker is not None for word in self.words)
        return 2 if is_new or self.model_extra else 1

    @field_serializer("words", when_used="json")
    def _without_empty_speakers(self, words: tuple[Word, ...]) -> list[tuple[Any, ...]]:
        return [word[:3] if word.speaker is None else tuple(word) for word in words]


def _lowest_version(segments: tuple[Segment, ...]) -> int:
    return max((segment.lowest_version() for segment in segments), default=1)


class Part(Versioned):
    """The stored result of one slice."""

    version: Literal[1, 2] = 1
    segments: tuple[Segment, ...]
    engine: str = Field(description="Name and version of the engine that did it.")
    language: str | None = Field(description="Code of the language spoken; None where nobody speaks.")
    container_s: float | None = Field(description="Length of the whole recording as its container states it.")
    decoded_s: float = Field(description="Sound of this slice that could be decoded.")
    processing_s: float
    flags: tuple[Flag, ...] = ()

    def lowest_version(self) -> int:
        """Return 2 if a segment needs it or another release added fields, else 1."""
        return 2 if has_unknown_fields(self) else _lowest_version(self.segments)


class Review(Stored):
    """A person has read the transcript and stands by it."""

    by: str = Field(description="Name of the person.")
    at: AwareDatetime


class Correction(Stored):
    """A change that a person made to the text of a stretch."""

    by: str = Field(description="Name of the person.")
    at: AwareDatetime
    start_s: float = Field(ge=0, description="Where the stretch begins.")
    end_s: float = Field(ge=0, description="Where the stretch ends.")
    before: str = Field(description="Its text before the correction.")
    after: str = Field(description="Its text since.")


class Provenance(Versioned):
    """Which recording a transcript belongs to, and how it was made."""

    version: Literal[1, 2] = 1
    recording: str = Field(description="Path below the source.")
    fingerprint: str = Field(description="Size and hash of the first and last 64 KiB.")
    content_sha256: str | None = Field(
        default=None, description="SHA-256 of the whole file, where it was computed.", exclude_if=is_none
    )
    size: int = Field(description="Bytes.")
    mtime_ns: int | None = Field(description="When the recording was last changed, where the source knows it.")
    stem: RelativePath = Field(description="Where the text files are: path in the destination, without extension.")
    formats: tuple[FormatName, ...] = Field(description="Text files written when it was finished.")
    layout: Layout = Layout()
    options: Options
    redo: str | None = Field(default=None, description="Run that asked for a finished recording to be done again.")
    engine: str = Field(description="Name and version of the engine that did it.")
    language: str | None = None
    container_s: float | None = None
    decoded_s: float
    processing_s: float
    flags: tuple[Flag, ...] = ()
    reviewed: Review | None = Field(
        default=None, description="Who has read the transcript and stands by it, and since when.", exclude_if=is_none
    )
    finished_at: AwareDatetime

    def lowest_version(self) -> int:
        """Return 2 if a field of version 2 is used or another release added fields, else 1."""
        has_new_formats = not FORMATS_OF_VERSION_1.issuperset(self.formats)
        is_new = self.content_sha256 is not None or self.reviewed is not None or has_new_formats
        return 2 if is_new or has_unknown_fields(self, self.layout, self.options) else 1

    def settles(self, job: Job, slice_: Slice) -> bool:
        """Return whether it is what the job wants of that slice's recording: the same sound, and the same redo."""
        return self.fingerprint == slice_.fingerprint and self.redo == job.redo


class Transcript(Provenance):
    """The canonical record of a finished recording. Every text file is made from it."""

    # Last, since how a transcript was made is read from the first bytes of its file; see `Records`.
    segments: tuple[Segment, ...]
    corrections: tuple[Correction, ...] = Field(
        default=(), description="What people changed in the text, oldest first.", exclude_if=is_empty
    )

    def lowest_version(self) -> int:
        """Return 2 if it, a segment or a correction uses a field of version 2 or an unknown one, else 1."""
        return 2 if self.corrections else max(super().lowest_version(), _lowest_version(self.segments))


class Failure(Versioned):
    """Why a recording has no transcript."""

    version: Literal[1, 2] = 1
    recording: str
    fingerprint: str
    size: int
    mtime_ns: int | None
    code: str = Field(
        default=UNKNOWN,
        description="What kind of failure it is, for programs (docs/failure-codes.md).",
        pattern=r"^[a-z][a-z0-9_]*$",
        exclude_if=lambda code: code == UNKNOWN,
    )
    reason: str = Field(description="One plain sentence.")
    attempts: int
    worker: str
    failed_at: AwareDatetime

    @model_validator(mode="before")
    @classmethod
    def _infer_code(cls, given: Any) -> Any:
        if isinstance(given, dict) and "code" not in given and isinstance(given.get("reason"), str):
            return given | {"code": code_of_first_release(given["reason"])}
        return given

    def lowest_version(self) -> int:
        """Return 2 if the failure has a code or another release added fields, else 1."""
        return 2 if self.code != UNKNOWN or has_unknown_fields(self) else 1


def utc_now() -> datetime:
    """Return the time that goes into records, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
