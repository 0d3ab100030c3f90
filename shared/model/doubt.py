"""Find the passages of a transcript that a person should look at. Pure."""

from nightscribe.shared.model.corrections import corrected
from nightscribe.shared.model.transcript import Segment, Transcript

SAME_S = 0.05
"""How far the start of a passage may be from that of the passage that a person looked at."""


def is_settled(transcript: Transcript, segment: Segment) -> bool:
    """Return whether a person has looked at this passage, corrected a word of it, or approved the whole transcript."""
    return (
        transcript.reviewed is not None
        or any(abs(each.start_s - segment.start_s) <= SAME_S for each in transcript.looked_at)
        or any(
            each.start_s == segment.start_s or (each.start_s < segment.end_s and each.end_s > segment.start_s)
            for each in transcript.corrections
        )
    )


def doubtful(transcript: Transcript) -> tuple[Segment, ...]:
    """Return the passages in doubt that no person has settled, as they are after corrections."""
    if transcript.reviewed or all(segment.confidence is None for segment in transcript.segments):
        return ()
    return tuple(
        segment
        for segment in corrected(transcript).segments
        if segment.confidence is not None and not is_settled(transcript, segment)
    )
