"""What is downloaded or built once for all test runs on a machine."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

# Read at import: the tests run with every NIGHTSCRIBE_ variable removed.
CACHE = Path(os.environ.get("NIGHTSCRIBE_TEST_CACHE") or Path.home() / ".cache" / "nightscribe-test")


def unavailable(reason: str) -> NoReturn:
    """Skip what needs a thing this machine cannot have, but fail in CI, where a skip would go unseen."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock of that name, so that two test runs do not make the same thing at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def last_line(output: str) -> str:
    """The last line that says something: where pip and venv put the cause of a failure."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
