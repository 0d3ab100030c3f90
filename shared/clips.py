"""Many short recordings by one ffmpeg: starting it can cost as much as transcribing a clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.audio import Decoder, Waveform
from shared.errors import NightscribeError


@dataclass(frozen=True)
class Sound:
    """All that a `Decoder` gives of a whole file."""

    waveform: Waveform
    container_s: float | None
    decoded_s: float
    channels_cancel: bool = False


def decode_together(paths: Sequence[Path]) -> Iterator[Sound | NightscribeError]:
    """For each path in its order the sound of the whole file, or the error that its `Decoder` raises."""
    for path in paths:
        yield _decode_alone(path)


def _decode_alone(path: Path) -> Sound | NightscribeError:
    decoder = Decoder(path)
    try:
        chunks = list(decoder)
    except NightscribeError as error:
        return error
    waveform = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    return Sound(waveform, decoder.container_s, decoder.decoded_s, decoder.channels_cancel)
