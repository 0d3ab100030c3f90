"""Hear in a window who speaks when, among at most three speakers of whom two speak at a time."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import Waveform
from nightscribe.worker.pipeline.diarize.sessions import session

FRAME_STEP = 270  # samples from one frame of the model to the next
FRAME_CENTRE = 495  # sample in the middle of what the first frame sees
SHORTEST = 8_000  # samples; shorter windows are filled with silence

# The model's classes: nobody, each of three speakers, each pair of them.
CLASSES = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]],
    dtype=bool,
)

Activity = NDArray[np.bool_]
"""Whether each speaker speaks in each frame, shape (n_frames, 3)."""


class Segmentation:
    """The segmentation model in memory."""

    def __init__(self, model: Path, threads: int) -> None:
        self._session = session(model, threads)

    def activity(self, waveform: Waveform) -> Activity:
        """Return who speaks when in a window of about ten seconds. Its numbers of speakers hold in no other window."""
        if len(waveform) < SHORTEST:
            waveform = np.pad(waveform, (0, SHORTEST - len(waveform)))
        [scores] = self._session.run(None, {"waveforms": waveform[None, None]})
        heard: Activity = CLASSES[scores[0].argmax(axis=-1)]
        return heard
