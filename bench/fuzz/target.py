"""Define what a fuzzer needs to know of a target."""

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st


@dataclass(frozen=True)
class Target:
    """A part of nightscribe that reads bytes which others wrote."""

    name: str
    inputs: st.SearchStrategy[bytes]
    check: Callable[[bytes], None]
    """Raises for a finding: any exception that is not documented, or `AssertionError`."""
