"""Wait for what happens in another process or thread, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

INTERVAL_S = 0.02


def wait_until(predicate: Callable[[], T], timeout_s: float = 60.0, what: str = "the condition") -> T:
    """Poll until the predicate is true and return what it returned.

    Raises: AssertionError: naming `what`, if that takes longer than `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        # Read before asking: a predicate that was slow to say no gets no second chance past the deadline,
        # and one that says yes is believed however late.
        last_try = time.monotonic() >= deadline
        if result := predicate():
            return result
        if last_try:
            raise AssertionError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(INTERVAL_S)
