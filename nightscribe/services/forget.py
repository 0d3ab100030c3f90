"""Delete what a destination holds of recordings, for good, so that no run transcribes them again."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from nightscribe.search.place import index_path, only_updater, open_index
from nightscribe.services.events import Forgetting, OnEvent, ignore
from nightscribe.services.names import is_exactly
from nightscribe.services.run_record import is_live
from nightscribe.shared.destination.erasure import Traces, erase, traces
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import FAILURES, PARTS, TRANSCRIPTS, transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.destination.tombstones import Hashes, Tombstones
from nightscribe.shared.errors import NightscribeError, ValueRefused
from nightscribe.shared.model.transcript import Provenance, utc_now
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import Location, StorageOptions
from nightscribe.shared.storage.registry import parse_location

log = structlog.get_logger()


@dataclass(frozen=True)
class Forgotten:
    """What was deleted, or would be."""

    recordings: tuple[Traces, ...]
    newer: tuple[str, ...]
    """Recordings with records of a newer release, which were left alone."""
    dry_run: bool
    is_at_work: bool
    """Whether a run or a director is active, which may be working on one of them."""
    kept_too: bool = False
    """Whether kept copies were deleted, too."""

    @property
    def n_kept(self) -> int:
        """Return the number of kept copies of these recordings."""
        return sum(len(each.kept) for each in self.recordings)


@dataclass(frozen=True)
class Allowed:
    """Recordings that the next run may transcribe again."""

    n_allowed: int
    n_left: int
    """Recordings that stay forgotten."""


def find(dest: Location, names: Sequence[str], *, options: StorageOptions | None = None) -> Forgotten:
    """Return what `forget` would delete, without deleting anything."""
    return forget(dest, names, dry_run=True, options=options)


def forget(
    dest: Location,
    names: Sequence[str],
    *,
    kept_too: bool = False,
    dry_run: bool = False,
    options: StorageOptions | None = None,
    on_event: OnEvent = ignore,
) -> Forgotten:
    """Delete the texts and all records of recordings for good, and keep them from being transcribed again.

    Args:
        names: paths of recordings or folders below the source, or globs of whole paths.
        kept_too: also delete copies such as `talk (kept).txt`.

    Raises: ValueRefused: if no name is given. RetryableError: if the destination is unreachable.
    """
    if not names:
        raise ValueRefused("Give the paths of the recordings to forget, a folder of them, or a glob.")
    records = Records(dest.open_store(options or StorageOptions()))
    chosen = sorted(recording for recording in _recordings(records) if is_exactly(recording, names))
    return _forget(dest, records, chosen, kept_too=kept_too, dry_run=dry_run, on_event=on_event)


def forget_one(
    dest: Location, recording: str, *, kept_too: bool = False, options: StorageOptions | None = None
) -> Forgotten:
    """Delete the texts and all records of one recording for good, without looking at the others.

    Nothing is deleted, and `recordings` is empty, if the destination holds nothing of it.

    Raises: RetryableError: if the destination is unreachable.
    """
    records = Records(dest.open_store(options or StorageOptions()))
    with suppress(NewerRecord):  # `_forget` reports it
        if not traces(records, recording):
            return Forgotten((), (), dry_run=False, is_at_work=False, kept_too=kept_too)
    return _forget(dest, records, [recording], kept_too=kept_too, dry_run=False, on_event=ignore)


def forget_old(dest: Location, days: float, *, options: StorageOptions | None = None) -> Forgotten:
    """Delete for good the transcripts that were made more than so many days ago; kept copies are deleted, too.

    Raises: RetryableError: if the destination is unreachable.
    """
    records = Records(dest.open_store(options or StorageOptions()))
    before = utc_now() - timedelta(days=days)
    old = sorted(each.recording for each in _finished(records) if each.finished_at < before)
    return _forget(dest, records, old, kept_too=True, dry_run=False, on_event=ignore)


def allow(
    dest: Location,
    names: Sequence[str],
    *,
    source: Location | None = None,
    dry_run: bool = False,
    options: StorageOptions | None = None,
) -> Allowed:
    """Let the next run transcribe forgotten recordings again.

    A tombstone does not say whose it is. So the names are paths of recordings, or, where the source can be read, also
    folders and globs.

    Raises: RetryableError: if the destination is unreachable.
    """
    options = options or StorageOptions()
    records = Records(dest.open_store(options))
    tombstones = Tombstones(records.store).load()
    n = len(tombstones)
    found: set[Hashes] = {each for name in names for each in tombstones.of_path(name)}
    place = source or _last_source(records)
    if place is not None and n:
        recordings = place.open_source(options, leave_out=dest)
        with suppress(*((NightscribeError,) if source is None else ())):
            for folder in recordings.folders():
                for recording in folder.recordings:
                    if is_exactly(recording.path, names) and (hashes := tombstones.find(recording, recordings)):
                        found.add(hashes)
    if not dry_run:
        tombstones.remove(found)
    return Allowed(len(found), n - len(found))


def _forget(
    dest: Location, records: Records, chosen: Sequence[str], *, kept_too: bool, dry_run: bool, on_event: OnEvent
) -> Forgotten:
    tombstones = Tombstones(records.store)
    if not dry_run and chosen:
        tombstones.load()
    found, newer = list[Traces](), list[str]()
    last = records.last_run()
    for number, recording in enumerate(chosen, 1):
        report_alive()
        on_event(Forgetting(number, len(chosen)))
        try:
            each = traces(records, recording)
        except NewerRecord:
            newer.append(recording)
            continue
        if not dry_run:
            erase(records, tombstones, each, kept_too=kept_too)
            log.info("recording.forgotten", recording=recording)
        found.append(each)
    if not dry_run and found:
        _forget_in_index(dest, [each.recording for each in found])
    return Forgotten(
        recordings=tuple(found),
        newer=tuple(newer),
        dry_run=dry_run,
        is_at_work=last is not None and is_live(last),
        kept_too=kept_too,
    )


def _forget_in_index(dest: Location, recordings: Iterable[str]) -> None:
    """Remove recordings from the search index of this machine, so that their words are in no file any more."""
    path = index_path(dest)
    if not path.exists():
        return
    keys = [transcript_key(recording).removeprefix(TRANSCRIPTS) for recording in recordings]
    with only_updater(path, lambda: None), open_index(path) as index:
        index.remove(keys)
        index.erase_removed()


def _recordings(records: Records) -> set[str]:
    """Return the paths of all recordings of which the destination holds something."""
    found = {each.recording for each in _finished(records)}
    found |= {failure.recording for failure in records.failures()}
    for key in records.store.walk(PARTS):  # a shortened name cannot be told from its folder
        found.add(key.removeprefix(PARTS).rpartition("/")[0])
    for key in records.store.walk(FAILURES):
        if key.endswith(".json"):
            found.add(key.removeprefix(FAILURES).removesuffix(".json"))
    return found


def _finished(records: Records) -> Iterator[Provenance]:
    keys = (key for key in records.store.walk(TRANSCRIPTS) if key.endswith(".json"))
    for _, read in map_concurrently(records.provenance_at, keys, records.store.max_concurrency):
        report_alive()
        if provenance := read():
            yield provenance


def _last_source(records: Records) -> Location | None:
    last = records.last_run()
    if last is None:
        return None
    place = parse_location(last.source)
    return place if place.local_path is None or place.local_path.is_dir() else None
