"""Find where to cut a long recording: at the quietest point near each boundary between slices of equal length."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.audio.silence import QUIET_S, quietest
from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.errors import AudioError

AROUND_S = 15.0
THREADS = min(8, os.cpu_count() or 1)


def quiet_cut_points(path: Readable, nominal: Sequence[float]) -> tuple[float, ...]:
    """Return the seconds at which to cut, one near each of `nominal`. Only the sound around these is decoded.

    Raises: AudioError: if there is no sound at one of them. RetryableError: if the file cannot be read now.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return tuple(pool.map(lambda cut_s: _quietest_near(path, cut_s), nominal))


def _quietest_near(path: Readable, cut_s: float) -> float:
    start_s = max(0.0, cut_s - AROUND_S)
    chunks = list(Decoder(path, start_s, cut_s + AROUND_S))
    if sum(map(len, chunks)) < QUIET_S * RATE:
        raise AudioError("It is shorter than its header says.", code="cut_off")
    return round(start_s + quietest(np.concatenate(chunks), 0) / RATE, 2)
