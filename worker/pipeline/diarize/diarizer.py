"""Hear the voices of a slice."""

from collections.abc import Iterable
from pathlib import Path

from nightscribe.shared.audio.waveform import Waveform
from nightscribe.shared.model.speakers import LocalSpeakers

WINDOW_S = 10.0
"""Length of the windows. They lie on a grid that begins with the recording, whatever slices it is cut into."""


class Diarizer:
    """Holds the models in memory. It may be used by one thread at a time."""

    def __init__(self, models_dir: Path, *, threads: int = 1) -> None:
        """Load the models, which are downloaded if they are not on this machine.

        Raises: SetupError: if the extra `speakers` is not installed. WeightsError: if the models cannot be found,
        downloaded or converted.
        """
        self._models_dir = models_dir
        self._threads = threads

    def listen(self, start_s: float = 0.0, end_s: float | None = None) -> "Listener":
        """Return a listener for the slice from `start_s` to `end_s` of a recording; None: to its end."""
        return Listener(self, start_s, end_s)

    def hear(self, sound: Iterable[Waveform], start_s: float = 0.0, end_s: float | None = None) -> LocalSpeakers:
        """Return the local speakers of a slice, whose sound is passed as in `Listener.add`."""
        listener = self.listen(start_s, end_s)
        for block in sound:
            listener.add(block)
        return listener.finish()


class Listener:
    """Hears one slice as a stream of blocks, and holds no more than a few windows in memory.

    A slice owns the windows that begin in it. So pass the sound from `start_s` to WINDOW_S after `end_s`, or to the end
    of the recording: then the windows are the same however the recording is cut.
    """

    def __init__(self, diarizer: Diarizer, start_s: float, end_s: float | None) -> None:
        self._diarizer = diarizer
        self._start_s, self._end_s = start_s, end_s

    def add(self, block: Waveform) -> None:
        """Hear the next block of samples, which follows the last one without a gap; the first begins at `start_s`."""

    def finish(self) -> LocalSpeakers:
        """Return what was heard, once all blocks have been added."""
        return LocalSpeakers()
