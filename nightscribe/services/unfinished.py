"""Read what is finished of a recording while workers are still at the rest of it."""

import json
from collections import defaultdict
from dataclasses import dataclass

from nightscribe.shared.destination.json_store import JsonStore
from nightscribe.shared.destination.keys import parts_folder
from nightscribe.shared.destination.partial_results import CUTS, PART
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.transcript import Part, Segment
from nightscribe.shared.storage.base import Location, StorageOptions


@dataclass(frozen=True)
class Stretch:
    """A slice of a recording, as far as it is known."""

    start_s: float
    end_s: float | None
    """None for the end of the recording, where its length is not known."""
    segments: tuple[Segment, ...] | None
    """None while it is not transcribed."""


@dataclass(frozen=True)
class Unfinished:
    """A recording at which workers are, or that waits for them to go on."""

    recording: str
    stretches: tuple[Stretch, ...]
    """In order; empty for a recording that is not cut."""
    working: tuple[Activity, ...]
    """What workers do with it now."""

    @property
    def n_done(self) -> int:
        """Return the number of slices that are transcribed."""
        return sum(each.segments is not None for each in self.stretches)


def unfinished(dest: Location, recording: str, options: StorageOptions | None = None) -> Unfinished | None:
    """Return what is known of a recording without a transcript, or None if no worker has begun with it.

    Raises: RetryableError: if the destination is unreachable.
    """
    records = Records(dest.open_store(options or StorageOptions()))
    working = tuple(each for each in records.activities() if each.recording == recording and each.message)
    stretches = _stretches(records, recording)
    return Unfinished(recording, stretches, working) if working or stretches else None


def _stretches(records: Records, recording: str) -> tuple[Stretch, ...]:
    folder = parts_folder(recording)
    store = JsonStore(records.store)
    by_id: dict[str, dict[int, str]] = defaultdict(dict)
    for name in records.store.names(folder):
        identity, dash, index = name.removesuffix(PART).rpartition("-")
        if name.endswith(PART) and dash and index.isdecimal():
            by_id[identity][int(index)] = folder + name
    if not by_id:
        return ()
    # Parts of another request, such as another model, may lie beside them; the one that is furthest is shown.
    keys = max(by_id.values(), key=len)
    parts = {index: part for index, key in keys.items() if (part := store.load(Part, key))}
    if not parts:
        return ()
    fingerprint_and_cuts = records.store.get(folder + CUTS)
    cuts = _cuts(fingerprint_and_cuts) if fingerprint_and_cuts else ()
    container_s = next((part.container_s for part in parts.values() if part.container_s), None)
    bounds: list[float | None] = [0.0, *cuts, container_s]
    return tuple(
        Stretch(
            start_s=bounds[index] or 0.0,
            end_s=bounds[index + 1],
            segments=parts[index].segments if index in parts else None,
        )
        for index in range(len(cuts) + 1)
    )


def _cuts(content: bytes) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in json.loads(content)["cuts"])
    except (ValueError, KeyError, TypeError):
        return ()
