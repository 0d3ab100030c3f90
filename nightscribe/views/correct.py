"""Render the output of `nightscribe correct`, and read its arguments."""

import json
import re
from collections.abc import Iterator

from nightscribe.services.correct import Corrected, Corrections
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.model.transcript import Correction
from nightscribe.terminal import visible_lines
from nightscribe.views.cli_hints import typed
from nightscribe.views.humanize import count
from nightscribe.views.search import clock

_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")


def seconds(text: str) -> float:
    """Return a time such as `12.3`, `1:02` or `1:02:03` in seconds. Raises: ValueRefused: if it is none."""
    if not (found := _TIME.fullmatch(text.strip())):
        raise ValueRefused(f"--at is {text!r}: give seconds or a time such as 1:02:03.")
    hours, minutes, rest = found.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)


def as_object(done: Corrections) -> str:
    """Return the result as one JSON object on one line."""
    return json.dumps(
        {
            "version": 1,
            "dry_run": done.dry_run,
            "n_checked": done.n_checked,
            "recordings": [
                {
                    "recording": each.recording,
                    "corrections": [correction.model_dump(mode="json") for correction in each.corrections],
                    "unplaced": [correction.model_dump(mode="json") for correction in each.unplaced],
                    **{
                        name: list(getattr(each, name))
                        for name in ("sources", "contradicting", "written", "left", "relabelled")
                    },
                }
                for each in done.recordings
            ],
        }
    )


@visible_lines
def lines(done: Corrections, *, undone: bool = False) -> Iterator[str]:
    """Yield the corrections of each recording as a diff, and what is left to do. `undone`: they were taken back."""
    for each in done.recordings:
        yield from _recording(each, dry_run=done.dry_run)
    n = sum(len(each.corrections) for each in done.recordings)
    verb = ("Would take back" if done.dry_run else "Took back") if undone else "Would take" if done.dry_run else "Took"
    looked = f"in {count(done.n_checked, 'transcript')}"
    yield f"{verb} {count(n, 'correction')} {looked}." if n else f"No new correction {looked}."


def _recording(each: Corrected, *, dry_run: bool) -> Iterator[str]:
    yield f"{each.recording}" + (f", from {', '.join(each.sources)}" if each.sources else "")
    for correction in each.corrections:
        yield from _diff(correction)
    if each.written:
        yield f"  Written: {', '.join(each.written)}"
    elif each.corrections and dry_run:
        yield "  Its other texts would be written again."
    if each.contradicting:
        yield (
            f"  Not taken: {' and '.join(each.contradicting)} say different things in the same place. Make them agree, "
            "or delete one of them, and repeat the command."
        )
    for key in each.left:
        yield f"  Left as it is: {key} differs from its record in a way that was not understood."
    for key in each.relabelled:
        yield (
            f"  Left as it is: {key} differs only in names of speakers. To name a voice everywhere: "
            f"{typed('speakers name')} DEST '{each.recording}#N' NAME"
        )
    if each.unplaced:
        yield (
            f"  Not placed: {count(len(each.unplaced), 'correction')} of an earlier transcript, because the new one "
            "has other words there. Correct it again with --at if it is wrong; --discard-unplaced removes them."
        )
        for correction in each.unplaced:
            yield from _diff(correction)


def _diff(correction: Correction) -> Iterator[str]:
    at = clock(correction.start_s)
    yield f"  {at:>7}  - {correction.before}"
    yield f"  {'':>7}  + {correction.after}"
