"""A stream of sound cut into blocks that an engine takes at once, at quiet points and without dropping a sample."""

from collections.abc import Iterable, Iterator

import numpy as np

from shared.audio import RATE, Waveform
from shared.pauses import quietest

LONGEST_S = 300.0
SHORTEST_S = 270.0


def cut(
    chunks: Iterable[Waveform], *, shortest_s: float = SHORTEST_S, longest_s: float = LONGEST_S
) -> Iterator[tuple[float, Waveform]]:
    """(seconds from the beginning, waveform) of each block; joined, they are the sound that came in."""
    longest = round(longest_s * RATE)
    start, waiting, n_waiting = 0, [], 0
    for chunk in chunks:
        waiting.append(chunk)
        n_waiting += len(chunk)
        while n_waiting > longest:
            whole = np.concatenate(waiting)
            at = quietest(whole[:longest], round(shortest_s * RATE))
            yield start / RATE, whole[:at]
            start, waiting, n_waiting = start + at, [whole[at:]], len(whole) - at
    if n_waiting:
        yield start / RATE, np.concatenate(waiting)
