"""Decide which tracks and channels of a recording are transcribed, each by itself.

The decision is made once for a whole recording, by excerpts from all of it, so that the slices of a recording agree
whichever workers transcribe them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nightscribe.shared.audio.channels import ChannelSelector
from nightscribe.shared.audio.excerpts import Excerpt, read_excerpts
from nightscribe.shared.audio.probe import MediaInfo, probe
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.audio.waveform import RATE, centred
from nightscribe.shared.errors import AudioError
from nightscribe.shared.model.jobs import ALL_TRACKS, DEFAULT_TRACK, Slice, TrackChoice
from nightscribe.shared.model.transcript import AudioTrack
from nightscribe.worker.pipeline.vad import SpeechDetector

SILENT_PEAK = 0.002  # 55 dB below full scale: a track without a louder sample holds no speech
SURE_S = 3.0  # a track with this much speech is worth transcribing
LITTLE = 0.1  # a track with this share of the speech of another only seems to hold some
MOST_KEPT = 64

_LABEL = re.compile(r"(track|channel) \d")


@dataclass(frozen=True)
class Feed:
    """A track or channel that is transcribed by itself."""

    track: int | None = None
    """Stream number of the track; None if the file has one track."""
    channel: int | None = None
    """The only channel to decode; None: all, mixed."""
    speaker: str | None = None
    """Label of its segments; None if the recording has one feed."""


@dataclass(frozen=True)
class Feeds:
    """Everything that is transcribed of one recording."""

    each: tuple[Feed, ...] = (Feed(),)
    tracks: tuple[AudioTrack, ...] = ()
    """All audio tracks if there are several."""
    leaves_sound_out: bool = False
    """True if a track that is not transcribed may hold speech, and the user did not choose another."""


class FeedChooser:
    """Chooses the feeds of recordings, and remembers them for the next slice of the same recording."""

    def __init__(self) -> None:
        self._chosen: dict[tuple[str, str, TrackChoice, bool], Feeds] = {}

    def feeds(self, path: Readable, slice_: Slice, tracks: TrackChoice, *, by_channel: bool = False) -> Feeds:
        """Return what to transcribe of the recording of a slice, which is open at `path`.

        `by_channel`: each channel is a person, so also separate channels of which only one carries speech.

        Raises: AudioError: if it is not a recording, or has no such track. RetryableError: if it cannot be read now.
        """
        key = (slice_.recording, slice_.fingerprint, tracks, by_channel)
        if (known := self._chosen.get(key)) is not None:
            return known
        if len(self._chosen) >= MOST_KEPT:
            self._chosen.clear()
        self._chosen[key] = chosen = _choose(path, probe(path), tracks, by_channel=by_channel)
        return chosen


def _choose(path: Readable, info: MediaInfo, tracks: TrackChoice, *, by_channel: bool) -> Feeds:
    if info.audio_tracks < 2 and not any(track.may_be_stereo for track in info.tracks):
        return Feeds()
    streams = [track.number for track in info.tracks]
    wanted = streams if tracks == ALL_TRACKS else _numbered(streams, tracks)
    heard = _Heard(streams, wanted, by_channel=by_channel)
    for excerpt in read_excerpts(path, info):
        heard.listen(excerpt)
    chosen = wanted or [heard.best()]
    feeds = tuple(
        Feed(stream if len(streams) > 1 else None, channel, label)
        for stream in chosen
        for channel, label in heard.channels(stream, f"track {streams.index(stream) + 1}" if chosen[1:] else None)
    )
    if len(streams) < 2:
        return Feeds(feeds)
    listed = tuple(
        AudioTrack(number=n, language=track.language, title=track.title, transcribed=track.number in chosen)
        for n, track in enumerate(info.tracks, 1)
    )
    others = [stream for stream in streams if stream not in chosen]
    return Feeds(feeds, listed, tracks == DEFAULT_TRACK and any(map(heard.has_sound, others)))


def is_feed(label: str | None) -> bool:
    """Return whether a label of a segment is that of a track or channel."""
    return label is not None and _LABEL.match(label) is not None


def _numbered(streams: Sequence[int], tracks: TrackChoice) -> list[int]:
    """Return the stream that the user numbered; a recording with a single track has no other."""
    if tracks == DEFAULT_TRACK:
        return []
    if len(streams) == 1:
        return list(streams)
    if int(tracks) > len(streams):
        raise AudioError(
            f"It has {len(streams)} audio tracks, and track {tracks} was requested.", code="no_audio_track"
        )
    return [streams[int(tracks) - 1]]


class _Heard:
    """What was heard of each track."""

    def __init__(self, streams: Sequence[int], wanted: Sequence[int], *, by_channel: bool) -> None:
        self._by_channel = by_channel
        self._chooses = not wanted and len(streams) > 1
        self._detectors = {stream: SpeechDetector() for stream in streams}
        self._selectors = {stream: ChannelSelector(RATE) for stream in streams}
        self._peaks = dict.fromkeys(streams, 0.0)
        self._spoken_s = dict.fromkeys(streams, 0.0)
        self._default = streams[0]

    def listen(self, excerpt: Excerpt) -> None:
        """Measure the tracks; detect speech only until the track that a player chooses has enough of it."""
        self._default = excerpt.default
        mixed = {
            stream: centred(np.concatenate(list(self._selectors[stream].to_mono([sound], excerpt.masks[stream]))))
            for stream, sound in excerpt.tracks.items()
            if len(sound)
        }
        for stream, waveform in mixed.items():
            self._peaks[stream] = max(self._peaks[stream], float(np.abs(waveform).max()))
        for stream in sorted(mixed, key=lambda stream: stream != self._default):
            if self._chooses and self._spoken_s[self._default] < SURE_S:
                speech = self._detectors[stream].listen(mixed[stream])
                self._spoken_s[stream] += 0.0 if speech.first_s is None else speech.seconds

    def has_sound(self, stream: int) -> bool:
        """Return whether a track is loud enough to hold speech."""
        return self._peaks[stream] >= SILENT_PEAK

    def best(self) -> int:
        """Return the track that a player chooses, unless hardly any speech is in it and another has speech."""
        most = max(self._spoken_s, key=lambda stream: self._spoken_s[stream])
        spoken_s = self._spoken_s[self._default]
        if spoken_s < SURE_S and spoken_s <= LITTLE * self._spoken_s[most] and most != self._default:
            return most
        if not self.has_sound(self._default):
            return next(filter(self.has_sound, self._peaks), self._default)
        return self._default

    def channels(self, stream: int, label: str | None) -> Iterator[tuple[int | None, str | None]]:
        """Yield each channel of a track that is transcribed by itself, with its label."""
        selector = self._selectors[stream]
        if not (selector.differ if self._by_channel else selector.are_apart):
            yield None, label
            return
        for n in range(2):
            yield n, ", ".join(filter(None, (label, f"channel {n + 1}")))
