"""Hear the voices of a slice."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import WeightsError
from nightscribe.shared.model.speakers import LocalSpeakers, LocalTurn, LocalVoice, encode_embedding
from nightscribe.worker.pipeline.diarize import features
from nightscribe.worker.pipeline.diarize.embedding import Embedder
from nightscribe.worker.pipeline.diarize.segmentation import FRAME_CENTRE, FRAME_STEP, Segmentation
from nightscribe.worker.pipeline.diarize.sessions import check_installed
from nightscribe.worker.weights.speaker_models import resolve_speaker_models

WINDOW_S = 10.0
"""Length of the windows. They lie on a grid that begins with the recording, whatever slices it is cut into."""

STEP_S = 8.0  # from one window to the next
SILENT_PEAK = 0.0003  # 70 dB below full scale is a recorder's rounding error
LEAST_CLEAN_S = 0.5  # of clean speech, without which a turn has no embedding
MOST_EMBEDDED_S = 2.0  # of a turn's clean speech: more costs time and hardly changes the embedding
LONGEST_TURN_S = 4.0  # for one embedding

Stretch = tuple[int, int]
"""First sample or frame, and the one after the last."""

_WINDOW, _STEP = round(WINDOW_S * RATE), round(STEP_S * RATE)
_MARGIN = (_WINDOW - _STEP) // 2
_LONGEST = round(LONGEST_TURN_S * RATE)


class Diarizer:
    """Holds the models in memory. It may be used by one thread at a time."""

    def __init__(self, models_dir: Path, *, threads: int = 1) -> None:
        """Load the models, which are downloaded if they are not on this machine.

        Raises: SetupError: if the extra `speakers` is not installed. WeightsError: if the models cannot be found,
        downloaded or converted.
        """
        check_installed()
        models = resolve_speaker_models(models_dir)
        try:
            self._segmentation = Segmentation(models.segmentation, threads)
            self._embedder = Embedder(models.embedding, threads)
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise WeightsError(
                f"ONNX Runtime cannot load the models in {models.segmentation.parent} ({error}). "
                "Remove that folder, so that they are downloaded again."
            ) from error

    def listen(self, start_s: float = 0.0, end_s: float | None = None) -> "Listener":
        """Return a listener for the slice from `start_s` to `end_s` of a recording; None: to its end."""
        return Listener(self, start_s, end_s)

    def hear(self, sound: Iterable[Waveform], start_s: float = 0.0, end_s: float | None = None) -> LocalSpeakers:
        """Return the local speakers of a slice, whose sound is passed as in `Listener.add`."""
        listener = self.listen(start_s, end_s)
        for block in sound:
            listener.add(block)
        return listener.finish()

    def hear_window(self, waveform: Waveform, core: tuple[int, int]) -> list[tuple[LocalVoice, list[Stretch]]]:
        """Return the voices that speak in the core of a window, each with its turns there, in samples of the window."""
        if np.abs(waveform).max(initial=0) < SILENT_PEAK:
            return []
        activity = self._segmentation.activity(waveform)
        is_alone = activity.sum(axis=1) == 1
        voices: list[tuple[LocalVoice, list[Stretch]]] = []
        for speaker in range(activity.shape[1]):
            turns = list(_turns(activity[:, speaker], core))
            voices += self._voices(waveform, turns, activity[:, speaker] & is_alone)
        return voices

    def _voices(
        self, waveform: Waveform, turns: list[Stretch], is_alone: NDArray[np.bool_]
    ) -> list[tuple[LocalVoice, list[Stretch]]]:
        """Return the voices of what the model takes for one speaker of a window.

        It takes two people for one more often than their embeddings do. So every turn that is long enough is a voice of
        its own, and the others belong to the nearest of them.
        """
        found: list[tuple[LocalVoice, list[Stretch]]] = []
        short = []
        for turn in turns:
            clean = [stretch for stretch in _clean(is_alone, turn) if stretch[1] - stretch[0] >= features.FRAME]
            clean_s = sum(end - start for start, end in clean) / RATE
            if clean_s >= LEAST_CLEAN_S:
                embedding = encode_embedding(self._embedder.embedding(_heard(waveform, clean)))
                found.append((LocalVoice(window=0, embedding=embedding, clean_s=round(clean_s, 3)), [turn]))
            else:
                short.append(turn)
        if not found and short:
            return [(LocalVoice(window=0, clean_s=0), short)]
        for turn in short:
            _, nearest = min(found, key=lambda voice: max(voice[1][0][0] - turn[1], turn[0] - voice[1][0][1]))
            nearest.append(turn)
        return found


class Listener:
    """Hears one slice as a stream of blocks, and holds no more than a few windows in memory.

    A slice owns the windows that begin in it. So pass the sound from `start_s` to WINDOW_S after `end_s`, or to the end
    of the recording: then the windows are the same however the recording is cut.
    """

    def __init__(self, diarizer: Diarizer, start_s: float, end_s: float | None) -> None:
        self._diarizer = diarizer
        self._at = round(start_s * RATE)
        """Sample of the recording at which the buffer begins."""
        self._end = None if end_s is None else round(end_s * RATE)
        self._next = -(-self._at // _STEP)
        """Window that is heard next."""
        self._buffer: list[Waveform] = []
        self._buffered = 0
        self._voices: list[LocalVoice] = []
        self._turns: list[LocalTurn] = []

    def add(self, block: Waveform) -> None:
        """Hear the next block of samples, which follows the last one without a gap; the first begins at `start_s`."""
        self._buffer.append(block)
        self._buffered += len(block)
        while self._owns_next and self._at + self._buffered >= self._next * _STEP + _WINDOW:
            self._hear()

    def finish(self) -> LocalSpeakers:
        """Return what was heard, once all blocks have been added."""
        while self._owns_next and self._at + self._buffered > self._next * _STEP + (_MARGIN if self._next else 0):
            self._hear()
        return LocalSpeakers(voices=tuple(self._voices), turns=tuple(self._turns))

    @property
    def _owns_next(self) -> bool:
        return self._end is None or self._next * _STEP < self._end

    def _hear(self) -> None:
        """Hear the next window, and drop the sound before the one after it."""
        start = self._next * _STEP
        sound = np.concatenate(self._buffer)
        window = sound[start - self._at : start - self._at + _WINDOW]
        core = (_MARGIN if self._next else 0, _MARGIN + _STEP)
        for voice, turns in self._diarizer.hear_window(window, core):
            self._turns.extend(
                LocalTurn(
                    start_s=round((start + begin) / RATE, 3),
                    end_s=round((start + min(end, len(window))) / RATE, 3),
                    voice=len(self._voices),
                )
                for begin, end in turns
            )
            self._voices.append(voice.model_copy(update={"window": self._next}))
        self._next += 1
        kept = sound[max(0, self._next * _STEP - self._at) :]
        self._at += len(sound) - len(kept)
        self._buffer, self._buffered = [kept], len(kept)


def _turns(active: NDArray[np.bool_], core: tuple[int, int]) -> Iterator[Stretch]:
    """Yield the turns of a speaker in the core of a window; long ones in parts, because their speaker may change."""
    for start, end in _runs(active):
        begin, stop = max(core[0], 0 if start == 0 else _sample(start)), min(core[1], _sample(end))
        n = max(1, -(-(stop - begin) // _LONGEST))
        for part in range(n):
            if begin < stop:
                yield begin + (stop - begin) * part // n, begin + (stop - begin) * (part + 1) // n


def _clean(is_alone: NDArray[np.bool_], turn: Stretch) -> Iterator[Stretch]:
    """Yield the stretches of a turn in which nobody else speaks, the longest first."""
    runs = sorted(_runs(is_alone), key=lambda run: run[0] - run[1])
    for start, end in runs:
        begin, stop = max(turn[0], _sample(start)), min(turn[1], _sample(end))
        if begin < stop:
            yield begin, stop


def _heard(waveform: Waveform, clean: list[Stretch]) -> features.Features:
    """Return the features of the middle of what is clean, but of no more than is needed."""
    heard, left = [], round(MOST_EMBEDDED_S * RATE)
    for start, end in clean:
        length = min(left, end - start)
        if length < features.FRAME:
            break
        begin = start + (end - start - length) // 2
        heard.append(features.log_mel(waveform[begin : begin + length]))
        left -= length
    return np.concatenate(heard)


def _runs(active: NDArray[np.bool_]) -> Iterator[Stretch]:
    """Yield the first frame of each run of active frames, and the frame after its last."""
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _sample(frame: int) -> int:
    """Return the sample at which a frame of the segmentation begins."""
    return frame * FRAME_STEP + FRAME_CENTRE - FRAME_STEP // 2
