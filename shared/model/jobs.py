"""The job in a message on the queue. It holds nothing that is specific to one machine."""

import hashlib
import json
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from nightscribe.shared.errors import JobError, NewerJob
from nightscribe.shared.model.hotwords import LONGEST_PROMPT, check_hotwords
from nightscribe.shared.model.languages import language_code, language_codes
from nightscribe.shared.model.speaker_options import MOST_SPEAKERS, OFF, check_bounds, speakers_value
from nightscribe.shared.model.versioned import (
    Stored,
    Versioned,
    has_unknown_fields,
    is_default,
    is_empty,
    stated_version,
)

MAX_MESSAGE_BYTES = 200 * 1024  # older queues accept 256 KiB
RECORDS_FOLDER = ".nightscribe"  # in the destination
# Folders of a source, hidden like every folder with such a name, so that no scan finds what is in them.
REQUESTS_FOLDER = ".nightscribe-requests"  # recordings of programs, which are removed once they are transcribed
UPLOADS_FOLDER = ".nightscribe-uploads"  # files that have not arrived completely


def is_inside(path: str) -> bool:
    """Return whether a path stays below its root, and leads to no record of nightscribe."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    is_outside = path.startswith("/") or ".." in parts or "\0" in path
    return bool(parts) and not is_outside and parts[0].casefold() != RECORDS_FOLDER


def _inside(path: str) -> str:
    """Return the path unchanged. Raises: ValueError: if it leads out of its root or into nightscribe's records."""
    if not is_inside(path):
        raise ValueError(f"{path!r} is not a path below the source")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]


def is_below_source(path: str) -> bool:
    """Return whether a path can be that of a recording."""
    try:
        return bool(_inside(path)) and path.isprintable()
    except ValueError:
        return False


def _ascending(cuts: tuple[float, ...]) -> tuple[float, ...]:
    if any(b <= a for a, b in pairwise((0.0, *cuts))):
        raise ValueError("they do not follow each other")
    return cuts


Cuts = Annotated[tuple[float, ...], AfterValidator(_ascending)]


FORMATS_OF_VERSION_1 = frozenset({"txt", "vtt", "srt", "json", "tsv"})

DEFAULT_TRACK, ALL_TRACKS = "default", "all"
ENGLISH = "en"
MOST_BEAMS = 10
LONGEST_SILENCE_S = 5.0

ComputeType = Literal[
    "auto", "int8", "int8_float16", "int8_bfloat16", "int8_float32", "int16", "float16", "bfloat16", "float32"
]
"""Types of numbers with which an engine can compute."""


def _track_choice(choice: str) -> str:
    """Return the choice unchanged. Raises: ValueError: if it is none."""
    if choice not in (DEFAULT_TRACK, ALL_TRACKS) and not (choice.isdecimal() and 0 < int(choice) < 100):
        raise ValueError(f"{choice!r} is neither {DEFAULT_TRACK!r} nor {ALL_TRACKS!r} nor the number of a track")
    return choice


TrackChoice = Annotated[str, AfterValidator(_track_choice)]

SubtitleProfile = Literal["plain", "netflix", "bbc"]
PLAIN: SubtitleProfile = "plain"
NETFLIX: SubtitleProfile = "netflix"
BBC: SubtitleProfile = "bbc"

# Any name is valid: installed formats may differ between machines.
FormatName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


REQUESTS = ("prompt", "hotwords", "beam_size", "compute_type", "condition_on_previous", "initial_silence")
"""Options that only some engines can follow (`EngineSpec.follows`)."""


class Options(Stored):
    """Everything that changes the words of a transcript, or who says them.

    A new option requires a new version of `Job`, so that no release ignores an option that it does not know.
    """

    engine: str
    model: str
    task: Literal["transcribe", "translate"] = "transcribe"
    language: Annotated[str, AfterValidator(language_code)] = "auto"
    language_per_window: bool = Field(
        default=False, description="Detect the language anew every quarter of a minute, for recordings that change it."
    )
    languages: Annotated[tuple[str, ...], AfterValidator(language_codes)] = Field(
        default=(), description="Languages to choose from when detecting; empty for any.", exclude_if=is_empty
    )
    speakers: Annotated[str, AfterValidator(speakers_value)] = Field(
        default=OFF,
        description="Speaker labels: off, auto, channels (each channel is a person), or the number of speakers.",
        exclude_if=is_default(OFF),
    )
    min_speakers: int = Field(
        default=1, ge=1, le=MOST_SPEAKERS, description="Lowest number that auto finds.", exclude_if=is_default(1)
    )
    max_speakers: int = Field(
        default=0,
        ge=0,
        le=MOST_SPEAKERS,
        description="Highest number that auto finds; 0 for no limit.",
        exclude_if=is_default(0),
    )
    voiceprints: bool = Field(
        default=True,
        description="Keep the embeddings of the speakers' voices, which recognize them in other recordings.",
        exclude_if=is_default(True),
    )

    tracks: TrackChoice = Field(
        default=DEFAULT_TRACK,
        description="Audio tracks to transcribe of a recording with several: default, all, or the number of one.",
        exclude_if=is_default(DEFAULT_TRACK),
    )

    translate_to: Annotated[str, AfterValidator(language_code)] = Field(
        default=ENGLISH,
        description="Language into which the task translate translates.",
        exclude_if=is_default(ENGLISH),
    )
    prompt: str = Field(
        default="",
        max_length=LONGEST_PROMPT,
        description="Text that sets the scene and shows the spelling.",
        exclude_if=is_default(""),
    )
    hotwords: Annotated[tuple[str, ...], AfterValidator(check_hotwords)] = Field(
        default=(), description="Words and names to listen for.", exclude_if=is_empty
    )
    beam_size: int = Field(
        default=1,
        ge=1,
        le=MOST_BEAMS,
        description="Number of beams of the first attempt at each window.",
        exclude_if=is_default(1),
    )
    compute_type: ComputeType = Field(
        default="auto", description="Type of numbers that the engine computes with.", exclude_if=is_default("auto")
    )
    condition_on_previous: bool = Field(
        default=False, description="Each window continues the text of the one before.", exclude_if=is_default(False)
    )
    initial_silence: float = Field(
        default=0.0,
        ge=0,
        le=LONGEST_SILENCE_S,
        description="Seconds of silence that the engine hears before a recording begins.",
        exclude_if=is_default(0.0),
    )

    @model_validator(mode="after")
    def _speakers_are_possible(self) -> Self:
        check_bounds(self.speakers, self.min_speakers, self.max_speakers)
        return self

    @property
    def is_of_version_1(self) -> bool:
        """Return whether the first release knows all of these options."""
        is_new = self.speakers != OFF or not self.voiceprints or self.tracks != DEFAULT_TRACK or bool(self.languages)
        return not is_new and not requests_of(self) and self.translate_to == ENGLISH and not self.model_extra


def requests_of(options: object) -> dict[str, object]:
    """Return those of `REQUESTS` that options or settings hold, with their values; some engines cannot follow them."""
    values = {name: getattr(options, name) for name in REQUESTS}
    return {name: value for name, value in values.items() if value != Options.model_fields[name].default}


class Layout(Stored):
    """How words are laid out in text files. It never changes the words."""

    line_chars: int = Field(default=42, ge=10, description="Longest line of a cue; wide characters count as two.")
    lines: int = Field(default=2, ge=1, description="Maximum number of lines of a cue.")
    words: bool = Field(default=False, description="Include the time of every word in the json format.")
    subtitles: SubtitleProfile = Field(
        default=PLAIN,
        description="Guidelines that the cues follow: plain, netflix or bbc.",
        exclude_if=is_default(PLAIN),
    )

    @property
    def is_of_version_1(self) -> bool:
        """Return whether the first release knows this layout."""
        return self.subtitles == PLAIN and not self.model_extra


class Slice(Stored):
    """One of the stretches into which `cuts` divide a recording; without cuts, the whole recording."""

    recording: RelativePath
    fingerprint: str
    size: int = Field(ge=0)
    stem: RelativePath = Field(description="Path of its text files in the destination, without extension.")
    cuts: Cuts = Field(default=(), description="Seconds at which the recording is cut, the same in each of its slices.")
    index: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _is_a_stretch(self) -> Self:
        if self.index >= self.count:
            raise ValueError("it is no stretch of a recording")
        return self

    @property
    def count(self) -> int:
        """Return the number of slices of the recording."""
        return len(self.cuts) + 1

    @property
    def start_s(self) -> float:
        """Return the start of the slice in seconds from the beginning of the recording."""
        return self.cuts[self.index - 1] if self.index else 0.0

    @property
    def end_s(self) -> float | None:
        """Return the end of the slice in seconds; None means the end of the recording."""
        return self.cuts[self.index] if self.index < len(self.cuts) else None


class Job(Versioned):
    """One or more slices and how to transcribe them."""

    version: Literal[1, 2] = 1
    slices: tuple[Slice, ...] = Field(min_length=1)
    options: Options
    formats: tuple[FormatName, ...]
    layout: Layout = Layout()
    redo: str | None = Field(
        default=None, description="Run that requested finished recordings again; None if only missing ones are done."
    )
    only_speakers: bool = Field(
        default=False,
        description="Label the speakers of finished transcripts, and leave their words as they are.",
        exclude_if=is_default(False),
    )

    def lowest_version(self) -> int:
        """Return 2 if the job has formats or options that were added later or fields from another release, else 1."""
        is_new = not FORMATS_OF_VERSION_1.issuperset(self.formats) or not self.options.is_of_version_1
        is_new = is_new or self.only_speakers or not self.layout.is_of_version_1
        return 2 if is_new or has_unknown_fields(self, *self.slices) else 1

    @property
    def id(self) -> str:
        """Return the identity, 32 hex digits: equal slices with equal options are the same job."""
        return _digest({"slices": [s.model_dump() for s in self.slices], **self._how()})

    def part_id(self, part: Slice) -> str:
        """Return an identity for the parts of a recording, so that results for other sound or options never mix."""
        return _digest(
            {
                "recording": part.recording,
                "fingerprint": part.fingerprint,
                "cuts": part.cuts,
                **self._how(),
            }
        )

    def _how(self) -> dict[str, object]:
        """Return what the results depend on besides the sound. Jobs that use nothing new have the ids that they had."""
        only_speakers = {"only_speakers": True} if self.only_speakers else {}
        return {"options": self.options.model_dump(), "redo": self.redo, **only_speakers}

    def deduplication_id(self, run: str) -> str:
        """Return an id that is stable only within one `run` of a director, so that SQS never drops a later redo."""
        return _digest({"job": self.id, "run": run})

    def to_message(self) -> str:
        """Return the job as ASCII JSON. Raises: JobError: if it may be too large for a queue."""
        body = json.dumps(self.model_dump(mode="json"), ensure_ascii=True, separators=(",", ":"))
        if len(body) > MAX_MESSAGE_BYTES:
            raise JobError(
                f"The job of {self.slices[0].recording!r} is too large for a message ({len(body)} bytes).",
                code="job_too_large",
            )
        return body

    @classmethod
    def from_message(cls, body: str) -> Self:
        """Read a message.

        Raises: NewerJob: if only a newer release understands it. JobError: if it is not a job.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            version = stated_version(body)
            if version is not None and version > cls.newest_version():
                raise NewerJob(
                    f"The message is a job of a newer nightscribe (version {version} of its format). "
                    "Update nightscribe."
                ) from None
            where = ".".join(str(step) for step in first["loc"]) or "message"
            raise JobError(
                f"The message is not a job of this version of nightscribe ({where}: {first['msg']})."
            ) from None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:32]
