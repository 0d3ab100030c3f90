"""The hash of a recording's whole content, which proves that a transcript belongs to it."""

from typing import Literal

from pydantic import AwareDatetime, Field

from nightscribe.shared.model.versioned import Versioned


class ContentHash(Versioned):
    """The content that was transcribed. It is kept beside the transcript, where releases that do not know it ignore it.

    It counts only for the transcript that it names by `fingerprint` and `finished_at`: another release may have
    replaced that one since.
    """

    version: Literal[1] = 1
    recording: str = Field(description="Path below the source.")
    fingerprint: str = Field(description="That of the transcript.")
    finished_at: AwareDatetime = Field(description="That of the transcript.")
    mtime_ns: int | None = Field(description="When the file was last changed that was last found to have this content.")
    sha256: str = Field(description="SHA-256 of the whole file, in hexadecimal digits.")
