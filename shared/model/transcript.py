"""The canonical transcript, the stored result of a slice, and how the one is put together from the others.

Times are seconds from the beginning of the recording.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal, NamedTuple

from pydantic import AwareDatetime, Field

from nightscribe.shared.model.jobs import FormatName, Frozen, Job, Layout, Options, RelativePath, Slice


class Flag(StrEnum):
    """What a person may want to look at."""

    TRUNCATED = "truncated"  # less sound could be decoded than the file says it holds
    NO_SPEECH = "no speech"  # nothing is said in it: the transcript is empty on purpose
    REPETITION = "repetition"  # the same words over and over
    LOW_CONFIDENCE = "low confidence"  # the model was not sure of what it heard
    LANGUAGE_UNSURE = "language unsure"  # the detected language may be wrong
    LANGUAGE_CHANGES = "language changes"  # more than one language is spoken in it
    CHANNELS_CANCEL = "channels cancel"  # one channel is the other inverted; only one of them was listened to


class Word(NamedTuple):
    """A word with the spaces and marks that belong to it; in JSON a list of three."""

    start_s: float
    end_s: float
    text: str


class Segment(Frozen):
    """A sentence or so of speech, with what the model thinks of it."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    text: str
    average_log_probability: float
    no_speech_probability: float
    compression_ratio: float
    words: tuple[Word, ...] = Field(default=(), description="Joined, they are the text; empty where none were timed.")


class Part(Frozen):
    """The stored result of one slice."""

    version: Literal[1] = 1
    segments: tuple[Segment, ...]
    engine: str = Field(description="Name and version of the engine that did it.")
    language: str | None = Field(description="Code of the language spoken; None where nobody speaks.")
    container_s: float | None = Field(description="Length of the whole recording as its container states it.")
    decoded_s: float = Field(description="Sound of this slice that could be decoded.")
    processing_s: float
    flags: tuple[Flag, ...] = ()


class Provenance(Frozen):
    """Which recording a transcript is of, and how it was made."""

    version: Literal[1] = 1
    recording: str = Field(description="Path below the source.")
    fingerprint: str = Field(description="Size and hash of the first and last 64 KiB.")
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
    finished_at: AwareDatetime

    def settles(self, job: Job, slice_: Slice) -> bool:
        """Whether it is what the job wants of that slice's recording: the same sound, and of the same redo if any."""
        return self.fingerprint == slice_.fingerprint and self.redo == job.redo


class Transcript(Provenance):
    """The canonical record of a finished recording; every text file is made from it."""

    segments: tuple[Segment, ...]


class Failure(Frozen):
    """Why a recording has no transcript."""

    version: Literal[1] = 1
    recording: str
    fingerprint: str
    size: int
    mtime_ns: int | None
    reason: str = Field(description="One plain sentence.")
    attempts: int
    worker: str
    failed_at: AwareDatetime


def merge(job: Job, slice_: Slice, parts: Sequence[Part], *, mtime_ns: int | None, finished_at: datetime) -> Transcript:
    """The transcript of a recording from the parts of all its slices, in their order."""
    spoken: Counter[str] = Counter()
    for part in parts:
        if part.language:
            spoken[part.language] += max(1, round(part.decoded_s))
    flags = {flag for part in parts for flag in part.flags}
    if not all(Flag.NO_SPEECH in part.flags for part in parts):
        flags.discard(Flag.NO_SPEECH)
    container_s = max((part.container_s for part in parts if part.container_s is not None), default=None)
    decoded_s = sum(part.decoded_s for part in parts)
    if len(spoken) > 1:
        flags.add(Flag.LANGUAGE_CHANGES)
    if container_s is not None and is_truncated(container_s, decoded_s):
        flags.add(Flag.TRUNCATED)
    return Transcript(
        recording=slice_.recording,
        fingerprint=slice_.fingerprint,
        size=slice_.size,
        mtime_ns=mtime_ns,
        stem=slice_.stem,
        formats=job.formats,
        layout=job.layout,
        options=job.options,
        redo=job.redo,
        engine=", ".join(sorted({part.engine for part in parts})),
        language=spoken.most_common(1)[0][0] if spoken else None,
        container_s=container_s,
        decoded_s=round(decoded_s, 3),
        processing_s=round(sum(part.processing_s for part in parts), 3),
        flags=tuple(sorted(flags)),
        finished_at=finished_at,
        segments=tuple(segment for part in parts for segment in part.segments),
    )


def is_truncated(container_s: float, decoded_s: float) -> bool:
    """Whether a file held less sound than it says, by more than 2 s or 2 %.

    Codecs add a few hundredths of a second, and a film's sound may end half a second before its pictures do:
    neither is damage.
    """
    missing_s = container_s - decoded_s
    return missing_s > 2 or (missing_s > 0.5 and missing_s > 0.02 * container_s)


def utc_now() -> datetime:
    """The time that goes into records, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
