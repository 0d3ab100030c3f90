"""How much sound there is, as far as can be told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import recording

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.plan.estimate import LengthEstimate, Rates, sample, typical_speed
from nightscribe.shared.model.engines import BUILT_IN, WHISPER_ENGINES


def test_nothing_is_foretold_while_nothing_is_known() -> None:
    lengths = LengthEstimate()
    lengths.expect("a.mp3", 100)
    assert lengths.pending_s is None
    assert lengths.seconds("a.mp3", 100) is None


def test_with_nothing_to_do_nothing_is_left() -> None:
    assert LengthEstimate().pending_s == 0


def test_a_length_follows_from_files_of_the_same_kind() -> None:
    lengths = LengthEstimate()
    lengths.learn("a.mp3", 100, 10)
    lengths.learn("b.wav", 1000, 10)
    assert lengths.seconds("c.MP3", 50) == 5
    assert lengths.seconds("c.wav", 50) == 0.5


def test_of_an_unknown_kind_the_length_follows_from_all_files() -> None:
    lengths = LengthEstimate()
    lengths.learn("a.mp3", 100, 10)
    lengths.learn("b.wav", 900, 10)
    assert lengths.seconds("c.flac", 50) == 1


def test_a_length_that_was_looked_up_is_exact() -> None:
    lengths = LengthEstimate()
    for name in ("a.mp3", "b.mp3"):
        lengths.expect(name, 100)
    lengths.foresee("a.mp3", 100, 7)
    assert lengths.seconds("a.mp3", 100) == 7
    assert lengths.pending_s == 14


def test_what_is_settled_is_no_longer_pending() -> None:
    lengths = LengthEstimate()
    for name in ("a.mp3", "b.mp3", "c.mp3"):
        lengths.expect(name, 100)
    lengths.foresee("a.mp3", 100, 10)
    lengths.settle("a.mp3", 100)
    assert lengths.pending_s == 20
    lengths.settle("b.mp3", 100)
    assert lengths.pending_s == 10
    lengths.settle("c.mp3", 100)
    assert lengths.pending_s == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["mp3", "wav", "ogg"]), st.integers(1, 10**9), st.floats(0.1, 10**5), st.booleans()),
        min_size=1,
    )
)
def test_when_everything_is_settled_nothing_is_left(files: list[tuple[str, int, float, bool]]) -> None:
    lengths = LengthEstimate()
    named = [(f"{number}.{kind}", size, length_s, known) for number, (kind, size, length_s, known) in enumerate(files)]
    for name, size, _, _ in named:
        lengths.expect(name, size)
    for name, size, length_s, known in named:
        if known:
            lengths.foresee(name, size, length_s)
    for name, size, _, _ in named:
        pending_s = lengths.pending_s
        assert pending_s is None or pending_s > 0
        lengths.settle(name, size)
    assert lengths.pending_s == 0


# Plans


@given(st.floats(1e-6, 10), st.integers(1, 10**9))
def test_a_plan_is_never_wrong_by_more_than_a_fifth(rate: float, size: int) -> None:
    lengths = LengthEstimate()
    lengths.learn("a.mp3", 1000, 1000 * rate)
    assert lengths.rates().seconds("b.mp3", size) == pytest.approx(rate * size, rel=0.2)


def test_a_plan_goes_by_kind_and_else_by_all_and_else_by_what_is_usual() -> None:
    lengths = LengthEstimate()
    lengths.learn("a.mp3", 100, 100)
    lengths.learn("a.wav", 100, 200)
    rates = lengths.rates()
    assert (rates.seconds("b.MP3", 50), rates.seconds("b.wav", 50)) == (50, 100)
    assert rates.seconds("b.flac", 50) == pytest.approx(75, rel=0.2)
    assert Rates().seconds("b.flac", 16_000 * 60) == pytest.approx(60)


def test_recordings_of_no_length_teach_a_plan_nothing() -> None:
    lengths = LengthEstimate()
    lengths.learn("a.mp3", 0, 0)
    lengths.learn("a.wav", 100, 0)
    assert lengths.rates().seconds("b.mp3", 16_000) == 1


def backlog(paths: list[str]) -> Backlog:
    return Backlog(Missing(recording(path), path) for path in paths)


def sampled(paths: list[str], at_most: int) -> set[str]:
    return {each.recording.path for each in sample(backlog(paths), at_most)}


@given(st.lists(st.text(min_size=1, max_size=5), unique=True), st.integers(1, 50))
def test_a_sample_is_some_of_the_recordings(paths: list[str], at_most: int) -> None:
    taken = sampled(paths, at_most)
    assert len(taken) == min(len(paths), at_most)
    assert taken <= set(paths)


def test_a_sample_stays_the_same_when_others_are_added_or_done() -> None:
    before = sampled([f"{n}.mp3" for n in range(1000)], 32)
    after = sampled([f"{n}.mp3" for n in range(50, 1050)], 32)
    assert len(before & after) >= 24


@pytest.mark.parametrize("engine", WHISPER_ENGINES)
def test_a_larger_model_is_foretold_to_be_slower(engine: str) -> None:
    speeds = [typical_speed(engine, model) for model in ("tiny.en", "base", "small", "medium.en", "large-v3")]
    assert speeds == sorted(speeds, reverse=True)
    assert len(set(speeds)) == len(speeds)


def test_turbo_is_not_taken_for_the_large_model_whose_name_it_has() -> None:
    assert typical_speed("faster-whisper", "large-v3-turbo") == typical_speed("faster-whisper", "turbo")
    assert typical_speed("faster-whisper", "turbo") > typical_speed("faster-whisper", "large-v3")


def test_an_unknown_model_is_taken_for_base() -> None:
    assert typical_speed("faster-whisper", "/models/mine") == typical_speed("faster-whisper", "base")


@pytest.mark.parametrize("model", ["distil-small.en", "distil-medium.en", "distil-large-v3"])
def test_a_distilled_model_is_not_foretold_to_be_slower_than_its_teacher(model: str) -> None:
    assert typical_speed("faster-whisper", model) >= typical_speed("faster-whisper", model.removeprefix("distil-"))


def test_every_size_is_positive() -> None:
    assert min(size for spec in BUILT_IN.values() for size in spec.parameters.values()) > 0
