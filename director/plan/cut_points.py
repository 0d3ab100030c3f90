"""Find where to cut a long recording: at the quietest point near each boundary between slices of equal length."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.layout import read_layout
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.audio.silence import QUIET_S, quietest
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import AudioError

AROUND_S = 15.0
SILENT = 1e-4  # 80 dB below full scale
THREADS = min(8, os.cpu_count() or 1)


def quiet_cut_points(path: Readable, nominal: Sequence[float], streams: Sequence[int] = ()) -> tuple[float, ...]:
    """Return the seconds at which to cut, one near each of `nominal`. Only the sound around these is decoded.

    `streams`: the numbers of the audio tracks. If there are several, the cuts are quiet in all of them.

    Raises: AudioError: if there is no sound at one of them. RetryableError: if the file cannot be read now.
    """
    # A file without a single timeline is decoded once from its beginning, from one cut to the next.
    n_threads = THREADS if read_layout(path).is_one_timeline else 1
    with ThreadPoolExecutor(n_threads) as pool:
        return tuple(pool.map(lambda cut_s: _quietest_near(path, cut_s, streams), nominal))


def _quietest_near(path: Readable, cut_s: float, streams: Sequence[int]) -> float:
    start_s = max(0.0, cut_s - AROUND_S)
    tracks = [
        sound
        for stream in (streams if len(streams) > 1 else (None,))
        if (sound := _sound(Decoder(path, start_s, cut_s + AROUND_S, track=stream))) is not None
    ]
    if not tracks:
        raise AudioError("It is shorter than its header says.", code="cut_off")
    mixed = np.zeros(max(map(len, tracks)), np.float32)
    for sound in tracks:
        mixed[: len(sound)] += sound / max(SILENT, float(np.sqrt(np.square(sound).mean())))
    return round(start_s + quietest(tracks[0] if len(tracks) == 1 else mixed, 0) / RATE, 2)


def _sound(decoder: Decoder) -> Waveform | None:
    """Return the sound, or None if there is not enough to find a pause."""
    chunks = list(decoder)
    return np.concatenate(chunks) if sum(map(len, chunks)) >= QUIET_S * RATE else None
