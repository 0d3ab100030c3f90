"""Pass the sound of slices to the models that tell voices apart, while their windows are on the way to the engine."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import centred
from nightscribe.shared.errors import NightscribeError, PermanentError
from nightscribe.shared.model.jobs import Slice, TrackChoice
from nightscribe.shared.model.speakers import LocalSpeakers
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.worker.machine import machine_errors
from nightscribe.worker.pipeline.diarize.diarizer import WINDOW_S, Diarizer, Listener
from nightscribe.worker.pipeline.feeds import FeedChooser
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window


class SpeakerListener:
    """Hears the voices of one slice after another."""

    def __init__(
        self,
        diarizer: Diarizer,
        source: RecordingSource,
        feeds: FeedChooser,
        tracks: TrackChoice,
        check: Callable[[], None],
    ) -> None:
        """`check` is called between two steps, and may raise an error to stop the work."""
        self._diarizer = diarizer
        self._source = source
        self._feeds = feeds
        self._tracks = tracks
        self._check = check
        self._listener: Listener | None = None
        self._by_channel = False
        self._took_s = 0.0
        self._heard: dict[tuple[str, int], tuple[LocalSpeakers | None, float]] = {}

    def listen(self, sound: Iterable[Window | SliceEnd]) -> Iterator[Window | SliceEnd]:
        """Yield the windows and ends as they come; when an end is yielded, the voices of its slice are known."""
        for item in sound:
            self._check()
            began_s = time.monotonic()
            if isinstance(item, Window):
                self._add(item)
                self._took_s += time.monotonic() - began_s
                yield item
                continue
            try:
                heard = None if item.error else self._finish(item.slice_)
            except NightscribeError as error:
                yield replace(item, error=error)
            else:
                took_s = self._took_s + time.monotonic() - began_s
                self._heard[item.slice_.recording, item.slice_.index] = heard, took_s
                yield item
            self._listener, self._by_channel, self._took_s = None, False, 0.0

    def take(self, slice_: Slice) -> tuple[LocalSpeakers | None, float]:
        """Return the voices of a slice, and the seconds that it took to hear them.

        They are None if each track or channel was heard by itself: then those tell who speaks.
        """
        return self._heard.pop((slice_.recording, slice_.index))

    def _add(self, window: Window) -> None:
        if window.speaker is not None:
            self._by_channel = True
            return
        self._listener = self._listener or self._of(window.slice_)
        self._listener.add(window.waveform)

    def _of(self, slice_: Slice) -> Listener:
        return self._diarizer.listen(slice_.start_s, slice_.end_s)

    def _finish(self, slice_: Slice) -> LocalSpeakers | None:
        if self._by_channel:
            return None
        listener = self._listener or self._of(slice_)
        if self._listener is not None and slice_.end_s is not None:
            self._add_tail(listener, slice_, slice_.end_s)
        return listener.finish()

    def _add_tail(self, listener: Listener, slice_: Slice, end_s: float) -> None:
        """Add the first seconds of the next slice, into which the last window of this one reaches."""
        try:
            with self._source.local(slice_.recording) as path, machine_errors():
                [feed] = self._feeds.feeds(path, slice_, self._tracks).each
                for waveform in Decoder(path, end_s, end_s + WINDOW_S, track=feed.track):
                    self._check()
                    listener.add(centred(waveform))
        except PermanentError:  # the worker of the next slice reports it
            return
