"""Recognize known voices in a recording, and group the speakers of many recordings by voice. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.model.speakers import Embedding, Speaker, decode_embedding
from nightscribe.shared.model.voice import Voice
from nightscribe.shared.speakers.matching import ENOUGH_S, SAME_PERSON


class Member(NamedTuple):
    """A speaker of one recording."""

    recording: str
    speaker: Speaker


def recognized(speakers: Sequence[Speaker], voices: Iterable[Voice]) -> list[Speaker]:
    """Return the speakers of a recording with the known voices that they have.

    Two speakers of a recording are two people, so each voice is given to the most similar one only. Names that a person
    gave to a speaker stay.
    """
    known = [(voice, prints) for voice in voices if len(prints := _voiceprints(voice))]
    taken = {speaker.voice for speaker in speakers if _is_certain(speaker)}
    pairs = [
        (float((prints @ embedding).max()), at, voice)
        for at, speaker in enumerate(speakers)
        if not _is_certain(speaker) and (embedding := voiceprint(speaker)) is not None
        for voice, prints in known
        if voice.id not in taken and prints.shape[1] == len(embedding)
    ]
    made = [
        speaker
        if _is_certain(speaker) or speaker.embedding is None
        else speaker.model_copy(update={"voice": None, "name": None, "name_confidence": None})
        for speaker in speakers
    ]
    done: set[int] = set()
    for similarity, at, voice in sorted(pairs, key=lambda each: -each[0]):
        if similarity < SAME_PERSON:
            break
        if at in done or voice.id in taken:
            continue
        done.add(at)
        taken.add(voice.id)
        sure = round(min(1.0, similarity), 3)
        made[at] = made[at].model_copy(update={"voice": voice.id, "name": voice.name, "name_confidence": sure})
    return made


def grouped(members: Sequence[Member]) -> list[list[Member]]:
    """Group speakers of many recordings by voice, without two of one recording in a group.

    Those with the same voice id are together. The others join the most similar group; those with the most speech come
    first, because their voiceprints are the surest. Without a voiceprint, each is alone.
    """
    groups = _Groups()
    for member in sorted(members, key=_order):
        groups.add(member)
    return groups.members


def _order(member: Member) -> tuple[bool, float, str, str]:
    speaker = member.speaker
    return speaker.voice is None, -speaker.clean_s, member.recording, speaker.label


class _Groups:
    """Groups that grow by one speaker at a time."""

    def __init__(self) -> None:
        self.members: list[list[Member]] = []
        self._of_voice: dict[str, int] = {}
        self._recordings: list[set[str]] = []
        self._sums: list[Embedding | None] = []
        self._means: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def add(self, member: Member) -> None:
        """Put a speaker into its group, or into a new one."""
        voice = member.speaker.voice
        embedding = voiceprint(member.speaker)
        at = self._of_voice.get(voice) if voice else self._most_similar(member, embedding)
        if at is None:
            at = len(self.members)
            self.members.append([])
            self._recordings.append(set())
            self._sums.append(None)
        if voice:
            self._of_voice[voice] = at
        self.members[at].append(member)
        self._recordings[at].add(member.recording)
        if embedding is not None:
            self._learn(at, embedding * np.float32(member.speaker.clean_s))

    def _most_similar(self, member: Member, embedding: Embedding | None) -> int | None:
        if embedding is None or self._means.shape[1:] != embedding.shape:
            return None
        similarity = self._means @ embedding
        for at in np.argsort(-similarity):
            if similarity[at] < SAME_PERSON:
                return None
            if member.recording not in self._recordings[at]:
                return int(at)
        return None

    def _learn(self, at: int, weighted: Embedding) -> None:
        known = self._sums[at]
        if known is not None and known.shape != weighted.shape:
            return
        total: Embedding = weighted if known is None else known + weighted
        self._sums[at] = total
        if self._means.shape[1:] != total.shape:
            if len(self._means):
                return  # of another model
            self._means = np.zeros((0, len(total)), np.float32)
        if at >= len(self._means):
            room = np.zeros((2 * at + 16 - len(self._means), len(total)), np.float32)
            self._means = np.concatenate((self._means, room))
        self._means[at] = total / max(1e-9, float(np.linalg.norm(total)))


def voiceprint(speaker: Speaker) -> Embedding | None:
    """Return the embedding of a speaker, or None if it is not known or too unsure to compare."""
    if speaker.embedding is None or speaker.clean_s < ENOUGH_S:
        return None
    try:
        return decode_embedding(speaker.embedding)
    except ValueError:
        return None


def _is_certain(speaker: Speaker) -> bool:
    """Return whether a person said whose voice it is."""
    return speaker.voice is not None and speaker.name_confidence is None


def _voiceprints(voice: Voice) -> NDArray[np.float32]:
    """Return the embeddings of a voice, shape (n, n_dimensions)."""
    found = []
    for encoded in voice.voiceprints:
        try:
            found.append(decode_embedding(encoded))
        except ValueError:
            continue
    alike = [each for each in found if len(each) == len(found[0])]
    return np.stack(alike) if alike else np.zeros((0, 0), np.float32)
