"""Base classes of stored and queued values, which keep unknown fields and state the lowest possible version."""

from collections.abc import Callable, Mapping
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class Frozen(BaseModel):
    """A value that cannot be changed. An unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Stored(Frozen, extra="allow"):
    """A value that another release may have written. An unknown field is kept and written again."""


class Versioned(Stored):
    """A record that states its version.

    It is the lowest version that can hold the content, so every earlier release can read a record that uses nothing
    new (docs/architecture.md, "Records"). Empty fields that a later version added are left out.
    """

    version: int

    @classmethod
    def newest_version(cls) -> int:
        """Return the newest version that this release can read."""
        newest: int = max(get_args(cls.model_fields["version"].annotation))
        return newest

    def lowest_version(self) -> int:
        """Return the lowest version that can hold everything in this record."""
        return 1

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed and its version recomputed."""
        copy = super().model_copy(update=update, deep=deep)
        _state_version(copy)
        return copy

    @model_validator(mode="after")
    def _validate_version(self) -> Self:
        _state_version(self)
        return self


def _state_version(record: Versioned) -> None:
    object.__setattr__(record, "version", record.lowest_version())  # the record is frozen for all other code


class _AnyVersion(BaseModel):
    """The field that every version of a record has."""

    version: int


def stated_version(content: bytes | str) -> int | None:
    """Return the version that a record states, or None if the record is too damaged to tell."""
    try:
        return _AnyVersion.model_validate_json(content).version
    except ValidationError:
        return None


def has_unknown_fields(*values: Stored) -> bool:
    """Return whether one of these values has fields that this release does not know."""
    return any(value.model_extra for value in values)


def is_none(value: object) -> bool:
    """Return whether a field is None, so that it can be left out."""
    return value is None


def is_empty(value: tuple[object, ...]) -> bool:
    """Return whether a list is empty, so that it can be left out."""
    return not value


def is_default(default: object) -> Callable[[object], bool]:
    """Return a test of whether a field has its default, so that it can be left out."""
    return lambda value: value == default
