"""List the voices of a destination over all its recordings, and name, merge, split and forget them.

Nothing is heard anew: voices are compared by the voiceprints in the transcripts. A name is written into the transcripts
of the voice and their texts, and kept with the voiceprints of the voice, by which workers recognize it later.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nightscribe.services.events import Comparing, OnEvent, Rewriting, ignore
from nightscribe.shared.destination.keys import TRANSCRIPTS
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.model.corrections import corrected
from nightscribe.shared.model.speaker_options import OFF
from nightscribe.shared.model.speakers import Speaker, encode_embedding
from nightscribe.shared.model.transcript import Transcript, utc_now
from nightscribe.shared.model.voice import MOST_VOICEPRINTS, Voice
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.speakers.recognition import Member, grouped, recognized, voiceprint
from nightscribe.shared.storage.base import Location, StorageOptions

MOST_NAME_CHARS = 80
ID_CHARS = 6


class NameTaken(ValueRefused):
    """Another voice has the name, so both may be one person."""

    code = "name_taken"


MARK = "#"  # between a recording and the label of one of its speakers


@dataclass(frozen=True)
class Appearance:
    """A voice in one recording."""

    recording: str
    label: str
    spoken_s: float
    """Seconds in which only this speaker speaks."""
    confidence: float | None
    """How similar the voice is to a named one; None if a person said so, or the voice has no name."""
    is_named: bool
    """Whether the transcript has the name of the voice."""


@dataclass(frozen=True)
class VoiceSummary:
    """A voice over all recordings."""

    id: str
    name: str | None
    has_voiceprint: bool
    """False if it cannot be recognized in another recording."""
    appearances: tuple[Appearance, ...]
    """In the order of the recordings."""
    sample_at: tuple[str, float] | None
    """Recording and time in seconds of a long sentence, to hear who it is."""
    sample: str
    """That sentence."""

    @property
    def spoken_s(self) -> float:
        """Return the seconds in which only this voice speaks, in all recordings."""
        return sum(each.spoken_s for each in self.appearances)


@dataclass(frozen=True)
class VoicesFound:
    """The voices of a destination."""

    voices: tuple[VoiceSummary, ...]
    """Named ones first, then those that speak most."""
    n_recordings: int
    """Recordings with labels of speakers."""
    n_unlabelled: int
    """Recordings without."""


@dataclass(frozen=True)
class VoicesChanged:
    """What a command has changed."""

    voice: str
    """Id of the voice that was named, merged into, or split off."""
    name: str | None
    recordings: tuple[str, ...]
    """Recordings whose transcripts were changed."""
    written: tuple[str, ...]
    """Text files that were written again."""
    edited: tuple[str, ...]
    """Text files that people have edited, which were left as they are."""


@dataclass
class _Found:
    """A group of speakers with one voice."""

    id: str
    voice: Voice | None
    members: list[Member]
    samples: dict[tuple[str, str], tuple[float, str]]

    @property
    def name(self) -> str | None:
        if self.voice and self.voice.name:
            return self.voice.name
        return next((each.speaker.name for each in self.members if each.speaker.name), None)


class VoiceBook:
    """Reads and changes the voices of one destination."""

    def __init__(self, dest: Location, options: StorageOptions | None = None, on_event: OnEvent = ignore) -> None:
        """Open the destination. Raises: SetupError: if it does not exist."""
        self._records = Records(dest.open_store(options or StorageOptions()))
        self._on_event = on_event

    def all(self) -> VoicesFound:
        """Return all voices. Raises: RetryableError: if the destination is unreachable."""
        found, n_labelled, n_unlabelled = self._find()
        voices = sorted(
            map(_summary, found),
            key=lambda each: (
                each.name is None,
                -each.spoken_s,
                each.appearances[0].recording if each.appearances else "",
            ),
        )
        return VoicesFound(tuple(voices), n_labelled, n_unlabelled)

    def name(self, voice: str, name: str) -> VoicesChanged:
        """Give a voice a name.

        Raises: ValueRefused: if there is no such voice, another one has the name, or it is no name.
        """
        name = _checked(name)
        found, _, _ = self._find()
        group = _chosen(found, voice)
        for other in found:
            if other is not group and other.name and other.name.casefold() == name.casefold():
                raise NameTaken(
                    f"{other.name!r} is already the name of the voice {other.id}. If both are one person, merge them: "
                    f"nightscribe speakers merge DEST {other.id} {group.id}"
                )
        return self._assign(group.id, name, group.members, _voiceprints(group))

    def merge(self, voice: str, others: Sequence[str]) -> VoicesChanged:
        """Make several voices one. Its name is that of the first one that has a name.

        Raises: ValueRefused: if there is no such voice.
        """
        found, _, _ = self._find()
        groups = [_chosen(found, each) for each in (voice, *others)]
        if any(each is groups[0] for each in groups[1:]):
            raise ValueRefused(f"{voice!r} is one of the voices to merge into it. Name different voices.")
        name = next((each.name for each in groups if each.name), None)
        members = [member for each in groups for member in each.members]
        prints = [encoded for each in groups for encoded in _voiceprints(each)]
        changed = self._assign(groups[0].id, name, members, prints)
        for each in groups[1:]:
            self._records.voices.delete(each.id)
        return changed

    def split(self, voice: str, recordings: Sequence[str]) -> VoicesChanged:
        """Make the speakers of some recordings a voice of their own, because they are another person.

        Raises: ValueRefused: if the voice does not speak in one of them, or in no other.
        """
        found, _, _ = self._find()
        group = _chosen(found, voice)
        wanted = {each.rpartition(MARK)[0] if MARK in each else each for each in recordings}
        if absent := sorted(wanted - {each.recording for each in group.members}):
            raise ValueRefused(f"The voice {group.id} does not speak in {absent[0]!r}.")
        apart = [each for each in group.members if each.recording in wanted]
        left = [each for each in group.members if each.recording not in wanted]
        if not left:
            raise ValueRefused(f"The voice {group.id} speaks in no other recording, so nothing is left to split off.")
        taken = {each.id for each in found}
        if group.voice:  # it was learned from all of them
            self._records.voices.put(
                group.voice.model_copy(update={"voiceprints": tuple(_means(left)), "changed_at": utc_now()})
            )
        return self._assign(_id(apart, taken), None, apart, _means(apart))

    def forget(self, voices: Sequence[str]) -> VoicesChanged:
        """Delete the voiceprints of voices, or with none given, all of the destination.

        Names stay in the transcripts, and the voices in the list, but nobody is recognized by them any more.

        Raises: ValueRefused: if there is no such voice.
        """
        found, _, _ = self._find()
        groups = [_chosen(found, each) for each in voices] if voices else found
        members = [member for each in groups for member in each.members]
        for each in groups:  # first, so that no worker recognizes the voice from here on
            self._records.voices.delete(each.id)
        if not voices:
            for known in list(self._records.voices):
                self._records.voices.delete(known.id)
        return self._rewrite(
            groups[0].id if len(groups) == 1 else "",
            groups[0].name if len(groups) == 1 else None,
            members,
            lambda speaker: speaker.model_copy(update={"embedding": None}),
        )

    # Finding

    def _find(self) -> tuple[list[_Found], int, int]:
        """Return the voices, and the number of recordings with and without labels."""
        known = list(self._records.voices)
        members: list[Member] = []
        samples: dict[tuple[str, str], tuple[float, str]] = {}
        n_labelled = n_unlabelled = 0
        for transcript in self._labelled():
            if transcript is None:
                n_unlabelled += 1
                continue
            if not transcript.speakers:
                continue  # nobody speaks in it
            n_labelled += 1
            members += [Member(transcript.recording, each) for each in recognized(transcript.speakers, known)]
            samples |= _samples(transcript)
        by_id = {voice.id: voice for voice in known}
        taken = set(by_id)
        found: list[_Found] = []
        for group in grouped(members):
            voice_id = next((each.speaker.voice for each in group if each.speaker.voice), None) or _id(group, taken)
            taken.add(voice_id)
            group.sort(key=lambda each: (each.recording, each.speaker.label))
            found.append(_Found(voice_id, by_id.pop(voice_id, None), group, samples))
        found += [_Found(voice.id, voice, [], samples) for voice in by_id.values()]
        return found, n_labelled, n_unlabelled

    def _labelled(self) -> Iterator[Transcript | None]:
        """Yield every transcript whose speakers were to be labelled, and None for each other one."""
        keys = (key for key in self._records.store.walk(TRANSCRIPTS) if key.endswith(".json"))
        for n, (_, read) in enumerate(map_concurrently(self._read, keys, self._records.store.max_concurrency), 1):
            report_alive()
            self._on_event(Comparing(n))
            yield read()

    def _read(self, key: str) -> Transcript | None:
        header = self._records.provenance_at(key)
        if header is None or header.options.speakers == OFF:
            return None
        return self._records.orphan(key)

    # Changing

    def _assign(
        self, voice_id: str, name: str | None, members: Sequence[Member], prints: Iterable[str]
    ) -> VoicesChanged:
        """Write a voice, and into the transcripts of its members that a person said whose voice it is."""
        voice = Voice(id=voice_id, name=name, voiceprints=_few(prints), changed_at=utc_now())
        self._records.voices.put(voice)  # first, so that a recording that is finished meanwhile has the name, too
        return self._rewrite(
            voice_id,
            name,
            members,
            lambda speaker: speaker.model_copy(update={"voice": voice_id, "name": name, "name_confidence": None}),
        )

    def _rewrite(
        self, voice_id: str, name: str | None, members: Sequence[Member], change: Callable[[Speaker], Speaker]
    ) -> VoicesChanged:
        labels: dict[str, set[str]] = {}
        for member in members:
            labels.setdefault(member.recording, set()).add(member.speaker.label)
        recordings: list[str] = []
        written: list[str] = []
        edited: list[str] = []
        for number, recording in enumerate(sorted(labels), 1):
            report_alive()
            self._on_event(Rewriting(number, len(labels)))
            # Read it again: it may have changed since the voices were compared.
            old = self._records.transcript(recording)
            if old is None:
                continue
            those = labels[recording]

            def changed(transcript: Transcript, those: set[str] = those) -> Transcript:
                speakers = tuple(change(each) if each.label in those else each for each in transcript.speakers)
                return transcript.model_copy(update={"speakers": speakers})

            if changed(old) == old:
                continue
            amended = self._records.amend(old, changed)
            recordings.append(recording)
            written += amended.written
            edited += amended.edited
        return VoicesChanged(voice_id, name, tuple(recordings), tuple(written), tuple(edited))


def _summary(found: _Found) -> VoiceSummary:
    name = found.name
    longest = max(
        (
            (end_s, each.recording, text)
            for each in found.members
            if (sample := found.samples.get((each.recording, each.speaker.label)))
            for end_s, text in [sample]
        ),
        key=lambda each: len(each[2]),
        default=None,
    )
    return VoiceSummary(
        id=found.id,
        name=name,
        has_voiceprint=bool(found.voice and found.voice.voiceprints)
        or any(voiceprint(each.speaker) is not None for each in found.members),
        appearances=tuple(
            Appearance(
                recording=each.recording,
                label=each.speaker.label,
                spoken_s=each.speaker.clean_s,
                confidence=each.speaker.name_confidence,
                is_named=each.speaker.name == name,
            )
            for each in found.members
        ),
        sample_at=(longest[1], longest[0]) if longest else None,
        sample=longest[2] if longest else "",
    )


def _samples(transcript: Transcript) -> dict[tuple[str, str], tuple[float, str]]:
    """Return start and text of a long sentence of each speaker."""
    found: dict[tuple[str, str], tuple[float, str]] = {}
    for segment in corrected(transcript).segments:
        key = (transcript.recording, segment.speaker or "")
        text = one_line(segment.text)
        if segment.speaker and not segment.also_speaking and len(text) > len(found.get(key, (0.0, ""))[1]):
            found[key] = segment.start_s, text
    return found


def _chosen(found: Sequence[_Found], wanted: str) -> _Found:
    """Return the voice with an id, a name, or a speaker `RECORDING#LABEL`. Raises: ValueRefused: if there is none."""
    text = wanted.strip()
    named = [each for each in found if text == each.id or (each.name or "").casefold() == text.casefold() != ""]
    if len(named) == 1:
        return named[0]
    recording, mark, label = text.rpartition(MARK)
    for each in found if mark else ():
        for member in each.members:
            # A number stands for `Speaker 2` or `channel 2`.
            if member.recording == recording and label.casefold() in (
                member.speaker.label.casefold(),
                member.speaker.label.rpartition(" ")[2],
            ):
                return each
    starts = [each for each in found if len(text) > 1 and each.id.startswith(text)]
    if len(starts) == 1:
        return starts[0]
    several = [each.id for each in named or starts]
    why = f"{wanted!r} may be {' or '.join(several)}." if several else f"There is no voice {wanted!r}."
    raise ValueRefused(f"{why} To list all voices: nightscribe speakers DEST")


def _checked(name: str) -> str:
    """Return a name without superfluous spaces. Raises: ValueRefused: if nothing is left, or it is too long."""
    made = one_line(name)
    if not made:
        raise ValueRefused("The name is empty.")
    if len(made) > MOST_NAME_CHARS:
        raise ValueRefused(f"The name has {len(made)} characters; it may have at most {MOST_NAME_CHARS}.")
    return made


def _id(members: Sequence[Member], taken: set[str]) -> str:
    """Return an id that depends on the first recording of a voice, so that it is the same in the next list."""
    keys = sorted(f"{each.recording}\0{each.speaker.label}" for each in members)
    digest = hashlib.sha256(keys[0].encode(errors="surrogatepass")).hexdigest()
    for n in range(ID_CHARS, 33):
        if (made := f"v{digest[:n]}") not in taken:
            return made
    raise AssertionError  # two recordings with the same SHA-256


def _voiceprints(group: _Found) -> list[str]:
    """Return what a voice sounds like: as it was stored, and as its recordings have it now."""
    stored = list(group.voice.voiceprints) if group.voice else []
    return _means(group.members) or stored


def _means(members: Sequence[Member]) -> list[str]:
    """Return the mean of the voiceprints of some speakers, if they have any."""
    known = [(found, each.speaker.clean_s) for each in members if (found := voiceprint(each.speaker)) is not None]
    if not known:
        return []
    prints = np.stack([found for found, _ in known])
    weights = np.array([seconds for _, seconds in known], np.float32)
    mean = (prints * weights[:, None]).sum(axis=0)
    return [encode_embedding(mean)]


def _few(prints: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(prints))[:MOST_VOICEPRINTS]
