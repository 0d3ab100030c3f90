"""Somebody who ends a command is always heard."""

import os
import signal
import sys
import threading
import time

import pytest

from nightscribe.cli.signals import interruptible
from nightscribe.shared import aws
from nightscribe.shared.errors import RetryableError, StorageError
from nightscribe.shared.process.concurrency import map_concurrently


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


def test_a_bucket_that_does_not_answer_keeps_nobody_waiting_who_interrupts() -> None:
    """The threads that ask it are waited for, and each would ask again for a minute."""
    asked: list[int] = []

    def away() -> None:
        raise RetryableError("It does not answer.")

    def ask(number: int) -> None:
        asked.append(number)
        aws.persist(
            away,
            aws.Subject("bucket 'a'", StorageError, "AWS_ENDPOINT_URL_S3"),
            operation="get_object",
            retry_timeout_s=60,
            renew=lambda: None,
        )

    def interrupt() -> None:
        while not asked:
            time.sleep(0.01)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)  # a shell may have the tests ignore SIGINT

    began = time.monotonic()
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), interruptible():
        for _, answer in map_concurrently(ask, range(100), 16):
            answer()
    assert time.monotonic() - began < 20
