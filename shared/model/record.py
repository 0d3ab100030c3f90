"""Common ground of everything that is stored or queued: what other releases wrote is kept, and versions are lowest."""

from collections.abc import Mapping
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class Frozen(BaseModel):
    """A value that cannot be changed. A field it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Stored(Frozen, extra="allow"):
    """A value that another release may have written. A field it does not know is kept and written again."""


class Versioned(Stored):
    """A record that states its version.

    The version is a function of the content: the lowest one that has a place for all of it. So a record that uses
    nothing new can be read by every earlier release (docs/architecture.md, "Records"). Fields that came with a later
    version are left out where they say nothing.
    """

    version: int

    @classmethod
    def newest_version(cls) -> int:
        """Return the newest version that this release can read."""
        newest: int = max(get_args(cls.model_fields["version"].annotation))
        return newest

    def lowest_version(self) -> int:
        """Return the lowest version that has a place for everything in this record."""
        return 1

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed, and the version that it then needs."""
        copy = super().model_copy(update=update, deep=deep)
        _state_version(copy)
        return copy

    @model_validator(mode="after")
    def _validate_version(self) -> Self:
        _state_version(self)
        return self


def _state_version(record: Versioned) -> None:
    object.__setattr__(record, "version", record.lowest_version())  # the record is frozen for everybody else


class _AnyVersion(BaseModel):
    """As much of a record as every version has."""

    version: int


def stated_version(content: bytes | str) -> int | None:
    """Return the version that a record states, or None if it is too damaged for that."""
    try:
        return _AnyVersion.model_validate_json(content).version
    except ValidationError:
        return None


def has_unknown_fields(*values: Stored) -> bool:
    """Return whether another release wrote fields into one of these values that this release does not know."""
    return any(value.model_extra for value in values)


def is_none(value: object) -> bool:
    """Return whether a field says nothing, so that it can be left out."""
    return value is None


def is_empty(value: tuple[object, ...]) -> bool:
    """Return whether a list says nothing, so that it can be left out."""
    return not value
