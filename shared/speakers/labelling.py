"""Label the voices of a whole recording from what its workers heard in their slices."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from nightscribe.shared.model.speakers import (
    LocalSpeakers,
    LocalTurn,
    LocalVoice,
    Speaker,
    SpeakerCount,
    Speakers,
    SpeakerTurn,
    decode_embedding,
    encode_embedding,
)
from nightscribe.shared.speakers.clustering import cluster

LABEL = "Speaker {}"
JOIN_S = 0.5  # two turns of a speaker that are no further apart are one


def label(slices: Iterable[LocalSpeakers], count: SpeakerCount) -> Speakers:
    """Return who speaks when in a recording, from the local speakers of all its slices in order.

    A speaker has one label from beginning to end, whichever worker heard it. There are fewer speakers than `count`
    requests if there are not so many voices.
    """
    voices, turns = _joined(slices)
    heard = [n for n, voice in enumerate(voices) if voice.embedding is not None and voice.clean_s > 0]
    if not heard:
        return _of_one(turns, voices)
    embeddings = np.stack([decode_embedding(voices[n].embedding or "") for n in heard])
    weights = np.array([voices[n].clean_s for n in heard], dtype=np.float32)
    labels = cluster(embeddings, weights, count)
    group = dict(zip(heard, labels.tolist(), strict=True))
    labelled = _labelled(turns, group)
    names = {g: LABEL.format(n + 1) for n, g in enumerate(dict.fromkeys(g for _, g in labelled))}
    speakers = []
    for g, name in names.items():
        members = labels == g
        centre = (embeddings[members] * weights[members, None]).sum(axis=0)
        speakers.append(
            Speaker(label=name, embedding=encode_embedding(centre), clean_s=round(float(weights[members].sum()), 3))
        )
    return Speakers(speakers=tuple(speakers), turns=_merged([(turn, names[g]) for turn, g in labelled]))


def _joined(slices: Iterable[LocalSpeakers]) -> tuple[list[LocalVoice], list[LocalTurn]]:
    """Return the local voices of all slices, and their turns by time with the positions of the voices in that list."""
    voices: list[LocalVoice] = []
    turns: list[LocalTurn] = []
    for heard in slices:
        first = len(voices)
        voices.extend(heard.voices)
        turns.extend(turn.model_copy(update={"voice": turn.voice + first}) for turn in heard.turns)
    return voices, sorted(turns, key=lambda turn: (turn.start_s, turn.end_s, turn.voice))


def _of_one(turns: Sequence[LocalTurn], voices: Sequence[LocalVoice]) -> Speakers:
    """Return one speaker for all turns, because no voice could be told from another."""
    if not turns:
        return Speakers()
    name = LABEL.format(1)
    clean_s = round(sum(voice.clean_s for voice in voices), 3)
    return Speakers(speakers=(Speaker(label=name, clean_s=clean_s),), turns=_merged([(turn, name) for turn in turns]))


def _labelled(turns: Sequence[LocalTurn], group: dict[int, int]) -> list[tuple[LocalTurn, int]]:
    """Return the turns with their groups. A voice without an embedding has the group of the nearest turn."""
    known = [(turn, group[turn.voice]) for turn in turns if turn.voice in group]
    labelled = []
    for turn in turns:
        if turn.voice in group:
            labelled.append((turn, group[turn.voice]))
        elif known:
            middle_s = (turn.start_s + turn.end_s) / 2
            _, nearest = min(known, key=lambda each: max(each[0].start_s - middle_s, middle_s - each[0].end_s))
            labelled.append((turn, nearest))
    return labelled


def _merged(turns: Sequence[tuple[LocalTurn, str]]) -> tuple[SpeakerTurn, ...]:
    """Return the turns of each speaker, joined where windows or workers divided them."""
    merged: list[SpeakerTurn] = []
    by_speaker = sorted(turns, key=lambda each: (each[1], each[0].start_s))
    for name, group in groupby(by_speaker, key=lambda each: each[1]):
        start_s = end_s = None
        for turn, _ in group:
            if end_s is not None and turn.start_s <= end_s + JOIN_S:
                end_s = max(end_s, turn.end_s)
                continue
            if start_s is not None and end_s is not None:
                merged.append(SpeakerTurn(start_s=start_s, end_s=end_s, speaker=name))
            start_s, end_s = turn.start_s, turn.end_s
        if start_s is not None and end_s is not None:
            merged.append(SpeakerTurn(start_s=start_s, end_s=end_s, speaker=name))
    return tuple(sorted(merged, key=lambda turn: (turn.start_s, turn.end_s, turn.speaker)))
