"""How far a run is, told from events alone; the clock is a number."""

import pytest
from making import activity, failure, recording, transcript

from director.director import Settled
from director.estimate import LengthEstimate
from director.scan import Missing, Scan
from nightscribe.tally import Tally
from shared.transcript import Flag


def tally_of(**sizes: int) -> Tally:
    """A run that is to do recordings of these sizes, `a` standing for `a.mp3`."""
    missing = [Missing(recording(f"{name}.mp3", size), "f", name) for name, size in sizes.items()]
    return Tally(Scan(missing=missing), LengthEstimate())


def done(tally: Tally, name: str, decoded_s: float, **changes: object) -> None:
    [missing] = [m for m in tally.scan.missing if m.stem == name]
    tally.settle(Settled(missing, transcript(recording=f"{name}.mp3", decoded_s=decoded_s, **changes)))


def failed(tally: Tally, name: str) -> None:
    [missing] = [m for m in tally.scan.missing if m.stem == name]
    tally.settle(Settled(missing, failure(f"{name}.mp3")))


def test_at_the_beginning_nothing_is_known() -> None:
    tally = tally_of(a=100, b=100)
    assert (tally.n_total, tally.n_settled, tally.heard_s) == (2, 0, 0)
    assert (tally.total_s, tally.speed(now=5), tally.left_s(now=5), tally.length_s("a.mp3")) == (None, None, None, None)


def test_a_run_with_nothing_to_do_has_nothing_left() -> None:
    tally = tally_of()
    assert (tally.n_total, tally.total_s, tally.left_s(now=5)) == (0, 0, None)


def test_done_and_failed_are_counted_apart_and_settled_together() -> None:
    tally = tally_of(a=100, b=100, c=100)
    done(tally, "a", 60)
    failed(tally, "b")
    assert (tally.done, tally.n_settled, tally.n_total, tally.done_audio_s) == (1, 2, 3, 60)
    assert [f.recording for f in tally.failed] == ["b.mp3"]


def test_what_is_left_is_judged_by_what_is_done() -> None:
    tally = tally_of(a=100, b=200)
    done(tally, "a", 60)
    assert tally.total_s == 180
    assert tally.length_s("b.mp3") == 120


def test_a_failed_recording_is_no_longer_part_of_the_sound_to_come() -> None:
    tally = tally_of(a=100, b=200)
    done(tally, "a", 60)
    failed(tally, "b")
    assert tally.total_s == 60


def test_speed_counts_from_the_first_sign_of_work() -> None:
    """Loading models is not slowness."""
    tally = tally_of(a=100, b=100)
    tally.observe([], now=0)
    tally.observe([activity("a.mp3", 0)], now=100)
    tally.observe([activity("a.mp3", 40)], now=110)
    assert tally.heard_s == 40
    assert tally.speed(now=110) == 4.0


def test_unfinished_recordings_count_by_what_is_done_of_them() -> None:
    tally = tally_of(a=100, b=100, c=100)
    tally.observe([], now=0)
    done(tally, "a", 60)
    tally.observe([activity("b.mp3", 30), activity("c.mp3", 10)], now=10)
    assert tally.heard_s == 100
    assert tally.total_s == 180
    assert tally.speed(now=20) == 10.0
    assert tally.left_s(now=20) == 8.0


def test_time_left_is_what_is_left_at_the_speed_so_far() -> None:
    tally = tally_of(a=100, b=300)
    tally.observe([activity("a.mp3", 0)], now=1000)
    done(tally, "a", 50)
    tally.observe([], now=1010)
    assert tally.left_s(now=1010) == 30.0


def test_a_recording_just_settled_is_not_counted_twice() -> None:
    """Its worker may still say that it is at work on it."""
    tally = tally_of(a=100)
    done(tally, "a", 60)
    tally.observe([activity("a.mp3", 59)], now=10)
    assert tally.heard_s == 60
    assert tally.activities == []


def test_workers_of_another_run_are_not_counted() -> None:
    tally = tally_of(a=100)
    tally.observe([activity("stranger.mp3", 59)], now=10)
    assert (tally.heard_s, tally.activities, tally.working_since) == (0, [], None)


def test_a_recording_longer_than_foretold_does_not_bring_time_to_less_than_nothing() -> None:
    tally = tally_of(a=100, b=100)
    tally.observe([activity("b.mp3", 0)], now=0)
    done(tally, "a", 10)
    tally.observe([activity("b.mp3", 500)], now=10)
    assert tally.total_s == 510
    assert tally.left_s(now=10) == 0


def test_a_length_looked_up_beside_the_work_is_exact() -> None:
    tally = tally_of(a=100, b=100)
    tally.foresee(recording("a.mp3", 100), 77)
    assert tally.length_s("a.mp3") == 77
    assert tally.total_s == 154
    done(tally, "a", 77)
    assert tally.total_s == 154


def test_a_length_that_comes_too_late_changes_nothing() -> None:
    tally = tally_of(a=100, b=100)
    done(tally, "a", 60)
    tally.foresee(recording("a.mp3", 100), 77)
    assert tally.total_s == 120


@pytest.mark.parametrize("order", ["abc", "cab"])
def test_when_all_is_settled_the_total_is_what_was_heard(order: str) -> None:
    tally = tally_of(a=1, b=20, c=300)
    for name in order:
        done(tally, name, 7.5)
    tally.observe([], now=1)
    assert tally.total_s == tally.heard_s == 22.5
    assert tally.left_s(now=2) == 0


def test_flagged_transcripts_are_remembered() -> None:
    tally = tally_of(a=1, b=1)
    done(tally, "a", 1, flags=(Flag.TRUNCATED,))
    done(tally, "b", 1)
    assert tally.flagged == [("a.mp3", (Flag.TRUNCATED,))]
