"""Cut an excerpt out of a recording."""

import numpy as np

from nightscribe.server.compat.pcm import header_for
from nightscribe.server.jobs.spool import Spool, Upload
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.passes import end_waiting

FULL_SCALE = 32_767


def excerpt(spool: Spool, recording: Upload, start_s: float, seconds: float) -> Upload:
    """Return a stretch of a recording as a WAV file of its own.

    Raises: AudioError: if it holds no sound. RetryableError: if it cannot be read now, or the disk is full.
    """
    incoming = spool.begin(f"{recording.name}.wav")
    try:
        incoming.write(header_for(b""))
        for waveform in Decoder(recording.path, start_s, start_s + seconds):
            incoming.write((np.clip(waveform, -1, 1) * FULL_SCALE).astype("<i2").tobytes())
        return incoming.finish()
    except BaseException:
        incoming.abort()
        raise
    finally:
        end_waiting()  # nobody decodes the rest
