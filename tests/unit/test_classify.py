"""What is missing, decided from values alone."""

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from making import failure, recording, transcript

from nightscribe.director.scan.classify import same_at_a_glance
from nightscribe.director.scan.text_stems import missing_formats, stems

SUFFIX = st.sampled_from(["", ".mp3", ".wav", ".MP3", ".mp3.flac", ".tar.gz", "."])
NAME = st.builds(str.__add__, st.text("aAbßİé.- ", min_size=1, max_size=3), SUFFIX).filter(
    lambda name: not name.startswith(".")
)
FOLDER = st.lists(NAME, max_size=8, unique_by=str.casefold)


@given(FOLDER)
@example(["a.mp3", "a.wav", "a.mp3.flac", "a.mp3.flac.ogg"])
@example(["a.mp3.flac", "a.mp3", "a"])
def test_no_two_recordings_of_a_folder_share_their_text_files(names: list[str]) -> None:
    """Not even where the file system does not see case."""
    found = stems(names)
    assert set(found) == set(names)
    assert len({stem.casefold() for stem in found.values()}) == len(names)


@given(FOLDER, st.randoms())
def test_a_stem_does_not_depend_on_which_recording_came_first(names: list[str], chance: object) -> None:
    shuffled = list(names)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert stems(shuffled) == stems(names)


@given(FOLDER)
def test_a_stem_is_the_name_with_or_without_its_extension(names: list[str]) -> None:
    for name, stem in stems(names).items():
        assert stem in (name, PurePosixPath(name).stem)


def test_a_recording_alone_loses_its_extension() -> None:
    assert stems(["2012/talk.mp3", "2012/v1.2 final.wav", "2012/plain"]) == {
        "2012/talk.mp3": "2012/talk",
        "2012/v1.2 final.wav": "2012/v1.2 final",
        "2012/plain": "2012/plain",
    }


def test_two_recordings_that_differ_only_in_extension_get_full_names() -> None:
    assert stems(["a.mp3", "a.wav", "b.mp3"]) == {"a.mp3": "a.mp3", "a.wav": "a.wav", "b.mp3": "b"}


def test_two_recordings_that_differ_only_in_case_and_extension_get_full_names() -> None:
    assert stems(["A.mp3", "a.wav"]) == {"A.mp3": "A.mp3", "a.wav": "a.wav"}


def test_a_full_name_that_is_the_stem_of_another_moves_that_one_too() -> None:
    names = ["a.mp3", "a.wav", "a.mp3.flac"]
    assert stems(names) == {name: name for name in names}


def test_missing_formats_are_those_without_a_file() -> None:
    assert missing_formats("2012/talk", ("txt", "vtt", "srt"), {"talk.vtt", "talk.mp3"}) == ("txt", "srt")
    assert missing_formats("talk", ("txt",), {"talk.txt"}) == ()


def test_a_shortened_name_is_looked_for_under_its_short_name() -> None:
    from nightscribe.shared.destination.keys import output_key

    stem = "n" * 255
    assert missing_formats(stem, ("txt",), {output_key(stem, "txt")}) == ()


@pytest.mark.parametrize(
    "record", [transcript(size=10, mtime_ns=5), failure(size=10, mtime_ns=5)], ids=["done", "failed"]
)
@pytest.mark.parametrize(
    ("size", "mtime_ns", "same"),
    [(10, 5, True), (11, 5, False), (11, 6, False), (10, 6, None), (10, None, None)],
)
def test_size_and_time_tell_at_a_glance_or_not_at_all(
    record: object, size: int, mtime_ns: int | None, same: bool | None
) -> None:
    assert same_at_a_glance(recording(size=size, mtime_ns=mtime_ns), record) is same  # type: ignore[arg-type]


def test_two_unknown_times_are_not_the_same_time() -> None:
    assert same_at_a_glance(recording(size=10, mtime_ns=None), transcript(size=10, mtime_ns=None)) is None
