"""What each worker did when; the clock is a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import WHEN, activity

from nightscribe.report.timeline import MAX_BINS, UNSEEN_S, Sightings, TimeLine

DAY_S = 86_400


def at_work(worker: str, recording: str = "talk.mp3") -> object:
    return activity(recording, worker=worker)


def widths_s(line: TimeLine) -> list[float]:
    return [(line.at(n + 1) - line.at(n)).total_seconds() for n in range(len(line.speed))]


def busy_s(line: TimeLine, lane: int = 0) -> float:
    return sum(share * width for share, width in zip(line.lanes[lane].busy, widths_s(line), strict=True))


def heard_s(line: TimeLine) -> float:
    return sum(speed * width for speed, width in zip(line.speed, widths_s(line), strict=True))


def test_a_run_of_which_nothing_was_seen_is_empty() -> None:
    line = Sightings(100.0).drawn(WHEN, 100.0)
    assert (line.began_at, line.ended_at, line.speed, line.lanes) == (WHEN, WHEN, (0.0,), ())


def test_a_worker_is_busy_for_as_long_as_it_is_seen_to_hold_a_job() -> None:
    seen = Sightings(100.0)
    seen.observe(102.0, ["a-1", "a-2"], [], 0)
    seen.observe(104.0, ["a-1", "a-2"], [at_work("a-2")], 0)
    seen.observe(104.5, ["a-1", "a-2"], [at_work("a-1", "other.mp3")], 0)
    first, second = seen.drawn(WHEN, 105.0).lanes
    assert first.busy == (0.0, 0.0, 0.0, 0.0, 0.5, 0.0)
    assert second.busy == (0.0, 0.0, 1.0, 1.0, 0.0, 0.0)
    assert first.recordings == (None, None, None, None, "other.mp3", None)
    assert second.recordings == (None, None, None, "talk.mp3", "talk.mp3", None)


def test_what_a_worker_left_behind_that_is_dead_is_nobodys_work() -> None:
    seen = Sightings(0.0)
    seen.observe(10.0, ["a-2"], [at_work("a-1")], 0)
    assert busy_s(seen.drawn(WHEN, 10.0)) == 0


def test_another_name_in_the_place_of_a_worker_is_a_death_in_the_same_lane() -> None:
    seen = Sightings(0.0)
    for now_s, names in [(1.0, ["a-1", "a-2"]), (2.0, ["a-1", "a-7"]), (5.0, ["a-1", "a-8"]), (6.0, ["a-1", "a-8"])]:
        seen.observe(now_s, names, [], 0)
    line = seen.drawn(WHEN, 6.5)
    assert [lane.deaths for lane in line.lanes] == [(0, 0, 0, 0, 0, 0, 0), (0, 0, 1, 0, 0, 1, 0)]
    assert line.lanes[1].n_deaths == 2


def test_speed_is_sound_per_second_in_the_stretch_in_which_it_was_heard() -> None:
    seen = Sightings(0.0)
    seen.observe(2.0, ["a-1"], [], 0)
    seen.observe(4.0, ["a-1"], [], 30)
    assert seen.drawn(WHEN, 4.5).speed == (0.0, 0.0, 15.0, 15.0, 0.0)


def test_sound_that_has_to_be_heard_again_is_counted_once() -> None:
    """When a worker dies, what was done of its slice is lost."""
    seen = Sightings(0.0)
    for now_s, heard in [(1.0, 50.0), (2.0, 20.0), (3.0, 40.0), (4.0, 60.0)]:
        seen.observe(now_s, ["a-1"], [], heard)
    line = seen.drawn(WHEN, 4.0)
    assert min(line.speed) == 0
    assert heard_s(line) == pytest.approx(60)


def test_a_machine_that_slept_did_nothing_meanwhile() -> None:
    seen = Sightings(0.0)
    for now_s in (60.0, 60.0 + 3 * 3600, 120.0 + 3 * 3600):
        seen.observe(now_s, ["a-1"], [at_work("a-1")], 0)
    line = seen.drawn(WHEN, 120.0 + 3 * 3600)
    assert busy_s(line) == pytest.approx(60 + UNSEEN_S + 60, rel=0.02)
    assert line.lanes[0].busy[len(line.speed) // 2] == 0


def test_three_days_of_many_recordings_are_a_few_hundred_bins() -> None:
    seen = Sightings(0.0)
    for number in range(1, 3 * DAY_S // 20 + 1):
        seen.observe(
            number * 20.0, ["a-1", f"a-{2 + number // 6480}"], [at_work("a-1", f"{number}.mp3")], number * 100.0
        )
    line = seen.drawn(WHEN, 3.0 * DAY_S)
    assert MAX_BINS / 2 <= len(line.speed) <= MAX_BINS
    assert busy_s(line) == pytest.approx(3 * DAY_S, rel=0.01)
    assert heard_s(line) == pytest.approx(3 * DAY_S * 5, rel=0.01)
    assert (line.lanes[0].n_deaths, line.lanes[1].n_deaths) == (0, 2)
    assert None not in line.lanes[0].recordings
    assert len(line.model_dump_json()) < 50_000


@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(-100, 1000), st.booleans()), min_size=1, max_size=60))
def test_nothing_is_lost_or_made_up_however_it_was_seen(looks: list[tuple[float, float, bool]]) -> None:
    seen, now_s, heard, most, busy = Sightings(7.0), 7.0, 0.0, 0.0, 0.0
    for pause_s, gain, works in looks:
        now_s, heard = now_s + pause_s, heard + gain
        most = max(most, heard)
        busy += min(pause_s, UNSEEN_S) * works
        seen.observe(now_s, ["a-1"], [at_work("a-1")] if works else [], heard)
    line = seen.drawn(WHEN, now_s + 1)
    assert len(line.speed) == len(line.lanes[0].busy) == len(line.lanes[0].recordings) <= MAX_BINS
    rounding_s = 0.005 * (now_s + 1)
    assert abs(heard_s(line) - most) <= rounding_s + 1e-3
    assert abs(busy_s(line) - busy) <= rounding_s + 1e-3
    assert all(0 <= share <= 1 for share in line.lanes[0].busy)
