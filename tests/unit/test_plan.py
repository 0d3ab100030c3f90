"""In which order and in which jobs the missing is queued."""

from hypothesis import given
from hypothesis import strategies as st
from making import OPTIONS, recording

from director.plan import jobs, longest_first
from director.scan import Missing


def missing(path: str, size: int = 10, stem: str | None = None) -> Missing:
    return Missing(recording(path, size), f"{size}-abc", stem or path)


def test_the_largest_recording_goes_first() -> None:
    found = longest_first([missing("b", 1), missing("a", 3), missing("c", 2)])
    assert [m.recording.path for m in found] == ["a", "c", "b"]


@given(st.lists(st.builds(missing, st.text(min_size=1, max_size=3), st.integers(0, 3)), unique=True), st.randoms())
def test_a_plan_is_the_same_each_time(files: list[Missing], chance: object) -> None:
    shuffled = list(files)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert longest_first(shuffled) == longest_first(files)


def test_each_recording_is_one_job_that_holds_it_whole() -> None:
    [(first, one), (second, two)] = jobs(
        [missing("2012/a.mp3", 5, "2012/a"), missing("b.mp3")], OPTIONS, ("txt", "srt"), redo="run-1"
    )
    assert (first.recording.path, second.recording.path) == ("2012/a.mp3", "b.mp3")
    [whole] = one.slices
    assert (whole.recording, whole.fingerprint, whole.size, whole.stem) == ("2012/a.mp3", "5-abc", 5, "2012/a")
    assert (whole.index, whole.cuts, whole.start_s, whole.end_s) == (0, (), 0.0, None)
    assert (one.options, one.formats, one.redo) == (OPTIONS, ("txt", "srt"), "run-1")
    assert one.id != two.id


def test_a_million_jobs_are_not_made_before_the_first_is_wanted() -> None:
    endless = (missing(f"{number}.mp3") for number in iter(int, 1))
    assert next(jobs(endless, OPTIONS, ("txt",), redo=None))[0].recording.path == "0.mp3"
