"""Decode a file into a stream of waveforms, so that a ten-hour recording needs no more memory than a short one."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from nightscribe.shared.audio.ffmpeg_process import FfmpegProcess
from nightscribe.shared.audio.layout import Layout, read_layout
from nightscribe.shared.audio.passes import Pass, PassKey, resumed, wait_for_next_slice
from nightscribe.shared.audio.probe import (
    check_content,
    check_open,
    ffmpeg_environment,
    ffmpeg_path,
    input_arguments,
)
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.audio.zero_runs import zero_bytes
from nightscribe.shared.errors import AudioError, RetryableError
from nightscribe.shared.process.liveness import report_alive

WARM_UP_S = 2  # the first frames of a decoder that begins in the middle are not right
PICTURE_TAIL_S = 20
PICTURE_MISSES_S = 2  # the times of the last few pictures may be those of decoding
ABSURD_AFTER_S = 3600  # a file with more sound than this ...
LEAST_BYTES_PER_S = 4  # ... in fewer bytes per second is wrong: even silence takes more in every codec


class Decoder:
    """Decodes the sound of a file from `start_s` to `end_s` (None: its end); adjacent slices join without a seam.

    It seeks only if the file proves that its clock never restarts. Otherwise it decodes from the beginning and counts
    samples, so that the slices of any file give the same sound as the whole.

    It decodes the stream with the number `track`, or the one that ffmpeg chooses, like a player; with `channel`, only
    that channel. After iterating, `container_s` is the length that the whole file states, `decoded_s` the decoded
    length, `is_truncated` tells whether sound is missing in the slice, and `channels_cancel` whether channels cancelled
    each other, so that only one was used.
    """

    def __init__(
        self,
        path: Readable,
        start_s: float = 0.0,
        end_s: float | None = None,
        *,
        track: int | None = None,
        channel: int | None = None,
    ) -> None:
        self._path = path
        self._track = track
        self._channel = channel
        self._start_s = start_s
        self._end_s = end_s
        self._holes_s = 0.0
        self.container_s: float | None = None
        self.decoded_s = 0.0
        self.is_truncated = False
        self.channels_are_apart = False
        """Whether there are two channels, and each carries speech that the other does not."""
        self.channels_differ = False
        """Whether there are two channels that share hardly any sound, also if only one carries speech."""
        self.channels_cancel = False
        """Whether channels cancelled each other for more than a moment."""

    def __iter__(self) -> Iterator[Waveform]:
        """Yield the sound in chunks of some seconds.

        Raises: AudioError: if the file holds no sound. RetryableError: if the disk stops responding.
        """
        check_content(self._path)
        layout = read_layout(self._path)
        check_open(layout)
        decoding = self._pass(layout)
        is_kept = False
        try:
            yield from self._cut(decoding)
            info, self.container_s = decoding.properties()
            self._holes_s = self._count_holes(decoding)
            self.channels_cancel = decoding.selector.channels_cancel
            self.channels_are_apart = decoding.selector.are_apart
            self.channels_differ = decoding.selector.differ
            if not self.decoded_s and not self._start_s:
                raise AudioError(
                    "Its header is that of a recording, but no sound follows that can be decoded.", code="no_sound"
                )
            if self._end_s is None and layout.is_bare and (n_zeros := zero_bytes(self._path)):
                self._holes_s += decoding.at / RATE * n_zeros / max(1, file_bytes(self._path) - n_zeros)
            self.is_truncated = (
                decoding.lost_piece
                or self._misses_sound(has_others=info.has_picture or info.audio_tracks > 1)
                or (layout.is_cut and self._end_s is None)
            )
            is_kept = not layout.is_one_timeline and self._end_s is not None and decoding.at == self._last
            if is_kept:
                wait_for_next_slice(decoding)
        finally:
            if not is_kept:
                decoding.close()

    def _pass(self, layout: Layout) -> Pass:
        key = PassKey(self._path, file_version(self._path), self._track, self._channel)
        if layout.is_one_timeline:
            # At whole seconds, the samples of every usual rate coincide with ours.
            return Pass(key, layout, max(0, math.floor(self._start_s) - WARM_UP_S), self._end_s)
        return resumed(key, round(self._start_s * RATE)) or Pass(key, layout)

    @property
    def _last(self) -> int | None:
        return None if self._end_s is None else round(self._end_s * RATE)

    def _cut(self, decoding: Pass) -> Iterator[Waveform]:
        """Yield the sound of the slice."""
        first = round(self._start_s * RATE)
        absurd = max(ABSURD_AFTER_S, file_bytes(self._path) // LEAST_BYTES_PER_S) * RATE
        n_kept = 0
        self.decoded_s = 0.0
        for waveform in decoding.until(self._last):
            report_alive()  # decoding the sound before a slice may take minutes
            if decoding.at > absurd:
                raise AudioError(
                    "It claims to be hours of sound, but it is too small for that: its header or its times are wrong."
                )
            kept = waveform[max(0, first - (decoding.at - len(waveform))) :]
            if len(kept):
                n_kept += len(kept)
                self.decoded_s = n_kept / RATE
                yield kept

    def _count_holes(self, decoding: Pass) -> float:
        """Return the seconds of the slice in which the recording's clock ran without sound."""
        end_s = self._end_s or math.inf
        return sum(
            max(0.0, min(hole.at_s + hole.seconds, end_s) - max(hole.at_s, self._start_s)) for hole in decoding.holes
        )

    def _misses_sound(self, *, has_others: bool) -> bool:
        due_s = min(self._end_s or math.inf, self.container_s or math.inf) - self._start_s
        if due_s == math.inf:
            return is_truncated(self.decoded_s, self.decoded_s - self._holes_s)
        if not is_truncated(max(due_s, self.decoded_s), self.decoded_s - self._holes_s):
            return False
        ends_early = is_truncated(due_s, self.decoded_s)
        return not (ends_early and has_others and not self._holes_s and self._others_are_whole())

    def _others_are_whole(self) -> bool:
        """Return whether pictures or other tracks go on to the end although the sound does not: nothing is cut."""
        if self.container_s is None:
            return False
        from_s = max(0.0, self.container_s - PICTURE_TAIL_S)
        command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-stats", "-ss", f"{from_s:.3f}"]
        command += [*input_arguments(self._path), "-map", "0:V:0?", "-map", "0:a", "-c", "copy", "-f", "null", "-"]
        with FfmpegProcess(command, ffmpeg_environment(self._path)) as process:
            ended = process.wait()
            stderr = process.log.text()
        times = re.findall(r"time=(\d+):(\d\d):(\d\d(?:\.\d+)?)", stderr)
        if ended or not times:
            return False
        hours, minutes, seconds = times[-1]
        shown_s = from_s + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return self.container_s - shown_s <= PICTURE_MISSES_S


def is_truncated(promised_s: float, decoded_s: float) -> bool:
    """Return whether more than 2 s or 2 % is missing.

    Codecs add a few hundredths of a second, and a film's sound may end half a second before its pictures; neither is
    damage.
    """
    missing_s = promised_s - decoded_s
    return missing_s > 2 or (missing_s > 0.5 and missing_s > 0.02 * promised_s)


def file_bytes(path: Readable) -> int:
    """Return the size of a file. Raises: RetryableError: if it cannot be read now."""
    try:
        with path.open("rb") as file:
            return file.seek(0, os.SEEK_END)
    except OSError as error:
        raise RetryableError(f"The recording cannot be read ({error.strerror}).", code="not_readable") from None


def file_version(path: Readable) -> tuple[int, ...]:
    """Return numbers that change with the content of a local file; a remote one is the same while it is open."""
    if not isinstance(path, Path):
        return ()
    try:
        found = path.stat()
    except OSError as error:
        raise RetryableError(f"The recording cannot be read ({error.strerror}).", code="not_readable") from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
