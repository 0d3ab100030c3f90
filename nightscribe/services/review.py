"""Note in the record that a person has looked at a passage in doubt, or approved a whole transcript."""

from collections.abc import Callable

from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.model.corrections import corrected
from nightscribe.shared.model.doubt import SAME_S
from nightscribe.shared.model.transcript import LookedAt, Review, Transcript, utc_now
from nightscribe.shared.storage.base import Location, StorageOptions


def look_at(
    dest: Location,
    recording: str,
    start_s: float,
    *,
    by: str,
    is_right: bool = True,
    options: StorageOptions | None = None,
) -> Transcript:
    """Note that a person found the passage with this start right, or with `is_right=False`, take that back.

    Raises: ValueRefused: if there is no such passage.
    """

    def change(old: Transcript) -> Transcript:
        kept = tuple(each for each in old.looked_at if abs(each.start_s - start_s) > SAME_S)
        if not is_right:
            return old.model_copy(update={"looked_at": kept})
        if len(kept) < len(old.looked_at):
            return old
        if not any(abs(each.start_s - start_s) <= SAME_S for each in corrected(old).segments):
            raise ValueRefused(f"No passage of {recording!r} begins at {start_s:g} s; reload the transcript.")
        return old.model_copy(update={"looked_at": (*kept, LookedAt(by=by, at=utc_now(), start_s=start_s))})

    return _revised(dest, recording, change, options)


def approve(
    dest: Location, recording: str, *, by: str, is_approved: bool = True, options: StorageOptions | None = None
) -> Transcript:
    """Note that a person approved the whole transcript, or with `is_approved=False`, take that back.

    Raises: ValueRefused: if the recording has no transcript.
    """

    def change(old: Transcript) -> Transcript:
        return old.model_copy(update={"reviewed": Review(by=by, at=utc_now()) if is_approved else None})

    return _revised(dest, recording, change, options)


def _revised(
    dest: Location, recording: str, change: Callable[[Transcript], Transcript], options: StorageOptions | None
) -> Transcript:
    revised = Records(dest.open_store(options or StorageOptions())).revise(recording, change)
    if revised is None:
        raise ValueRefused(f"{recording!r} has no transcript; give the path of a recording below SOURCE.")
    return revised[1]
