"""Who said what, from the sound to the texts: real models, real weights, the command as a user types it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import recordings

from nightscribe.shared.model.transcript import Transcript

Command = Callable[..., "subprocess.CompletedProcess[str]"]

FORMATS = ("--formats", "txt,vtt,rttm")
ANSWER_S = (8.5, 8.5 + recordings.BECKETT_DURATION_S)
"""When the second person speaks in the conversation."""


@pytest.fixture
def conversation(tmp_path: Path, speech: Path) -> Path:
    """27 s: the reader of Dickens, then Beckett in a lower voice, then the first reader again."""
    return recordings.conversation(
        tmp_path / "talk.wav",
        recordings.cut(speech, tmp_path / "first.wav", 0, ANSWER_S[0], "-ar", "16000"),
        recordings.lower(recordings.beckett(), tmp_path / "second.wav"),
        recordings.cut(speech, tmp_path / "third.wav", 8.5, 8.5, "-ar", "16000"),
    )


def test_two_people_are_told_apart_and_one_is_recognized_in_the_next_recording(
    nightscribe: Command, speaker_models: Path, conversation: Path, speech: Path, tmp_path: Path
) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    conversation.rename(source / "talk.wav")
    run = ("run", source, dest, *FORMATS, "--speakers", "auto")

    first = nightscribe(*run)
    assert first.returncode == 0, first.stdout + first.stderr

    made = record(dest, "talk.wav")
    assert [speaker.label for speaker in made.speakers] == ["Speaker 1", "Speaker 2"]
    for segment in made.segments:
        for word in segment.words:
            is_answer = ANSWER_S[0] <= (word.start_s + word.end_s) / 2 < ANSWER_S[1]
            assert segment.speaker == ("Speaker 2" if is_answer else "Speaker 1"), word
    for turn in made.turns:
        is_answer = ANSWER_S[0] <= (turn.start_s + turn.end_s) / 2 < ANSWER_S[1]
        assert turn.speaker == ("Speaker 2" if is_answer else "Speaker 1"), turn

    paragraphs = (dest / "talk.txt").read_text().strip().split("\n\n")
    assert [paragraph.partition(": ")[0] for paragraph in paragraphs] == ["Speaker 1", "Speaker 2", "Speaker 1"]
    assert "best of times" in paragraphs[0] and "incredulity" in paragraphs[2]
    assert "fail again" in paragraphs[1].lower() and "fail better" in paragraphs[1].lower()
    cues = (dest / "talk.vtt").read_text().strip().split("\n\n")[1:]
    assert all(cue.count("<v Speaker ") == 1 for cue in cues)
    assert ["better" in cue for cue in cues if "<v Speaker 2>" in cue][-1]
    turns = [line.split() for line in (dest / "talk.rttm").read_text().splitlines()]
    assert [(turn[0], turn[1], turn[7]) for turn in turns] == [
        ("SPEAKER", "talk", turn.speaker.replace(" ", "_")) for turn in made.turns
    ]

    named = nightscribe("speakers", "name", dest, "talk.wav#1", "Ann")
    assert named.returncode == 0, named.stderr
    paragraphs = (dest / "talk.txt").read_text().strip().split("\n\n")
    assert [paragraph.partition(": ")[0] for paragraph in paragraphs] == ["Ann", "Speaker 2", "Ann"]
    assert record(dest, "talk.wav").segments == made.segments

    recordings.cut(speech, source / "visit.wav", 20, 10, "-ar", "16000")
    second = nightscribe(*run)
    assert "Done: 1 recording" in second.stdout, second.stdout + second.stderr
    [speaker] = record(dest, "visit.wav").speakers
    assert speaker.name == "Ann"
    assert speaker.name_confidence is not None
    assert (dest / "visit.txt").read_text().startswith("Ann: ")
    assert "2 voices in 2 recordings, 1 with a name" in nightscribe("speakers", dest).stdout


def record(dest: Path, recording: str) -> Transcript:
    """What is recorded of a finished recording."""
    return Transcript.model_validate_json((dest / f".nightscribe/transcripts/{recording}.json").read_text())
