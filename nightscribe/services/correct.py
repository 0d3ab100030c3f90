"""Correct transcripts: understand what people have changed in text files, and take corrections from programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightscribe.services.events import OnEvent, Verifying, ignore
from nightscribe.services.names import is_chosen
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import TRANSCRIPTS, output_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.destination.texts import TextsUpdated
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.formats.hand_edits import READABLE, changes_to, united, with_changes
from nightscribe.shared.formats.registry import format_names
from nightscribe.shared.model.corrections import applied, tag_of, tokens_of
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.transcript import Correction, Transcript, utc_now
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import Location, StorageOptions

NEAR_S = 1.0
UNHEARD_S = 3.0
"""Length of a passage that a person adds where the engine found no speech at all."""


class ChangedMeanwhile(ValueRefused):
    """The passage that a person wants to correct is no longer what they saw; theirs might undo somebody else's work."""

    code = "changed_meanwhile"


@dataclass(frozen=True)
class Corrected:
    """What was corrected in one recording, or would be."""

    recording: str
    corrections: tuple[Correction, ...] = ()
    """The new corrections; their text before and after."""
    sources: tuple[str, ...] = ()
    """Keys of the text files in which a person made them."""
    contradicting: tuple[str, ...] = ()
    """Keys of text files whose changes contradict each other. Nothing was taken from any file of this recording."""
    written: tuple[str, ...] = ()
    """Keys of the text files that have the corrected words now."""
    left: tuple[str, ...] = ()
    """Keys of text files that a person has changed in a way that was not understood; they were left as they are."""
    relabelled: tuple[str, ...] = ()
    """Keys of text files in which a person has changed only names of speakers; they were left as they are."""
    unplaced: tuple[Correction, ...] = ()
    """Corrections whose words the transcript no longer has, because it was made again."""

    @property
    def is_worth_telling(self) -> bool:
        """Return whether there is anything to report."""
        return bool(
            self.corrections or self.contradicting or self.written or self.left or self.relabelled or self.unplaced
        )


@dataclass(frozen=True)
class Corrections:
    """The result of looking for corrections in a destination."""

    recordings: tuple[Corrected, ...]
    """The recordings about which there is something to report."""
    n_checked: int
    dry_run: bool

    @property
    def is_clean(self) -> bool:
        """Return whether nothing is left for a person to do."""
        return not any(each.contradicting or each.left or each.unplaced for each in self.recordings)


def correct(
    dest: Location,
    names: Sequence[str] = (),
    *,
    by: str,
    dry_run: bool = False,
    options: StorageOptions | None = None,
    on_event: OnEvent = ignore,
) -> Corrections:
    """Take what people have changed in .txt, .vtt and .srt files into the records, and write it into the other files.

    `names`: patterns or parts of the paths of recordings; empty for all. `by`: who made the changes.

    Raises: ValueRefused: if no recording matches `names`. RetryableError: if the destination is unreachable.
    """
    records = _open(dest, options)
    n = records.count(TRANSCRIPTS)
    found, n_checked = [], 0
    chosen = list[str]()

    def look(key: str) -> Corrected | None:
        provenance = records.provenance_at(key)
        if provenance is None or not is_chosen(provenance.recording, names):
            return None
        chosen.append(provenance.recording)
        return _take_edits(records, provenance.recording, by=by, dry_run=dry_run)

    keys = (key for key in records.store.walk(TRANSCRIPTS) if key.endswith(".json"))
    for number, (_, looked) in enumerate(map_concurrently(look, keys, records.store.max_concurrency)):
        report_alive()
        on_event(Verifying(number, n))
        if done := looked():
            n_checked += 1
            if done.is_worth_telling:
                found.append(done)
    if names and not chosen:
        patterns = ", ".join(map(repr, names))
        raise ValueRefused(f"No transcript matches {patterns}; give a part of a recording's path, or a glob.")
    return Corrections(tuple(found), n_checked, dry_run)


def correct_passage(
    dest: Location,
    recording: str,
    at_s: float,
    text: str,
    *,
    by: str,
    tag: str | None = None,
    dry_run: bool = False,
    options: StorageOptions | None = None,
) -> Corrected:
    """Replace the text of the passage at a time by another one; an empty text removes it.

    Only the words that differ become corrections. Changes that people have made in text files are taken first.
    `tag`: `tag_of` the text that the person saw there. Of two passages at that time, it also tells which one is meant.

    Raises: ValueRefused: if nobody speaks at that time, or the recording has no transcript. ChangedMeanwhile: if the
    passage has other words than those of the tag.
    """
    records = _open(dest, options)
    if not dry_run:
        _take_edits(records, recording, by=by, dry_run=False)

    def change(old: Transcript) -> Transcript:
        return _with_passage(old, at_s, text, by, tag)

    return _revised(records, recording, change, dry_run=dry_run)


def undo(
    dest: Location, recording: str, *, by: str, dry_run: bool = False, options: StorageOptions | None = None
) -> Corrected:
    """Take back the last corrections of a recording, all that were made together, by corrections to the contrary.

    Raises: ValueRefused: if there is none, or the recording has no transcript.
    """
    records = _open(dest, options)

    def change(old: Transcript) -> Transcript:
        if not old.corrections:
            raise ValueRefused(f"{recording!r} has no correction that could be taken back.")
        last = old.corrections[-1]
        before = tuple(each for each in old.corrections if (each.at, each.by) != (last.at, last.by))
        former = applied(old.model_copy(update={"corrections": before})).segments
        text = "\n".join(each.text for each in sorted(former, key=lambda each: (each.start_s, each.end_s)))
        tokens = tokens_of(old, by_time=True)
        return with_changes(old, changes_to(tokens, 0, len(tokens), text), by=by, at=utc_now())

    return _revised(records, recording, change, dry_run=dry_run)


def discard_unplaced(
    dest: Location, recording: str, *, dry_run: bool = False, options: StorageOptions | None = None
) -> Corrected:
    """Remove the corrections of a recording that could not be placed in its new transcript.

    Raises: ValueRefused: if the recording has no transcript.
    """
    records = _open(dest, options)

    def change(old: Transcript) -> Transcript:
        unplaced = applied(old).unplaced
        return old.model_copy(update={"corrections": tuple(each for each in old.corrections if each not in unplaced)})

    return _revised(records, recording, change, dry_run=dry_run)


def _open(dest: Location, options: StorageOptions | None) -> Records:
    return Records(dest.open_store(options or StorageOptions()))


def _take_edits(records: Records, recording: str, *, by: str, dry_run: bool) -> Corrected | None:
    """Take the changes of all text files of one recording into its record, and write them into the others."""
    try:
        old = records.transcript(recording)
    except NewerRecord:
        return None
    if old is None:
        return None
    formats = _formats(old)
    taken: tuple[FormatName, ...] = ()
    contradicting: tuple[FormatName, ...] = ()
    edits = records.texts.edits(old, [fmt for fmt in formats if fmt in READABLE])
    relabelled = [output_key(old.stem, fmt) for fmt, each in edits.items() if each.n_others and not each.changes]
    edits = {fmt: each for fmt, each in edits.items() if each.changes}
    changes, contradicting = united(edits.items())

    def change(current: Transcript) -> Transcript:
        nonlocal taken
        taken = ()
        if not edits or contradicting or _spoken(current) != _spoken(old):
            return current  # it was changed in the meantime: the next look compares the files with that
        taken = tuple(edits)
        return with_changes(current, changes, by=by, at=utc_now())

    if dry_run:
        before, new = old, change(old)
    else:
        if (revised := records.revise(recording, change)) is None:
            return None
        before, new = revised
    updated = (
        TextsUpdated((), ()) if contradicting else records.texts.update(before, new, formats, taken, dry_run=dry_run)
    )
    return Corrected(
        recording=recording,
        corrections=new.corrections[len(before.corrections) :],
        sources=tuple(output_key(old.stem, fmt) for fmt in taken),
        contradicting=tuple(output_key(old.stem, fmt) for fmt in contradicting),
        written=() if dry_run else updated.written,
        left=tuple(key for key in updated.left if key not in relabelled),
        relabelled=tuple(relabelled),
        unplaced=applied(new).unplaced if new.corrections else (),
    )


def _revised(
    records: Records, recording: str, change: Callable[[Transcript], Transcript], *, dry_run: bool
) -> Corrected:
    if dry_run:
        old = records.transcript(recording)
        revised = (old, change(old)) if old else None
    else:
        revised = records.revise(recording, change)
    if revised is None:
        raise ValueRefused(f"{recording!r} has no transcript; give the path of a recording below SOURCE.")
    old, new = revised
    updated = TextsUpdated((), ()) if dry_run else records.texts.update(old, new, _formats(new))
    return Corrected(
        recording=recording,
        corrections=new.corrections[len(old.corrections) :],
        written=updated.written,
        left=updated.left,
        unplaced=applied(new).unplaced if new.corrections else (),
    )


def _formats(transcript: Transcript) -> tuple[FormatName, ...]:
    """Return the formats of which there may be files, those that can be read first."""
    return tuple(dict.fromkeys((*READABLE, *transcript.formats, *format_names())))


def _spoken(transcript: Transcript) -> tuple[datetime, tuple[Correction, ...]]:
    return transcript.finished_at, transcript.corrections


def _with_passage(transcript: Transcript, at_s: float, text: str, by: str, tag: str | None) -> Transcript:
    tokens = tokens_of(transcript, by_time=True)
    if not tokens:  # the engine found nobody who speaks
        added = Correction(by=by, at=utc_now(), start_s=at_s, end_s=at_s + UNHEARD_S, before="", after=text.strip())
        kept = transcript.corrections
        return transcript.model_copy(update={"corrections": (*kept, added)}) if added.after else transcript
    places: dict[int, list[int]] = {}
    for at, token in enumerate(tokens):
        places.setdefault(token.segment, []).append(at)

    def distance_s(number: int) -> tuple[float, float]:
        inside = [tokens[at] for at in places[number]]
        start_s, end_s = inside[0].start_s, inside[-1].end_s
        if number < len(transcript.segments):
            segment = transcript.segments[number]
            start_s, end_s = min(start_s, segment.start_s), max(end_s, segment.end_s)
        return max(0.0, start_s - at_s, at_s - end_s), -start_s

    def is_meant(number: int) -> bool:
        return tag_of(" ".join(tokens[at].text for at in places[number])) == tag

    nearest = min(places, key=distance_s)
    if tag is not None:
        meant = [number for number in places if distance_s(number)[0] <= NEAR_S and is_meant(number)]
        if not meant:
            raise ChangedMeanwhile(
                f"Somebody else has changed the passage at {at_s:g} s in {transcript.recording!r}; read it again first."
            )
        nearest = min(meant, key=distance_s)
    if distance_s(nearest)[0] > NEAR_S:
        raise ValueRefused(
            f"Nobody speaks at {_clock(at_s)} in {transcript.recording!r}; give a time at which there is text."
        )
    changes = changes_to(tokens, places[nearest][0], places[nearest][-1] + 1, text)
    return with_changes(transcript, changes, by=by, at=utc_now()) if changes else transcript


def _clock(seconds: float) -> str:
    """Return `1:02:03` or `2:03`."""
    minutes, rest_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"
