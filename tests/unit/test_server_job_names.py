"""Names of uploaded files: safe on every file system, and as close to the given ones as possible."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightscribe.server.jobs.names import MOST_BYTES, UNNAMED, clean_folder, clean_name, numbered


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("talk.mp3", "talk.mp3"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Talk (1).WAV", "Talk (1).WAV"),
        ("  .hidden.wav", "hidden.wav"),
        ("", UNNAMED),
        ("..", UNNAMED),
        ("a\x00b\n.wav", "ab.wav"),
        ("what?:*.mp3", "what___.mp3"),
        ("con.wav", "_con.wav"),
        ("evil\u202e3pm.exe", "evil3pm.exe"),
        ("e\u0301te\u0301.wav", "été.wav"),
        ("会議.m4a", "会議.m4a"),
        ("x" * 300 + ".wav", "x" * (MOST_BYTES - 4) + ".wav"),
        ("\ud800.wav", "_.wav"),
    ],
)
def test_a_name_is_cleaned(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@settings(max_examples=40)
@given(st.text(max_size=300))
def test_every_name_becomes_one_visible_file_in_its_folder(name: str) -> None:
    clean = clean_name(name)
    assert clean
    assert not clean.startswith(".")
    assert not set(clean) & set('/\\\0:*?"<>|')
    assert len(clean.encode()) <= MOST_BYTES
    assert clean_name(clean) == clean


@pytest.mark.parametrize(
    ("folder", "clean"),
    [("uploads", "uploads"), ("/a//b/", "a/b"), ("../../x", "x"), (".hidden/x", "hidden/x"), ("", "")],
)
def test_a_folder_stays_below_the_source(folder: str, clean: str) -> None:
    assert clean_folder(folder) == clean


def test_a_name_that_is_taken_gets_a_number() -> None:
    names = numbered("2012/talk.mp3")
    assert [next(names) for _ in range(3)] == ["2012/talk.mp3", "2012/talk (2).mp3", "2012/talk (3).mp3"]
