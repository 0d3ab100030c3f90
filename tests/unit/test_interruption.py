"""Somebody who ends a command is always heard."""

import os
import signal
import sys

import pytest

from nightscribe.interruption import interruptible


class Inconvenient:
    """Is told to end while it is cleared away."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_at_a_moment_when_python_lets_no_exception_out_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look at it raises what could not be raised."""
    swallowed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda each: swallowed.append(each.exc_type))
    with pytest.raises(KeyboardInterrupt), interruptible() as interruption:
        interruption.check()
        made = Inconvenient()
        del made
        assert swallowed == [KeyboardInterrupt]
        interruption.check()
    assert interruption.number == signal.SIGTERM
