"""Who speaks when: what a worker hears in its slice, and what is known once the whole recording is put together.

Times are seconds from the beginning of the recording. An embedding is a unit vector; two of the same voice have a high
cosine similarity. Stored, it is the base64 of its float16 numbers: 512 characters for 192 numbers.
"""

import base64
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nightscribe.shared.model.versioned import Frozen, Stored, is_none

Embedding = NDArray[np.float32]
"""A unit vector, shape (n_dimensions,)."""

_STORED = np.dtype("<f2")


def encode_embedding(embedding: NDArray[np.floating]) -> str:
    """Return the base64 of a vector of any length, scaled to a unit vector of float16 numbers."""
    vector = np.asarray(embedding, dtype=np.float32)
    norm = float(np.linalg.norm(vector))
    return base64.b64encode((vector / norm if norm > 0 else vector).astype(_STORED).tobytes()).decode("ascii")


def decode_embedding(encoded: str) -> Embedding:
    """Return the unit vector of a stored embedding.

    Raises: ValueError: if the string holds no vector of finite numbers.
    """
    try:
        vector = np.frombuffer(base64.b64decode(encoded, validate=True), dtype=_STORED).astype(np.float32)
    except ValueError as error:
        raise ValueError("An embedding must be base64 of float16 numbers.") from error
    norm = float(np.linalg.norm(vector))
    if not (0 < norm < np.inf):
        raise ValueError("An embedding must hold finite numbers that are not all zero.")
    return vector / np.float32(norm)


class SpeakerCount(Frozen):
    """What the user knows about the number of speakers. Each is None if it is not known."""

    exact: int | None = Field(default=None, ge=1)
    minimum: int | None = Field(default=None, ge=1)
    maximum: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _validate_order(self) -> Self:
        if self.exact is not None and (self.minimum is not None or self.maximum is not None):
            raise ValueError("Give either the exact number of speakers or a range.")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("The smallest number of speakers is larger than the largest.")
        return self

    @property
    def at_least(self) -> int:
        """Return the smallest number of speakers."""
        return self.exact or self.minimum or 1

    @property
    def at_most(self) -> int | None:
        """Return the largest number of speakers, or None if any number is possible."""
        return self.exact or self.maximum


class LocalVoice(Stored):
    """One voice in one window of a few seconds. The same person is another local voice in the next window."""

    window: int = Field(ge=0, description="Position of the window in the recording, counted from 0.")
    embedding: str | None = Field(
        default=None,
        description="Base64 of float16 numbers. None if the voice is never alone for long enough.",
        exclude_if=is_none,
    )
    clean_s: float = Field(ge=0, description="Seconds in which only this voice speaks.")


class LocalTurn(Stored):
    """A stretch in which a local voice speaks. Turns of two voices that speak at the same time overlap."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    voice: int = Field(ge=0, description="Position in the list of local voices.")


class LocalSpeakers(Stored):
    """What a worker hears in one slice of a recording."""

    voices: tuple[LocalVoice, ...] = ()
    turns: tuple[LocalTurn, ...] = ()


class SpeakerTurn(Stored):
    """A stretch in which a speaker of the recording speaks. Turns of two who speak at the same time overlap."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    speaker: str = Field(description="Label of the speaker, such as `Speaker 1`.")
    confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How much closer the voice is to this speaker than to any other. None if there is no other.",
        exclude_if=is_none,
    )


class Speaker(Stored):
    """A speaker of a recording. They are numbered in the order in which they first speak."""

    label: str
    embedding: str | None = Field(
        default=None, description="Base64 of float16 numbers. None if it is not known or not kept.", exclude_if=is_none
    )
    clean_s: float = Field(ge=0, description="Seconds in which only this speaker speaks.")
    voice: str | None = Field(
        default=None, description="Id of the voice that a person has named or set apart.", exclude_if=is_none
    )
    name: str | None = Field(default=None, description="Name of that voice.", exclude_if=is_none)
    name_confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How sure it is that this is that voice. None if a person said so.",
        exclude_if=is_none,
    )


class Speakers(Stored):
    """Who speaks when in a whole recording."""

    speakers: tuple[Speaker, ...] = ()
    turns: tuple[SpeakerTurn, ...] = Field(default=(), description="In the order of their beginnings.")
