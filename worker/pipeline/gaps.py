"""Find stretches of sound that are as loud as speech but have no text. Pure; times are in seconds."""

from collections.abc import Sequence

import numpy as np

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.transcript import Segment
from nightscribe.worker.pipeline.word_boundaries import sounding

SHORTEST_GAP_S = 0.7  # a cough is shorter
LONGEST_WORD_S = 1.2  # a longer word was stretched over missing speech, and covers only its beginning and end
MARGIN_S = 0.15
SOFTER_DB = 25  # another speaker may be farther away, but softer sound is background noise


def gaps(segments: Sequence[Segment], waveform: Waveform, margin_s: float = MARGIN_S) -> list[tuple[float, float]]:
    """Return the start and end of each stretch without text that is about as loud as those with text.

    `margin_s`: by how much the times of the text may be wrong.
    """
    stretches = sounding(waveform)
    if not len(stretches):
        return []
    covered = _covered(segments, margin_s)
    spoken_db = _level(waveform, covered)
    found: list[tuple[float, float]] = []
    for start_s, end_s in _between(covered, len(waveform) / RATE):
        inside = [(max(a, start_s), min(b, end_s)) for a, b in stretches if min(b, end_s) - max(a, start_s) > 0]
        loud = [each for each in inside if _level(waveform, [each]) >= spoken_db - SOFTER_DB]
        if sum(b - a for a, b in loud) >= SHORTEST_GAP_S:
            found.append((float(loud[0][0]), float(loud[-1][1])))
    return found


def _covered(segments: Sequence[Segment], margin_s: float) -> list[tuple[float, float]]:
    """Return the stretches with text: those of the words, or of a segment whose words have no times."""
    found: list[tuple[float, float]] = []
    for segment in segments:
        for start_s, end_s, *_ in segment.words or [(segment.start_s, segment.end_s)]:
            if segment.words and end_s - start_s > LONGEST_WORD_S:
                half_s = LONGEST_WORD_S / 2
                found += [(start_s, start_s + half_s), (end_s - half_s, end_s)]
            else:
                found.append((start_s, end_s))
    return [(start_s - margin_s, end_s + margin_s) for start_s, end_s in found]


def _between(covered: Sequence[tuple[float, float]], until_s: float) -> list[tuple[float, float]]:
    found, free_s = [], 0.0
    for start_s, end_s in sorted(covered):
        if start_s - free_s >= SHORTEST_GAP_S:
            found.append((free_s, start_s))
        free_s = max(free_s, end_s)
    return [*found, (free_s, until_s)] if until_s - free_s >= SHORTEST_GAP_S else found


def _level(waveform: Waveform, stretches: Sequence[tuple[float, float]]) -> float:
    """Return the mean loudness of stretches in decibels, or a very low value if there are none."""
    parts = [waveform[max(0, round(a * RATE)) : round(b * RATE)] for a, b in stretches]
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return float(10 * np.log10(np.square(samples).mean() + 1e-10)) if len(samples) else -100.0
