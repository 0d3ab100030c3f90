"""Assemble the transcript of a recording from the results of its slices."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from nightscribe.shared.model.jobs import Job, Slice
from nightscribe.shared.model.transcript import Flag, Part, Segment, Transcript

JOINED_S = 10  # no header is wrong by so much, unless it is that of another recording


def merge(job: Job, slice_: Slice, parts: Sequence[Part], *, mtime_ns: int | None, finished_at: datetime) -> Transcript:
    """Assemble the transcript of a recording from the parts of all its slices, given in order."""
    spoken: Counter[str] = Counter()
    for part in parts:
        if part.language:
            spoken[part.language] += max(1, round(part.decoded_s))
    flags = {flag for part in parts for flag in part.flags}
    if not all(Flag.NO_SPEECH in part.flags for part in parts):
        flags.discard(Flag.NO_SPEECH)
    container_s = max((part.container_s for part in parts if part.container_s is not None), default=None)
    decoded_s = sum(part.decoded_s for part in parts)
    if container_s is not None and decoded_s > container_s + JOINED_S:
        container_s = None  # the header is that of the first of several recordings in one file
    if len(spoken) > 1:
        flags.add(Flag.LANGUAGE_CHANGES)
    segments = tuple(segment for part in parts for segment in part.segments)
    return Transcript(
        recording=slice_.recording,
        fingerprint=slice_.fingerprint,
        size=slice_.size,
        mtime_ns=mtime_ns,
        stem=slice_.stem,
        formats=job.formats,
        layout=job.layout,
        options=job.options,
        redo=job.redo,
        engine=", ".join(sorted({part.engine for part in parts})),
        language=spoken.most_common(1)[0][0] if spoken else None,
        language_prior=next((part.language_prior for part in parts if part.language_prior), None),
        container_s=container_s,
        decoded_s=round(decoded_s, 3),
        processing_s=round(sum(part.processing_s for part in parts), 3),
        flags=tuple(sorted(flags)),
        tracks=next((part.tracks for part in parts if part.tracks), ()),
        plain=any(part.plain for part in parts),
        confidence=_confidence(segments),
        finished_at=finished_at,
        segments=segments,
    )


def _confidence(segments: Sequence[Segment]) -> float | None:
    """Return the mean confidence of the segments that have one, weighted by their texts; None if none has."""
    weights = [(segment.confidence, len(segment.text)) for segment in segments if segment.confidence is not None]
    total = sum(weight for _, weight in weights)
    return round(sum(value * weight for value, weight in weights) / total, 3) if total else None
