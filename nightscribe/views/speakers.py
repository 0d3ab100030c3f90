"""Print the voices of a destination, and what a command has changed."""

import json
import shlex
from collections.abc import Iterator

from nightscribe.services.speakers import Appearance, VoicesChanged, VoicesFound, VoiceSummary
from nightscribe.shared.storage.base import Location
from nightscribe.terminal import visible, visible_lines
from nightscribe.views.cli_hints import typed
from nightscribe.views.humanize import count, duration
from nightscribe.views.search import clock

RECORDINGS_SHOWN = 5
SAMPLE_CHARS = 50


@visible_lines
def lines(found: VoicesFound, dest: Location, *, all_recordings: bool = False) -> Iterator[str]:
    """Yield the voices, each with where to hear it and its recordings."""
    if not found.voices:
        yield "No recording here has labels of speakers."
        yield f"To label them: {typed('run', 'SOURCE', shlex.quote(str(dest)), '--speakers auto')}"
        return
    n_named = sum(voice.name is not None for voice in found.voices)
    yield f"{count(len(found.voices), 'voice')} in {count(found.n_recordings, 'recording')}, {n_named} with a name"
    for voice in found.voices:
        yield ""
        yield from _voice(voice, all_recordings=all_recordings)
    unnamed = next((voice for voice in found.voices if voice.name is None and voice.appearances), None)
    yield ""
    if unnamed:
        yield f'To name a voice: {typed("speakers name", shlex.quote(str(dest)), unnamed.id)} "Grandma"'
    if found.n_unlabelled:
        yield (
            f"{count(found.n_unlabelled, 'recording')} without labels; to add them without transcribing again: "
            f"{typed('run', 'SOURCE', shlex.quote(str(dest)), '--speakers auto')}"
        )


def _voice(voice: VoiceSummary, *, all_recordings: bool) -> Iterator[str]:
    seen = voice.appearances
    where = f"{count(len(seen), 'recording')}, speaks for {duration(voice.spoken_s)}" if seen else "no recording left"
    yield f"{voice.id}  {voice.name or '(no name)'}  {where}" + ("" if voice.has_voiceprint else ", no voiceprint")
    if voice.sample_at:
        recording, at_s = voice.sample_at
        sample = voice.sample if len(voice.sample) <= SAMPLE_CHARS else voice.sample[: SAMPLE_CHARS - 1] + "…"
        yield f"    {recording} at {clock(at_s)}: {sample}"
    shown = seen if all_recordings else seen[:RECORDINGS_SHOWN]
    for each in shown:
        yield f"    {each.recording}  {each.label}{_sureness(each, voice)}"
    if len(shown) < len(seen):
        yield f"    … and {len(seen) - len(shown):,} more (--all)"


def _sureness(seen: Appearance, voice: VoiceSummary) -> str:
    if voice.name is None:
        return ""
    if not seen.is_named:
        return f"  not named yet: repeat `speakers name` with {voice.name!r}"
    return "" if seen.confidence is None else f"  recognized, similarity {seen.confidence:.2f}"


def as_object(found: VoicesFound) -> str:
    """Return the voices as one JSON object."""
    voices = [
        {
            "id": voice.id,
            "name": voice.name,
            "spoken_s": round(voice.spoken_s, 1),
            "has_voiceprint": voice.has_voiceprint,
            "sample": {"recording": voice.sample_at[0], "at_s": voice.sample_at[1], "text": voice.sample}
            if voice.sample_at
            else None,
            "recordings": [
                {
                    "recording": each.recording,
                    "label": each.label,
                    "spoken_s": each.spoken_s,
                    "confidence": each.confidence,
                    "is_named": each.is_named,
                }
                for each in voice.appearances
            ],
        }
        for voice in found.voices
    ]
    whole = {"voices": voices, "n_recordings": found.n_recordings, "n_unlabelled": found.n_unlabelled}
    return visible(json.dumps(whole, ensure_ascii=False))


@visible_lines
def changed_lines(changed: VoicesChanged, what: str) -> Iterator[str]:
    """Yield what was changed. `what`: the beginning of a sentence about the voice."""
    yield (
        f"{what} {count(len(changed.recordings), 'transcript')} and {count(len(changed.written), 'text file')} "
        "written again."
    )
    if changed.edited:
        left = "is left as it is" if len(changed.edited) == 1 else "are left as they are"
        yield f"{count(len(changed.edited), 'text file')} edited by hand {left}:"
        yield from (f"  {key}" for key in changed.edited)
