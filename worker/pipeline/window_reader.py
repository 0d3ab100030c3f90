"""Read the slices of a job as windows of sound ahead of the engine, so that it never waits for a disk or a share."""

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from queue import Full, Queue
from typing import TypeVar

from nightscribe.shared.audio.clips import CLIP_BYTES, TOGETHER, Sound, Unusual, decode_together
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE, Waveform, centred
from nightscribe.shared.errors import AudioError, NightscribeError, PermanentError
from nightscribe.shared.model.jobs import DEFAULT_TRACK, Slice, TrackChoice
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import AudioTrack
from nightscribe.shared.storage.base import CHANGED, RecordingSource
from nightscribe.worker.engines.base import WindowLimits
from nightscribe.worker.machine import machine_errors
from nightscribe.worker.pipeline import windows
from nightscribe.worker.pipeline.feeds import FeedChooser, Feeds
from nightscribe.worker.pipeline.vad import Speech, SpeechDetector

T = TypeVar("T")

AHEAD = 32  # windows
POLL_S = 0.2
END_WITHIN_S = 1.0  # a share that hangs must not keep a worker from stopping


@dataclass(frozen=True)
class Window:
    """A stretch of a slice that an engine processes at once; it begins `start_s` seconds into the recording."""

    slice_: Slice
    start_s: float
    waveform: Waveform
    speech: Speech
    """Where somebody speaks in the window."""
    speaker: str | None = None
    """Label of the track or channel, if the recording has several feeds."""
    n_feeds: int = 1
    """Number of feeds of the recording."""

    @property
    def progress_s(self) -> float:
        """By how much the recording is done once this window is: all feeds make one recording."""
        return self.seconds / self.n_feeds

    @property
    def seconds(self) -> float:
        """Return the length of the window."""
        return len(self.waveform) / RATE


@dataclass(frozen=True)
class SliceEnd:
    """A marker that all windows of a slice have been read, or that an error ended the reading."""

    slice_: Slice
    mtime_ns: int | None = None
    container_s: float | None = None
    decoded_s: float = 0.0
    channels_cancel: bool = False
    is_truncated: bool = False
    tracks: tuple[AudioTrack, ...] = ()
    """All audio tracks of the recording if there are several."""
    leaves_tracks_out: bool = False
    """True if a track that was not transcribed may hold speech."""
    error: NightscribeError | None = None


class WindowReader:
    """Decodes slices and cuts them into windows."""

    def __init__(
        self,
        source: RecordingSource,
        limits: WindowLimits,
        feeds: FeedChooser | None = None,
        tracks: TrackChoice = DEFAULT_TRACK,
        *,
        by_channel: bool = False,
    ) -> None:
        """`by_channel`: each channel is a person, so also separate channels of which only one carries speech."""
        self._source = source
        self._limits = limits
        self._feeds = feeds or FeedChooser()
        self._tracks = tracks
        self._by_channel = by_channel

    def read(self, slices: Sequence[Slice]) -> Iterator[Window | SliceEnd]:
        """Yield the windows and then the end of each slice in turn. An error is stored in the end of its slice."""
        for clips, group in groupby(slices, key=lambda slice_: slice_.count == 1 and slice_.size <= CLIP_BYTES):
            several = list(group)
            if clips:
                for at in range(0, len(several), TOGETHER):
                    yield from self._clips(several[at : at + TOGETHER])
            else:
                for slice_ in several:
                    yield from self._stretch(slice_)

    def _clips(self, slices: Sequence[Slice]) -> Iterator[Window | SliceEnd]:
        """Read short recordings, which are decoded together."""
        with ExitStack() as stack:
            opened = []
            for slice_ in slices:
                try:
                    before = self._as_queued(slice_)
                    opened.append((slice_, before, stack.enter_context(self._source.local(slice_.recording))))
                except NightscribeError as error:
                    yield SliceEnd(slice_, error=error)
            stack.enter_context(machine_errors())
            sounds = decode_together([path for _, _, path in opened])
            for (slice_, before, _), sound in zip(opened, sounds, strict=True):
                if isinstance(sound, NightscribeError):
                    yield SliceEnd(slice_, error=sound)
                    continue
                if (
                    isinstance(sound, Unusual)
                    or sound.channels_are_apart
                    or (self._by_channel and sound.channels_differ)
                ):
                    yield from self._stretch(slice_)
                    continue
                yield from self._windows(slice_, [sound.waveform])
                yield self._end(slice_, before, Feeds(), [sound])

    def _stretch(self, slice_: Slice) -> Iterator[Window | SliceEnd]:
        """Read a slice of a longer recording, as a stream."""
        try:
            before = self._as_queued(slice_)
            with self._source.local(slice_.recording) as path, machine_errors():
                feeds = self._feeds.feeds(path, slice_, self._tracks, by_channel=self._by_channel)
                decoders, lost = [], None
                for feed in feeds.each:
                    decoder = Decoder(path, slice_.start_s, slice_.end_s, track=feed.track, channel=feed.channel)
                    try:
                        for window in self._windows(slice_, decoder):
                            yield replace(window, speaker=feed.speaker, n_feeds=len(feeds.each))
                        decoders.append(decoder)
                    except AudioError as error:
                        lost = error
                if lost and not decoders:
                    raise lost
                end = self._end(slice_, before, feeds, decoders)
                yield replace(end, is_truncated=True) if lost else end
        except NightscribeError as error:
            yield SliceEnd(slice_, error=error)

    def _windows(self, slice_: Slice, sound: Iterable[Waveform]) -> Iterator[Window]:
        detector = SpeechDetector()
        for start_s, skewed in windows.cut(sound, **self._limits._asdict()):
            waveform = centred(skewed)
            yield Window(slice_, slice_.start_s + start_s, waveform, detector.listen(waveform))

    def _as_queued(self, slice_: Slice) -> Recording:
        found = self._source.stat(slice_.recording)
        if self._source.fingerprint(found) != slice_.fingerprint:
            raise PermanentError(
                "It was changed after it was queued; the next run transcribes its new content.", code="changed"
            )
        return found

    def _end(self, slice_: Slice, before: Recording, feeds: Feeds, sounds: Sequence[Sound | Decoder]) -> SliceEnd:
        try:
            after = self._source.stat(slice_.recording)
            if after != before and self._source.fingerprint(after) != slice_.fingerprint:  # touched, but not changed
                raise PermanentError(CHANGED, code="changed")
        except NightscribeError as error:
            return SliceEnd(slice_, error=error)
        return SliceEnd(
            slice_,
            before.mtime_ns,
            sounds[0].container_s,
            max(sound.decoded_s for sound in sounds),
            channels_cancel=any(sound.channels_cancel for sound in sounds),
            is_truncated=any(sound.is_truncated for sound in sounds),
            tracks=feeds.tracks,
            leaves_tracks_out=feeds.leaves_sound_out,
        )


def ahead(items: Iterator[T], n: int = AHEAD) -> Generator[T, None, None]:
    """Yield the items, while a thread prepares up to `n` of them ahead; the thread ends with this generator."""
    ready: Queue[T | _Stop] = Queue(max(1, n - 1))  # the thread holds one more while it waits for room
    over = threading.Event()

    def put(item: T | _Stop) -> bool:
        while not over.is_set():
            with suppress(Full):
                ready.put(item, timeout=POLL_S)
                return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_Stop(None))
        except BaseException as error:  # noqa: BLE001  raised again in the thread that takes the items
            put(_Stop(error))

    thread = threading.Thread(target=make, name="window-reader", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _Stop):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        over.set()
        thread.join(END_WITHIN_S)


@dataclass(frozen=True)
class _Stop:
    error: BaseException | None
