"""The record of a failure: why a recording has no transcript."""

from typing import Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from nightscribe.shared.errors import UNKNOWN
from nightscribe.shared.model.failure_codes import code_of_first_release
from nightscribe.shared.model.versioned import Versioned, has_unknown_fields


class Failure(Versioned):
    """The reason why a recording has no transcript."""

    version: Literal[1, 2] = 1
    recording: str
    fingerprint: str
    size: int
    mtime_ns: int | None
    code: str = Field(
        default=UNKNOWN,
        description="Kind of failure, for programs (docs/failure-codes.md).",
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
