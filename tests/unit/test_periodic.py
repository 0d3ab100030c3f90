"""A function is called from a thread of its own until somebody stops it."""

import os
import threading
import time

from support.waiting import wait_until

from nightscribe.shared.process.periodic import PeriodicThread


def test_it_is_called_again_and_again_until_it_is_stopped() -> None:
    called: list[str] = []
    thread = PeriodicThread(lambda: called.append(threading.current_thread().name), 0.001, name="often")
    assert not thread.is_alive()
    thread.start()
    wait_until(lambda: len(called) > 3, what="a few calls")
    thread.stop()
    assert not thread.is_alive()
    n_calls = len(called)
    time.sleep(0.02)
    assert (len(called), set(called)) == (n_calls, {"often"})


def test_a_call_can_be_the_last_and_what_comes_at_the_end_comes_from_the_same_thread() -> None:
    seen: list[tuple[str, str]] = []

    def note(what: str) -> None:
        seen.append((what, threading.current_thread().name))

    def do() -> None:
        note("call")
        thread.cancel()

    thread = PeriodicThread(do, 0.001, name="once", at_end=lambda: note("end"))
    thread.start()
    wait_until(lambda: not thread.is_alive(), what="its end")
    assert seen == [("call", "once"), ("end", "once")]


def test_whoever_stops_it_waits_no_longer_than_it_wants_to() -> None:
    busy, free = threading.Event(), threading.Event()

    def hang() -> None:
        busy.set()
        free.wait(60)

    thread = PeriodicThread(hang, 0.0, name="hanging")
    thread.start()
    assert busy.wait(60)
    began = time.monotonic()
    thread.stop(0.05)
    assert thread.is_alive()
    assert time.monotonic() - began < 30
    free.set()
    thread.stop()
    assert not thread.is_alive()


def test_one_that_never_began_is_stopped_at_once_and_does_not_say_its_last_word() -> None:
    thread = PeriodicThread(lambda: None, 60, name="idle", at_end=lambda: (_ for _ in ()).throw(AssertionError))
    thread.cancel()
    thread.stop()
    assert not thread.is_alive()


def test_one_that_was_made_before_a_fork_runs_in_the_child() -> None:
    reading, writing = os.pipe()
    thread = PeriodicThread(lambda: os.write(writing, b"x"), 0.001, name="forked")
    child = os.fork()
    if not child:
        thread.start()
        time.sleep(60)  # the parent kills it as soon as it has heard of it
        os._exit(1)
    try:
        assert os.read(reading, 1) == b"x"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
