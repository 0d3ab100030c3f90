"""Cut a stream of sound into windows at quiet points, without dropping a sample."""

from collections.abc import Iterable, Iterator

import numpy as np

from nightscribe.shared.audio.silence import quietest
from nightscribe.shared.audio.waveform import RATE, Waveform


def cut(chunks: Iterable[Waveform], *, shortest_s: float, longest_s: float) -> Iterator[tuple[float, Waveform]]:
    """Yield each window as (seconds from the beginning, waveform); joined, the windows are the input.

    Only the last window may be shorter than `shortest_s`.
    """
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
