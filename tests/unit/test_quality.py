"""What a person may want to look at."""

import pytest
from making import segment

from shared.transcript import Flag, Segment
from worker.quality import flags
from worker.worker import retry_delay_s


def sure(length_s: float = 1.0) -> Segment:
    return segment(0, length_s)


def doubtful(length_s: float = 1.0) -> Segment:
    return segment(0, length_s, average_log_probability=-1.1)


def test_good_segments_in_a_certain_language_have_no_flags() -> None:
    assert flags([sure(), sure()], language_probability=0.99) == ()


def test_no_segment_is_no_speech_in_no_language() -> None:
    assert flags([], language_probability=0.1) == (Flag.NO_SPEECH,)


@pytest.mark.parametrize(("ratio", "flagged"), [(2.4, False), (2.41, True), (30.0, True)])
def test_one_segment_that_packs_too_well_is_repetition(ratio: float, flagged: bool) -> None:
    found = flags([sure(), segment(compression_ratio=ratio)], language_probability=None)
    assert (Flag.REPETITION in found) is flagged


@pytest.mark.parametrize(("doubtful_s", "flagged"), [(0.5, False), (1.0, False), (1.1, True), (4.0, True)])
def test_low_confidence_is_more_than_a_quarter_of_the_time_in_doubt(doubtful_s: float, flagged: bool) -> None:
    found = flags([sure(4.0 - doubtful_s), doubtful(doubtful_s)], language_probability=None)
    assert (Flag.LOW_CONFIDENCE in found) is flagged


def test_doubt_counts_by_time_not_by_segments() -> None:
    assert flags([doubtful(0.1)] * 5 + [sure(60)], language_probability=None) == ()


def test_segments_without_length_are_not_divided_by() -> None:
    assert flags([doubtful(0.0)], language_probability=None) == ()


@pytest.mark.parametrize(("probability", "flagged"), [(0.49, True), (0.5, False), (None, False)])
def test_a_language_is_unsure_only_if_it_was_guessed(probability: float | None, flagged: bool) -> None:
    assert (Flag.LANGUAGE_UNSURE in flags([sure()], language_probability=probability)) is flagged


# Between two tries


@pytest.mark.parametrize(("receive_count", "delay_s"), [(1, 10), (2, 40), (3, 160), (4, 640), (5, 900), (100, 900)])
def test_the_wait_before_the_next_try_grows_up_to_a_quarter_of_an_hour(receive_count: int, delay_s: float) -> None:
    assert retry_delay_s(10, receive_count) == delay_s


def test_no_wait_stays_no_wait() -> None:
    assert retry_delay_s(0, 3) == 0
