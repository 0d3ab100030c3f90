"""A stream of sound cut into windows that Whisper hears at once, at quiet points and without dropping a sample."""

from collections.abc import Iterable, Iterator

import numpy as np

from nightscribe.shared.audio.decode import RATE, Waveform
from nightscribe.shared.audio.silence import quietest

LONGEST_S = 18.0  # Whisper hears up to 30 s at once, but listens to shorter windows in less time per second
SHORTEST_S = 10.0


def cut(
    chunks: Iterable[Waveform], *, shortest_s: float = SHORTEST_S, longest_s: float = LONGEST_S
) -> Iterator[tuple[float, Waveform]]:
    """(seconds from the beginning, waveform) of each window; joined, they are the sound that came in."""
    longest = round(longest_s * RATE)
    start, waiting, n_waiting = 0, [], 0
    for chunk in chunks:
        waiting.append(chunk)
        n_waiting += len(chunk)
        if n_waiting <= longest:
            continue
        whole = np.concatenate(waiting)
        while len(whole) > longest:
            at = quietest(whole[:longest], round(shortest_s * RATE))
            yield start / RATE, whole[:at].copy()  # a view would keep the whole chunk in memory
            start, whole = start + at, whole[at:]
        waiting, n_waiting = [whole], len(whole)
    if n_waiting:
        yield start / RATE, np.concatenate(waiting)
