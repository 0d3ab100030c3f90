"""Make the waveform of a recording: how loud it is at each moment, in a few kilobytes.

Workers have no part in it. The server decodes a recording when its page is opened for the first time, one recording at
a time and with low priority, and stores the result beside the records, where it can be deleted without loss.
"""

import os
import threading
from collections import OrderedDict
from contextlib import suppress

import numpy as np
import structlog

from nightscribe.server.context import Context
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.destination.keys import peaks_key
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.transcript import Provenance

log = structlog.get_logger()

N_PEAKS = 2_400
"""More than a wide screen has bars."""
STEP_S = 0.05
MOST_FAILED = 1_000
NICENESS = 15


class Peaks:
    """Makes and keeps the peaks of recordings."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.dest.open_store(context.storage)
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, str] = OrderedDict()
        self._failed: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._thread: threading.Thread | None = None

    def get(self, transcript: Provenance) -> bytes | None:
        """Return one byte for each peak, or None while they are being made; empty if there are none.

        Raises: RetryableError: if the destination is unreachable.
        """
        recording, fingerprint = transcript.recording, transcript.fingerprint
        content = self._store.get(peaks_key(recording))
        if content is not None:
            made_of, _, peaks = content.partition(b"\n")
            if made_of == fingerprint.encode():
                return peaks
        if self._context.source is None or (recording, fingerprint) in self._failed:
            return b""
        with self._lock:
            self._waiting[recording] = fingerprint
            self._waiting.move_to_end(recording)  # the page that was opened last goes first
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="peaks", daemon=True)
                self._thread.start()
        return None

    def _work(self) -> None:
        with suppress(OSError):  # ffmpeg inherits it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                recording, fingerprint = self._waiting.popitem()
            try:
                self._make(recording, fingerprint)
            except (NightscribeError, OSError) as error:
                log.info("peaks.failed", recording=recording, why=str(error))
                self._failed[(recording, fingerprint)] = None
                while len(self._failed) > MOST_FAILED:
                    self._failed.popitem(last=False)

    def _make(self, recording: str, fingerprint: str) -> None:
        context = self._context
        assert context.source is not None  # noqa: S101  `get` has checked it
        source = context.source.open_source(context.storage, leave_out=context.dest)
        with source.local(recording) as readable:
            loudest = [_loudest(waveform) for waveform in Decoder(readable)]
        made = reduced(np.concatenate(loudest) if loudest else np.zeros(0, np.float32))
        self._store.put(peaks_key(recording), fingerprint.encode() + b"\n" + made, durable=False)


def _loudest(waveform: np.ndarray) -> np.ndarray:
    """Return the largest absolute value of each step; a rest at the end is a step, too."""
    step = round(STEP_S * RATE)
    n = -(-len(waveform) // step)
    padded = np.zeros(n * step, np.float32)
    np.abs(waveform, out=padded[: len(waveform)])
    return padded.reshape(n, step).max(axis=1) if n else np.zeros(0, np.float32)


def reduced(loudest: np.ndarray) -> bytes:
    """Return at most `N_PEAKS` bytes: the square root of the loudness, so that quiet speech is seen, too."""
    if not len(loudest):
        return b""
    n = min(N_PEAKS, len(loudest))
    starts = np.linspace(0, len(loudest), n, endpoint=False).astype(int)
    peaks = np.maximum.reduceat(loudest, starts)
    top = max(float(np.quantile(peaks, 0.995)), 1e-4)
    return np.round(255 * np.sqrt(np.clip(peaks / top, 0, 1))).astype(np.uint8).tobytes()
