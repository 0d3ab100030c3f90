"""Write the canonical transcript as JSON (`docs/transcript.schema.json`)."""

from pydantic import ValidationError

from nightscribe.shared.formats.format import Format
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return the whole record, omitting word timings unless the layout includes them."""
    hidden = None if transcript.layout.words else {"segments": {"__all__": {"words"}}}
    return (transcript.model_dump_json(indent=2, exclude=hidden) + "\n").encode()


def is_same(content: bytes, transcript: Transcript) -> bool:
    """Return whether a file has the same segments; its other fields, such as dates, may differ."""
    try:
        return _spoken(Transcript.model_validate_json(content)) == _spoken(transcript)
    except ValidationError:
        return False


def _spoken(transcript: Transcript) -> list[tuple[float, float, str]]:
    return [(segment.start_s, segment.end_s, segment.text) for segment in transcript.segments]


FORMAT = Format("json", ".json", "application/json", render, is_same)
