"""What one message on the queue holds. Nothing here is known to one machine only."""

import hashlib
import json
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from nightscribe.shared.errors import JobError
from nightscribe.shared.model.languages import language_code

MAX_MESSAGE_BYTES = 200 * 1024  # older queues stop at 256 KiB
RECORDS_FOLDER = ".nightscribe"  # in the destination


def _inside(path: str) -> str:
    """A path below the source or the destination, and not among our own records."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or parts[0].casefold() == RECORDS_FOLDER:
        raise ValueError(f"{path!r} is not a path below the source")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]


def _ascending(cuts: tuple[float, ...]) -> tuple[float, ...]:
    if any(b <= a for a, b in pairwise((0.0, *cuts))):
        raise ValueError("they do not follow each other")
    return cuts


Cuts = Annotated[tuple[float, ...], AfterValidator(_ascending)]


# Any name: which formats there are is a matter of what is installed, and may differ between machines.
FormatName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class Frozen(BaseModel):
    """A value: cannot be changed, and unknown fields are a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Options(Frozen):
    """Everything that changes the words of a transcript."""

    engine: str
    model: str
    task: Literal["transcribe", "translate"] = "transcribe"
    language: Annotated[str, AfterValidator(language_code)] = "auto"
    language_per_window: bool = Field(
        default=False, description="Detect the language anew every quarter of a minute, for recordings that change it."
    )


class Layout(Frozen):
    """How words become text files; changes nothing about the words."""

    line_chars: int = Field(default=42, ge=10, description="Longest line of a cue; wide characters count as two.")
    lines: int = Field(default=2, ge=1, description="Most lines of a cue.")
    words: bool = Field(default=False, description="Whether the json format has the time of every word.")


class Slice(Frozen):
    """The `index`-th of the stretches into which `cuts` divide one recording; without cuts it is the whole."""

    recording: RelativePath
    fingerprint: str
    size: int = Field(ge=0)
    stem: RelativePath = Field(description="Where its text files go: path in the destination, without extension.")
    cuts: Cuts = Field(default=(), description="Seconds at which the recording is cut, the same in every slice of it.")
    index: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _is_a_stretch(self) -> Self:
        if self.index >= self.count:
            raise ValueError("it is no stretch of a recording")
        return self

    @property
    def count(self) -> int:
        """Into how many slices the recording is cut."""
        return len(self.cuts) + 1

    @property
    def start_s(self) -> float:
        """Where it begins, from the beginning of the recording."""
        return self.cuts[self.index - 1] if self.index else 0.0

    @property
    def end_s(self) -> float | None:
        """Where it ends; None: where the recording ends."""
        return self.cuts[self.index] if self.index < len(self.cuts) else None


class Job(Frozen):
    """One or more slices and how to transcribe them."""

    version: Literal[1] = 1
    slices: tuple[Slice, ...] = Field(min_length=1)
    options: Options
    formats: tuple[FormatName, ...]
    layout: Layout = Layout()
    redo: str | None = Field(
        default=None, description="Run that asked for finished recordings to be done again; None does what is missing."
    )

    @property
    def id(self) -> str:
        """Identity: the same slices with the same options are the same job, whoever queues it. 32 hex digits."""
        return _digest(
            {"slices": [s.model_dump() for s in self.slices], "options": self.options.model_dump(), "redo": self.redo}
        )

    def part_id(self, part: Slice) -> str:
        """Identity of the recording's set of parts: results for other sound or other options never mix."""
        return _digest(
            {
                "recording": part.recording,
                "fingerprint": part.fingerprint,
                "cuts": part.cuts,
                "options": self.options.model_dump(),
                "redo": self.redo,
            }
        )

    def deduplication_id(self, run: str) -> str:
        """The same within one `run` of a director, so that a deliberate redo is never swallowed."""
        return _digest({"job": self.id, "run": run})

    def to_message(self) -> str:
        """ASCII JSON. Raises: JobError: if it is too large for every queue."""
        body = json.dumps(self.model_dump(mode="json"), ensure_ascii=True, separators=(",", ":"))
        if len(body) > MAX_MESSAGE_BYTES:
            raise JobError(f"The job of {self.slices[0].recording!r} is too large for a message ({len(body)} bytes).")
        return body

    @classmethod
    def from_message(cls, body: str) -> Self:
        """Raises: JobError: if the message is not a job of a version this program understands."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(step) for step in first["loc"]) or "message"
            raise JobError(
                f"The message is not a job of this version of nightscribe ({where}: {first['msg']})."
            ) from None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:32]
