"""In which jobs the missing is queued: equal ones, and the same ones again wherever nothing has changed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import OPTIONS, recording

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.plan.bundles import (
    JOB_S,
    LONGEST,
    MAX_SLICES,
    MIN_JOB_S,
    bundles,
    job_s,
    long_recordings,
    n_jobs,
    nominal_cut_points,
)
from nightscribe.director.plan.estimate import Rates
from nightscribe.director.plan.planner import Planned
from nightscribe.shared.model.jobs import MAX_MESSAGE_BYTES, Job
from nightscribe.shared.model.paths import without_suffix

SECOND = Rates({".mp3": 1.0})  # a byte for a second


def backlog(sizes: dict[str, int]) -> Backlog:
    return Backlog(Missing(recording(path, size), without_suffix(path)) for path, size in sizes.items())


def paths(bundle: list[Missing]) -> tuple[str, ...]:
    return tuple(each.recording.path for each in bundle)


def clips(n: int, seconds: int = 20) -> dict[str, int]:
    return {f"{at // 100:03}/{at:06}.mp3": seconds + at % 7 for at in range(n)}


# Long recordings


@pytest.mark.parametrize(
    ("minutes", "n_slices"), [(0, 1), (10, 1), (15, 1), (15.1, 2), (20, 2), (26, 3), (34, 3), (60, 6), (600, 60)]
)
def test_a_long_recording_is_cut_into_slices_of_about_ten_minutes(minutes: float, n_slices: int) -> None:
    assert len(nominal_cut_points(60 * minutes, JOB_S)) + 1 == n_slices


@given(st.floats(0, 10**6), st.floats(MIN_JOB_S, JOB_S))
def test_slices_are_equal_and_neither_tiny_nor_huge(duration_s: float, slice_s: float) -> None:
    cuts = nominal_cut_points(duration_s, slice_s)
    if not cuts:
        assert duration_s <= LONGEST * slice_s
        return
    lengths = [b - a for a, b in pairwise((0.0, *cuts, duration_s))]
    assert max(lengths) - min(lengths) < 0.05
    assert 0.75 * slice_s - 0.05 < min(lengths)
    assert max(lengths) < 1.25 * slice_s + 0.05


def test_the_longest_recording_goes_first_and_equals_by_name() -> None:
    found = long_recordings(
        backlog({"c.mp3": 1000, "a.mp3": 899, "d.mp3": 2000, "b.mp3": 1000, "e.wav": 99}), SECOND, JOB_S
    )
    assert paths(found) == ("d.mp3", "b.mp3", "c.mp3")


# Short ones


def test_short_recordings_share_jobs_of_about_ten_minutes() -> None:
    found = list(bundles(backlog(clips(5000)), SECOND, JOB_S))
    seconds = [sum(each.recording.size for each in bundle) for bundle in found[:-1]]
    assert min(seconds) >= 0.5 * JOB_S
    assert max(seconds) <= LONGEST * JOB_S
    assert 0.75 * JOB_S < sum(seconds) / len(seconds) < 1.1 * JOB_S


@given(
    st.dictionaries(st.from_regex(r"[a-c]/[a-z]{1,4}\.(mp3|wav)", fullmatch=True), st.integers(0, 2000), max_size=300),
    st.sampled_from([60.0, 600.0]),
)
def test_every_recording_is_in_exactly_one_place(sizes: dict[str, int], job_s: float) -> None:
    missing = backlog(sizes)
    placed = [
        *paths(long_recordings(missing, SECOND, job_s)),
        *(p for b in bundles(missing, SECOND, job_s) for p in paths(b)),
    ]
    assert sorted(placed) == sorted(sizes)
    assert len(placed) == len(sizes)


@pytest.mark.parametrize("seconds", [0, 1, 20, 250])
@pytest.mark.parametrize("at", [0, 17, 2500, 4999])
def test_one_file_more_or_less_changes_only_the_jobs_around_it(at: int, seconds: int) -> None:
    """Clips of no length at all are told apart by their number alone."""
    before = clips(5000, seconds)
    without = {path: size for n, (path, size) in enumerate(before.items()) if n != at}
    jobs_before = {paths(bundle) for bundle in bundles(backlog(before), SECOND, JOB_S)}
    jobs_after = {paths(bundle) for bundle in bundles(backlog(without), SECOND, JOB_S)}
    assert len(jobs_before - jobs_after) <= 8
    assert len(jobs_after - jobs_before) <= 8


def test_a_million_folders_of_one_clip_each_share_jobs_as_well() -> None:
    found = list(bundles(backlog({f"{n}/a.mp3": 30 for n in range(1000)}), SECOND, JOB_S))
    assert 40 < len(found) < 70


def test_what_a_better_estimate_says_of_all_lengths_changes_no_job() -> None:
    missing = backlog(clips(1000))
    assert list(bundles(missing, Rates({".mp3": 1.0}), JOB_S)) == list(bundles(missing, Rates({".mp3": 1.1}), JOB_S))


@pytest.mark.parametrize("name", ["a" * 240, "日" * 80, "🎤" * 60, "\x01" * 200], ids=["ascii", "日", "🎤", "control"])
def test_a_job_of_long_names_fits_into_its_message(name: str) -> None:
    found = list(bundles(backlog({f"{name}/{name}/{n:09}.mp3": 1 for n in range(1000)}), SECOND, JOB_S))
    assert len(found) > 1000 / MAX_SLICES
    for bundle in found:
        assert len(bundle) <= MAX_SLICES
        job = Job(slices=planned(bundle).slices(), options=OPTIONS, formats=("txt", "vtt", "srt", "json", "tsv"))
        assert len(job.to_message()) <= MAX_MESSAGE_BYTES


def planned(bundle: list[Missing]) -> Planned:
    return Planned(tuple(bundle), tuple(f"{2**62}-{'f' * 32}" for _ in bundle))


def test_a_million_jobs_are_not_made_before_the_first_is_wanted() -> None:
    class Endless(Backlog):
        def sized(self):  # type: ignore[no-untyped-def]
            return ((f"{n}.mp3", 100) for n in iter(int, 1))

        def __getitem__(self, at: int) -> Missing:
            return Missing(recording(f"{at}.mp3", 100), str(at))

    assert next(bundles(Endless(), SECOND, JOB_S))[0].recording.path == "0.mp3"


# How many jobs there are, and how long they are


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [({}, 0), ({"a.mp3": 5, "b.mp3": 5}, 1), ({"a.mp3": 2400}, 4), ({"a.mp3": 1200, "b.mp3": 5}, 3), (clips(5000), 8)],
)
def test_no_more_workers_are_started_than_there_are_jobs(sizes: dict[str, int], expected: int) -> None:
    assert n_jobs(backlog(sizes), SECOND, JOB_S, at_most=8) == expected


def test_a_director_that_knows_no_workers_makes_jobs_of_ten_minutes() -> None:
    assert job_s(None, 8) == JOB_S


@pytest.mark.parametrize(
    ("total_s", "n_workers", "expected_s"), [(36_000, 2, 600), (1800, 2, 300), (1800, 8, 75), (60, 8, 60), (0, 1, 60)]
)
def test_jobs_are_shorter_where_there_is_little_to_do_for_many(
    total_s: float, n_workers: int, expected_s: float
) -> None:
    assert job_s(total_s, n_workers) == expected_s


def test_recordings_to_label_are_in_other_jobs_than_those_to_transcribe() -> None:
    found = Backlog(Missing(recording(f"{n:02}.mp3", 1000), f"{n:02}", only_speakers=n % 3 == 0) for n in range(40))
    made = list(bundles(found, Rates({".mp3": 0.1}), 600))
    assert {path for bundle in made for path in (each.recording.path for each in bundle)} == {
        p for p, _ in found.sized()
    }
    assert all(len({each.only_speakers for each in bundle}) == 1 for bundle in made)
    assert found.n_only_speakers == 14
