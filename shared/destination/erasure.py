"""Delete everything that a destination holds of one recording."""

import re
from dataclasses import dataclass, field

from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import (
    DAMAGED,
    FAILURES,
    HASHES,
    PARTS,
    REQUESTS,
    TRANSCRIPTS,
    failure_key,
    hash_key,
    output_key,
    parts_folder,
    peaks_key,
    transcript_key,
    with_suffix,
)
from nightscribe.shared.destination.records import Records
from nightscribe.shared.destination.texts import is_ours
from nightscribe.shared.destination.tombstones import Tombstones
from nightscribe.shared.formats.hand_edits import READABLE
from nightscribe.shared.formats.registry import format_names, suffix_of
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import RECORDS_FOLDER, REQUESTS_FOLDER
from nightscribe.shared.model.transcript import Provenance, Transcript


@dataclass(frozen=True)
class Traces:
    """The files that a destination holds of one recording."""

    recording: str
    texts: tuple[str, ...] = ()
    """Keys of the text files of its transcript."""
    edited: tuple[str, ...] = ()
    """Those of them that a person has changed."""
    kept: tuple[str, ...] = ()
    """Keys of copies that were kept because a person had changed them, such as `talk (kept).txt`."""
    records: tuple[str, ...] = ()
    """Keys of its records: transcript, hash, failure, unfinished work, and damaged ones that were moved aside."""
    n_corrections: int = 0
    transcript: Transcript | None = field(default=None, repr=False)
    failure: Failure | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return bool(self.texts or self.records or self.kept)


def traces(records: Records, recording: str) -> Traces:
    """Return what a destination holds of a recording. Raises: NewerRecord: if a newer release wrote one of its records.

    A file of its name that is neither made from its transcript nor of a format that was requested belongs to somebody
    else, and is left out.
    """
    store = records.store
    provenance = records.provenance(recording)  # raises NewerRecord
    failure = records.failure(recording)
    transcript = records.transcript(recording) if provenance else None
    header: Provenance | None = transcript or records.damaged(recording)
    claimed = records.partial_results.claimed_stem(recording)
    texts, edited = list[str](), list[str]()
    stems = dict.fromkeys(stem for stem in (header.stem if header else None, claimed) if stem)
    for stem in stems:
        for fmt in format_names():
            key = output_key(stem, fmt)
            if (content := store.get(key)) is None or key in texts:
                continue
            if transcript and stem == transcript.stem and is_ours(content, fmt, transcript):
                texts.append(key)
            elif fmt in (header.formats if header else READABLE):
                texts.append(key)
                edited.append(key)
    folder = parts_folder(recording)
    own = [transcript_key(recording), hash_key(recording), failure_key(recording), peaks_key(recording)]
    found = [key for key in own if store.ends(key, 1, 0) is not None]
    found += [folder + name for name in store.names(folder)]
    found += _moved_aside(records, recording)
    return Traces(
        recording=recording,
        texts=tuple(texts),
        edited=tuple(edited),
        kept=tuple(key for stem in stems for key in _kept(records, stem)),
        records=tuple(found),
        n_corrections=len(transcript.corrections) if transcript else 0,
        transcript=transcript,
        failure=failure,
    )


def erase(records: Records, tombstones: Tombstones, found: Traces, *, kept_too: bool = False) -> None:
    """Delete what was found, for good, and write a tombstone first, so that no run transcribes the recording again.

    The transcript's record comes last: if this is interrupted, it can be repeated.
    """
    settled = found.transcript or found.failure
    if settled:
        content = records.content_hash(found.transcript) if found.transcript else None
        fingerprint, size = settled.fingerprint, settled.size
        tombstones.add(found.recording, size, fingerprint, content.sha256 if content else None)
    else:
        tombstones.add(found.recording, None, None, None)
    if found.transcript:
        _erase_voiceprints(records, found.transcript)
    last = transcript_key(found.recording)
    for key in (*found.texts, *(found.kept if kept_too else ()), *(key for key in found.records if key != last), last):
        records.store.delete(key)


def discard(records: Records, recording: str) -> None:
    """Delete all records of a recording that is in nobody's library, and that can never come back under this name."""
    folder = parts_folder(recording)
    for key in (
        failure_key(recording),
        hash_key(recording),
        *(folder + name for name in records.store.names(folder)),
        transcript_key(recording),
    ):
        records.store.delete(key)


def recordings_of_requests(records: Records) -> set[str]:
    """Return the recordings of requests of which there are records."""
    found = set()
    for key in records.store.walk(REQUESTS):
        tree, _, name = key.removeprefix(REQUESTS).partition("/")
        is_part = PARTS.endswith(f"/{tree}/")
        found.add(f"{REQUESTS_FOLDER}/{name.partition('/')[0] if is_part else name.removesuffix('.json')}")
    return found


def _kept(records: Records, stem: str) -> list[str]:
    folder, slash, name = stem.rpartition("/")
    suffixes = "|".join(re.escape(suffix_of(fmt)) for fmt in format_names())
    pattern = re.compile(rf"{re.escape(name)} \(kept(?: \d+)?\)(?:{suffixes})")
    return [folder + slash + each for each in records.store.names(folder + slash) if pattern.fullmatch(each)]


def _moved_aside(records: Records, recording: str) -> list[str]:
    """Return the damaged records of a recording that `verify --repair` has moved aside."""
    below = tuple(
        tree.removeprefix(f"{RECORDS_FOLDER}/") + with_suffix(recording, ".json")
        for tree in (TRANSCRIPTS, HASHES, FAILURES)
    )
    parts = PARTS.removeprefix(f"{RECORDS_FOLDER}/") + with_suffix(recording, "") + "/"
    found = []
    for key in records.store.walk(DAMAGED):
        name = re.sub(r"^\d+/", "", key.removeprefix(DAMAGED))
        if name in below or name.startswith(parts):
            found.append(key)
    return found


def _erase_voiceprints(records: Records, transcript: Transcript) -> None:
    """Remove the voiceprints that voices have from this recording, and voices that have no other."""
    prints = {speaker.embedding for speaker in transcript.speakers if speaker.embedding}
    for voice_id in {speaker.voice for speaker in transcript.speakers if speaker.voice}:
        try:
            voice = records.voices.get(voice_id)
        except NewerRecord:
            continue
        if voice is None or prints.isdisjoint(voice.voiceprints):
            continue
        left = tuple(each for each in voice.voiceprints if each not in prints)
        if left:
            records.voices.put(voice.model_copy(update={"voiceprints": left}))
        else:
            records.voices.delete(voice_id)
