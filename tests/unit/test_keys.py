"""How files in the destination are called."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightscribe.shared.destination.keys import (
    MAX_NAME_BYTES,
    failure_key,
    output_key,
    parts_folder,
    transcript_key,
    with_suffix,
)

NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=300)


def test_records_mirror_the_source_under_one_folder() -> None:
    assert transcript_key("2012/talk.mp3") == ".nightscribe/transcripts/2012/talk.mp3.json"
    assert failure_key("2012/talk.mp3") == ".nightscribe/failures/2012/talk.mp3.json"
    assert parts_folder("2012/talk.mp3") == ".nightscribe/parts/2012/talk.mp3/"


def test_texts_lie_where_their_recording_lies() -> None:
    assert output_key("2012/talk", "vtt") == "2012/talk.vtt"


def test_a_dot_in_a_stem_is_not_an_extension() -> None:
    assert output_key("v1.2 final", "txt") == "v1.2 final.txt"


@given(NAME, st.sampled_from(["", ".json", ".txt"]))
def test_every_name_fits_into_a_file_system(name: str, suffix: str) -> None:
    last = with_suffix(f"folder/{name}", suffix).removeprefix("folder/")
    assert len(last.encode()) <= MAX_NAME_BYTES
    assert last.endswith(suffix)
    assert "/" not in last


@given(NAME)
def test_a_name_with_room_for_its_suffix_is_kept(name: str) -> None:
    whole = name + ".json"
    assert (with_suffix(name, ".json") == whole) == (len(whole.encode()) <= MAX_NAME_BYTES)


@pytest.mark.parametrize("letter", ["a", "é", "日", "🎤"])
def test_long_names_that_differ_only_at_their_end_stay_apart(letter: str) -> None:
    length = 251 // len(letter.encode())
    one, other = (letter * length + end for end in ("12", "13"))
    assert with_suffix(one, ".json") != with_suffix(other, ".json")


@pytest.mark.parametrize("name", ["a" * 255, "日" * 85, "🎤" * 63 + "abc", "a" + "é" * 127])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"a recording of this name can exist")
    for made in (with_suffix(name, ".json"), with_suffix(name, ""), with_suffix(name, ".txt")):
        (tmp_path / made).write_bytes(b"")


def test_only_the_last_name_is_shortened() -> None:
    folder = "f" * 255
    assert with_suffix(f"{folder}/{'n' * 255}", ".json").startswith(f"{folder}/nnn")
