"""Run a CTC model that reads the waveform itself, such as wav2vec2 and HuBERT, and decode it.

Its folder is laid out as the documentation of onnx-asr describes for `wav2vec2-ctc` (docs/conversion.md there): a graph
that normalizes the sound, takes `input_values` and `input_lengths` and returns `logprobs`; and `vocab.txt`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.worker.engines.onnx_asr import ctc
from nightscribe.worker.engines.onnx_asr.words import TimedToken

BLANK = "<blk>"
STRIDE = 320  # samples from one frame to the next, unless the model's config.json says otherwise
RELEASE_S = 0.1  # a model marks where a sound begins; the last letter of a word is audible for about this long


class Wav2Vec2:
    """A model in memory."""

    def __init__(
        self, graph: Path, vocabulary: Mapping[int, str], config: Mapping[str, Any], session_options: Any
    ) -> None:
        self._session = onnxruntime.InferenceSession(graph, session_options, providers=["CPUExecutionProvider"])
        self._vocabulary = vocabulary
        self._blank = next(number for number, token in vocabulary.items() if token == BLANK)
        self._frame_s = int(config.get("subsampling_factor", STRIDE)) / RATE

    def recognize(self, waveform: Waveform, *, beams: int = 1) -> list[TimedToken]:
        """Return the letters said in a waveform, with a space before each word. More than one beam searches wider."""
        inputs = {"input_values": waveform[None], "input_lengths": np.array([len(waveform)], np.int64)}
        [logarithms] = self._session.run(["logprobs"], inputs)[0]
        found = ctc.greedy(logarithms, self._blank) if beams <= 1 else ctc.beam(logarithms, self._blank, width=beams)
        return [
            TimedToken(
                self._vocabulary[token.id],
                token.first * self._frame_s,
                token.end * self._frame_s + RELEASE_S,
                token.log_probability,
            )
            for token in found
            if not _is_special(self._vocabulary[token.id])
        ]


def _is_special(token: str) -> bool:
    """Return whether a token stands for no text, such as `<unk>`."""
    return len(token) > 1 and token[0] + token[-1] in ("<>", "[]")
