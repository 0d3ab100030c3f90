"""Transcripts in the forms of other APIs, and the names of models that their clients send."""

import pytest
from making import transcript

from nightscribe.server.compat import transcripts
from nightscribe.server.compat.model_names import known_model, known_models, public_name
from nightscribe.server.compat.pcm import header_for
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Segment, Word
from nightscribe.shared.settings import Settings


def segment(start_s: float, text: str, speaker: str | None = None) -> Segment:
    return Segment(start_s=start_s, end_s=start_s + 1, text=text, speaker=speaker)


def test_segments_are_joined_with_spaces_where_their_script_has_any() -> None:
    assert transcripts.text_of([segment(0, "One."), segment(1, "Two.")]) == "One. Two."
    assert transcripts.text_of([segment(0, "我们走吧。"), segment(1, "好的。")]) == "我们走吧。好的。"
    assert "".join(transcripts.deltas([segment(1, "Two.")], "One.")) == " Two."
    assert list(transcripts.with_words([segment(0, " "), segment(1, "Two.")])) == [segment(1, "Two.")]


def test_speakers_are_letters_unless_their_voices_have_names() -> None:
    said = transcript(
        segments=(
            segment(0, "Hi.", "Speaker 1"),
            segment(1, "Ho.", "Speaker 2"),
            segment(2, "Ha."),
            segment(3, "", "X"),
        ),
        speakers=(Speaker(label="Speaker 1", clean_s=1, name="Anna"), Speaker(label="Speaker 2", clean_s=1)),
    )
    shown = [(each["id"], each["speaker"], each["text"]) for each in transcripts.diarized_segments(said)]
    assert shown == [("seg_001", "Anna", "Hi."), ("seg_002", "A", "Ho."), ("seg_003", "unknown", "Ha.")]
    assert transcripts.diarized_json(said)["text"] == "Hi. Ho. Ha."


@pytest.mark.parametrize(
    ("number", "letters"), [(0, "A"), (25, "Z"), (26, "AA"), (27, "AB"), (701, "ZZ"), (702, "AAA")]
)
def test_there_are_letters_for_any_number_of_speakers(number: int, letters: str) -> None:
    assert transcripts.letters(number) == letters


def test_verbose_json_of_silence_names_no_language() -> None:
    silent = transcript(segments=(), language=None)
    assert transcripts.verbose_json(silent, ["segment", "word"]) | {"usage": None, "duration": 0} == {
        "task": "transcribe",
        "language": "unknown",
        "duration": 0,
        "text": "",
        "segments": [],
        "words": [],
        "usage": None,
    }


def test_words_have_no_spaces_around_them() -> None:
    spoken = Segment(
        start_s=0, end_s=1, text="It was", words=(Word(0, 0.5, " It"), Word(0.5, 1, " was"), Word(1, 1, " "))
    )
    assert [word["word"] for word in transcripts.words_of(spoken)] == ["It", "was"]


@pytest.mark.parametrize(
    ("requested", "ours"),
    [
        *[(name, "base") for name in ("", "whisper-1", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize", "base")],
        *[("small", "small"), ("openai/whisper-small", "small"), ("Systran/faster-whisper-small", "small")],
        ("Systran/faster-distil-whisper-large-v3", "distil-large-v3"),
        *[(name, None) for name in ("large-v9", "Systran/faster-whisper-huge", "../../etc/passwd", "Whisper-1")],
    ],
)
def test_a_name_is_that_of_the_server_or_one_that_is_known(requested: str, ours: str | None) -> None:
    assert known_model(requested, "base", ["tiny", "small", "distil-large-v3"]) == ours


def test_the_path_of_a_model_is_not_shown_but_its_name_is_known() -> None:
    assert public_name("/models/mine/") == "mine"
    assert known_model("mine", "/models/mine", []) == "/models/mine"
    assert known_model("/models/mine", "/models/mine", []) is None


def test_requests_may_name_what_workers_may_use_up_to_the_largest() -> None:
    assert "large-v3" in known_models(Settings())
    assert known_models(Settings(models=("small", "large-v3", "/models/mine"))) == ("small", "large-v3")
    assert known_models(Settings(models=("small", "large-v3")), "medium") == ("small",)


def test_samples_get_a_header_and_files_keep_theirs() -> None:
    assert header_for(bytes(12))[:4] == b"RIFF"
    for beginning in (b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3\4", b"\0\0\0\x20ftypM4A "):
        assert header_for(beginning) == b""
