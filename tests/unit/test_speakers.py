"""From the local voices of slices to the speakers of a recording."""

import numpy as np
import pytest

from nightscribe.shared.model.speakers import (
    LocalSpeakers,
    LocalTurn,
    LocalVoice,
    SpeakerCount,
    decode_embedding,
    encode_embedding,
)
from nightscribe.shared.speakers.labelling import label

WINDOW_S = 10.0
RANDOM = np.random.default_rng(1)
PEOPLE = RANDOM.normal(size=(100, 192))


def voice(window: int, person: int, clean_s: float = 5.0, noise: float = 0.3) -> LocalVoice:
    """How a person sounds in a window."""
    heard = PEOPLE[person] + noise * np.random.default_rng((window, person)).normal(size=192)
    return LocalVoice(window=window, embedding=encode_embedding(heard), clean_s=clean_s)


def heard(people: list[int], *, first_window: int = 0) -> LocalSpeakers:
    """A slice in which these people speak, each in a window of its own and up to its end."""
    windows = range(first_window, first_window + len(people))
    return LocalSpeakers(
        voices=tuple(voice(window, person) for window, person in zip(windows, people, strict=True)),
        turns=tuple(
            LocalTurn(start_s=window * WINDOW_S + 2, end_s=(window + 1) * WINDOW_S, voice=n)
            for n, window in enumerate(windows)
        ),
    )


def test_an_embedding_keeps_its_direction_as_float16() -> None:
    vector = PEOPLE[0]
    encoded = encode_embedding(vector)
    assert len(encoded) == 512
    np.testing.assert_allclose(decode_embedding(encoded), vector / np.linalg.norm(vector), atol=1e-3)


@pytest.mark.parametrize("damaged", ["?", "AAAA", "", "AHw="])
def test_a_damaged_embedding_is_refused(damaged: str) -> None:
    with pytest.raises(ValueError, match="embedding"):
        decode_embedding(damaged)


def test_speakers_are_numbered_by_their_first_words_and_keep_their_label_over_slices() -> None:
    found = label([heard([7, 3, 7]), heard([3, 9, 7], first_window=3)], SpeakerCount())
    assert [speaker.label for speaker in found.speakers] == ["Speaker 1", "Speaker 2", "Speaker 3"]
    assert [turn.speaker.split()[-1] for turn in found.turns] == ["1", "2", "1", "2", "3", "1"]
    assert [speaker.clean_s for speaker in found.speakers] == [15.0, 10.0, 5.0]


def test_the_cut_of_a_recording_changes_no_label() -> None:
    people = [1, 2, 3, 1, 2, 4, 1, 1, 3, 2]
    whole = label([heard(people)], SpeakerCount())
    parts = label(
        [heard(people[:3]), heard(people[3:7], first_window=3), heard(people[7:], first_window=7)], SpeakerCount()
    )
    assert parts == whole


def test_a_given_number_of_speakers_is_found_where_there_are_as_many_voices() -> None:
    people = [0, 1, 2, 0, 1, 2]
    assert len(label([heard(people)], SpeakerCount(exact=2)).speakers) == 2
    assert len(label([heard(people)], SpeakerCount(maximum=2)).speakers) == 2
    assert len(label([heard(people)], SpeakerCount(minimum=4)).speakers) == 4
    assert len(label([heard(people)], SpeakerCount(exact=50)).speakers) == 6


def test_a_voice_that_says_little_in_pieces_hardly_alike_is_a_speaker() -> None:
    """Each piece is too short to be one, and the two are less alike than two of one voice mostly are."""
    first, second, other = np.eye(192)[:3]
    pieces = [(other, 9.0), (first, 4.0), (0.6 * first + 0.8 * second, 4.0), (other, 9.0)]
    slice_ = LocalSpeakers(
        voices=tuple(
            LocalVoice(window=n, embedding=encode_embedding(embedding), clean_s=clean_s)
            for n, (embedding, clean_s) in enumerate(pieces)
        ),
        turns=tuple(LocalTurn(start_s=n * WINDOW_S, end_s=n * WINDOW_S + 9, voice=n) for n in range(len(pieces))),
    )
    found = label([slice_], SpeakerCount())
    assert [turn.speaker.split()[-1] for turn in found.turns] == ["1", "2", "2", "1"]


def test_nobody_speaks() -> None:
    assert label([LocalSpeakers(), LocalSpeakers()], SpeakerCount(exact=2)).turns == ()


def test_a_voice_that_is_never_alone_has_the_label_of_its_neighbour() -> None:
    both = heard([5, 6])
    short = LocalVoice(window=1, clean_s=0)
    turn = LocalTurn(start_s=20.2, end_s=20.5, voice=2)
    found = label([LocalSpeakers(voices=(*both.voices, short), turns=(*both.turns, turn))], SpeakerCount())
    assert found.turns[-1].speaker == "Speaker 2"
    alone = label([LocalSpeakers(voices=(short,), turns=(turn.model_copy(update={"voice": 0}),))], SpeakerCount())
    assert [turn.speaker for turn in alone.turns] == ["Speaker 1"]
    assert alone.speakers[0].embedding is None
