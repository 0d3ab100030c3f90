"""Write the canonical transcript as JSON (`docs/transcript.schema.json`)."""

from typing import Any

from pydantic import ValidationError

from nightscribe.shared.formats.format import Format
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return the whole record, omitting voiceprints, and word timings unless the layout includes them.

    Voiceprints identify people, and this file may be passed on.
    """
    hidden: dict[str, Any] = {"speakers": {"__all__": {"embedding"}}}
    if not transcript.layout.words:
        hidden["segments"] = {"__all__": {"words"}}
    return (transcript.model_dump_json(indent=2, exclude=hidden) + "\n").encode()


def is_same(content: bytes, transcript: Transcript) -> bool:
    """Return whether a file has the same segments; its other fields, such as dates, may differ."""
    try:
        return _spoken(Transcript.model_validate_json(content)) == _spoken(transcript)
    except ValidationError:
        return False


def _spoken(transcript: Transcript) -> tuple[object, ...]:
    return (
        [(segment.start_s, segment.end_s, segment.speaker, segment.text) for segment in transcript.segments],
        [(speaker.label, speaker.name) for speaker in transcript.speakers],
    )


FORMAT = Format("json", ".json", "application/json", render, is_same)
