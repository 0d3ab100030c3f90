"""Numbers and names as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightscribe.views.humanize import count, duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"), (4.24, "4.2 s"), (9.94, "9.9 s"), (9.96, "10 s"), (42, "42 s"), (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (60, "1 min 00 s"), (150, "2 min 30 s"), (599, "9 min 59 s"), (600, "10 min"), (2520, "42 min"),
        (3599, "1 h 00 min"), (3600, "1 h 00 min"), (11_100, "3 h 05 min"), (360_000, "100 h 00 min"),
    ],
)  # fmt: skip
def test_a_duration_is_as_exact_as_its_length_deserves(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@given(st.floats(0, 10**7))
def test_no_duration_has_sixty_of_anything(seconds: float) -> None:
    said = duration(seconds).split()
    assert not any(number == "60" for number in said)
    assert said[1::2] in (["s"], ["min"], ["min", "s"], ["h", "min"])


@given(st.floats(0, 10**6))
def test_a_duration_is_near_the_truth(seconds: float) -> None:
    said = duration(seconds).split()
    unit_s = {"s": 1, "min": 60, "h": 3600}
    told_s = sum(float(number) * unit_s[unit] for number, unit in zip(said[::2], said[1::2], strict=True))
    assert told_s == pytest.approx(seconds, abs=0.51 if seconds < 599 else 30.1)


@pytest.mark.parametrize(
    ("n", "said"), [(0, "0 recordings"), (1, "1 recording"), (2, "2 recordings"), (1_234_567, "1,234,567 recordings")]
)
def test_a_count_has_its_plural_and_its_commas(n: int, said: str) -> None:
    assert count(n, "recording") == said
