"""A voice that a person has named or set apart, by which its owner is recognized in other recordings."""

from typing import Literal

from pydantic import AwareDatetime, Field

from nightscribe.shared.model.versioned import Versioned, is_none

MOST_VOICEPRINTS = 8


class Voice(Versioned):
    """A voice. Every recording in which it speaks names its id."""

    version: Literal[1] = 1
    id: str = Field(pattern=r"^v[0-9a-f]{6,32}$")
    name: str | None = Field(default=None, description="Name of the person, where it is known.", exclude_if=is_none)
    voiceprints: tuple[str, ...] = Field(
        default=(), description="Embeddings, each as base64 of float16 numbers, of this voice on different occasions."
    )
    changed_at: AwareDatetime
