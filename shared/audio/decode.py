"""Decode a file into a stream of waveforms, so that a ten-hour recording needs no more memory than a short one."""

import math
import os
import re
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import ffmpeg

from nightscribe.shared.audio.channels import ChannelSelector
from nightscribe.shared.audio.containers import HEAD_BYTES, counts_from_mapped_streams, has_times
from nightscribe.shared.audio.ffmpeg_process import FfmpegProcess, Gap, keep_time, read_format, samples
from nightscribe.shared.audio.layout import Layout, Piece, read_layout
from nightscribe.shared.audio.probe import (
    MediaInfo,
    check_content,
    check_open,
    check_read,
    ffmpeg_environment,
    ffmpeg_path,
    input_arguments,
    length_s,
    parse_banner,
    why_not,
    why_silent,
)
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import AudioError, MachineError, RetryableError
from nightscribe.shared.process.liveness import report_alive

WARM_UP_S = 2  # the first frames of a decoder that begins in the middle are not right
READ_BYTES = 2**20
PICTURE_TAIL_S = 20
PICTURE_MISSES_S = 2  # the times of the last few pictures may be those of decoding
ABSURD_AFTER_S = 3600  # a file with more sound than this ...
LEAST_BYTES_PER_S = 4  # ... in fewer bytes per second is wrong: even silence takes more in every codec

RESAMPLE = f"aresample={RATE}"
# This logs when the sound begins, which may be later than a film's pictures. (`first_pts=0` would insert silence before
# it, but also wherever the sampling rate changes.)
SAY_WHEN = "ametadata=add:key=first:value=1:enable='eq(n,0)',ametadata@{name}=print:enable='eq(n,0)'"


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
        self._selector = ChannelSelector(RATE)
        self._holes_s = 0.0
        self._at = 0
        self._lost_piece = False
        self.container_s: float | None = None
        self.decoded_s = 0.0
        self.is_truncated = False

    @property
    def channels_are_apart(self) -> bool:
        """Return whether there are two channels, and each carries speech that the other does not."""
        return self._selector.are_apart

    @property
    def channels_differ(self) -> bool:
        """Return whether there are two channels that share hardly any sound, also if only one carries speech."""
        return self._selector.differ

    @property
    def channels_cancel(self) -> bool:
        """Return whether channels cancelled each other for more than a moment."""
        return self._selector.channels_cancel

    def __iter__(self) -> Iterator[Waveform]:
        """Yield the sound in chunks of some seconds.

        Raises: AudioError: if the file holds no sound. RetryableError: if the disk stops responding.
        """
        self._selector, self._holes_s, self._lost_piece, self.decoded_s = ChannelSelector(RATE), 0.0, False, 0.0
        check_content(self._path)
        layout = read_layout(self._path)
        check_open(layout)
        # At whole seconds, the samples of every usual rate coincide with ours.
        from_s = max(0, math.floor(self._start_s) - WARM_UP_S) if layout.is_one_timeline else 0
        self._at = from_s * RATE
        promised: list[float | None] = []
        for piece in layout.pieces:
            if self._is_past_end():
                break
            try:
                info = yield from self._piece(piece, from_s, layout)
            except AudioError:
                if not promised:
                    raise
                self._lost_piece = True
                continue
            promised.append(length_s(piece, layout, info.duration_s))
        if not self.decoded_s and not self._start_s:
            raise AudioError(
                "Its header is that of a recording, but no sound follows that can be decoded.", code="no_sound"
            )
        known = [seconds for seconds in promised if seconds is not None]
        all_known = len(known) == len(promised) == len(layout.pieces)
        self.container_s = sum(known) if all_known else None
        self.is_truncated = self._lost_piece or self._misses_sound(has_picture=info.has_picture)

    def _piece(self, piece: Piece, from_s: int, layout: Layout) -> Generator[Waveform, None, MediaInfo]:
        head = read_head(self._path, piece.start)
        command = self._command(piece, head, from_s, layout)
        with FfmpegProcess(command, ffmpeg_environment(self._path)) as process:
            if (wav := read_format(process.read)) is not None:
                first = self._at
                sound = samples(process.read, wav.n_channels, process.log)
                if self._channel is not None:
                    only = min(self._channel, wav.n_channels - 1)
                    sound = (chunk[:, only : only + 1] for chunk in sound)
                yield from self._cut(self._selector.to_mono(sound, wav.mask))
                self._count_holes(process.log.holes, first)
            ended = 0 if self._is_past_end() else process.wait()
            stderr = process.log.text()
        return self._judge(stderr, ended)

    def _command(self, piece: Piece, head: bytes, from_s: int, layout: Layout) -> list[str]:
        window: dict[str, float] = {}
        if from_s:
            window["ss"] = from_s
        if self._end_s is not None and layout.is_one_timeline:
            window["t"] = self._end_s - from_s + 1  # one more second keeps the resampler from ending within the slice
        seek = [text for name, value in window.items() for text in (f"-{name}", f"{value:.6f}")]
        command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-threads", "1"]
        command += [*seek, *input_arguments(self._path, piece)]
        command += [] if self._track is None else ["-map", f"0:{self._track}"]
        command += sound_arguments("pipe:1", head)
        if counts_from_mapped_streams(head):
            command += ["-map", "0:v?", "-c", "copy", "-f", "null", "-"]
        return command

    def _last(self) -> int | None:
        return None if self._end_s is None else round(self._end_s * RATE)

    def _is_past_end(self) -> bool:
        last = self._last()
        return last is not None and self._at >= last

    def _cut(self, sound: Iterator[Waveform]) -> Iterator[Waveform]:
        """Yield the part of `sound` within the slice; it begins at sample `_at` of the file."""
        first, last = round(self._start_s * RATE), self._last()
        absurd = max(ABSURD_AFTER_S, file_bytes(self._path) // LEAST_BYTES_PER_S) * RATE
        n_kept = round(self.decoded_s * RATE)
        for waveform in sound:
            report_alive()  # decoding the sound before a slice may take minutes
            kept = waveform[max(0, first - self._at) : None if last is None else max(0, last - self._at)]
            self._at += len(waveform)
            if self._at > absurd:
                raise AudioError(
                    "It claims to be hours of sound, but it is too small for that: its header or its times are wrong."
                )
            if len(kept):
                n_kept += len(kept)
                self.decoded_s = n_kept / RATE
                yield kept
            if self._is_past_end():
                return

    def _count_holes(self, holes: list[Gap], first: int) -> None:
        for hole in holes:
            start_s = first / RATE + hole.at_s
            end_s = start_s + hole.seconds
            self._holes_s += max(0.0, min(end_s, self._end_s or math.inf) - max(start_s, self._start_s))

    def _misses_sound(self, *, has_picture: bool) -> bool:
        due_s = min(self._end_s or math.inf, self.container_s or math.inf) - self._start_s
        if due_s == math.inf:
            return is_truncated(self.decoded_s, self.decoded_s - self._holes_s)
        if not is_truncated(max(due_s, self.decoded_s), self.decoded_s - self._holes_s):
            return False
        ends_early = is_truncated(due_s, self.decoded_s)
        return not (ends_early and has_picture and not self._holes_s and self._picture_is_whole())

    def _picture_is_whole(self) -> bool:
        """Return whether the pictures of a film continue to its end although its sound does not, so nothing is cut."""
        if self.container_s is None:
            return False
        from_s = max(0.0, self.container_s - PICTURE_TAIL_S)
        command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-stats", "-ss", f"{from_s:.3f}"]
        command += [*input_arguments(self._path), "-map", "0:V:0", "-c", "copy", "-f", "null", "-"]
        with FfmpegProcess(command, ffmpeg_environment(self._path)) as process:
            ended = process.wait()
            stderr = process.log.text()
        times = re.findall(r"time=(\d+):(\d\d):(\d\d(?:\.\d+)?)", stderr)
        if ended or not times:
            return False
        hours, minutes, seconds = times[-1]
        shown_s = from_s + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return self.container_s - shown_s <= PICTURE_MISSES_S

    def _is_read_whole(self) -> bool:
        """Return whether every byte of a file without sound can be read.

        If so, ffmpeg's read error comes from the content of the file, and trying again would not help.
        """
        if self._at or not isinstance(self._path, Path):
            return False
        try:
            with self._path.open("rb") as file:
                while file.read(READ_BYTES):
                    report_alive()
        except OSError:
            return False
        return True

    def _judge(self, stderr: str, ended: int) -> MediaInfo:
        check_read(self._path)
        if ended < 0:
            # The machine sends these signals; others, such as a segmentation fault, are caused by the recording.
            kind = MachineError if -ended in (signal.SIGKILL, signal.SIGTERM) else RetryableError
            raise kind(f"ffmpeg was killed (signal {-ended}) while it read the recording.", code="ffmpeg_failed")
        if "Input/output error" in stderr and not self._is_read_whole():
            raise RetryableError(
                "The disk or share reported an error while the recording was read.", code="storage_unreachable"
            )
        info = parse_banner(stderr)
        if info is None:
            raise why_not(self._path, stderr)
        if not info.has_audio:
            raise why_silent(self._path)
        return info


def is_truncated(promised_s: float, decoded_s: float) -> bool:
    """Return whether more than 2 s or 2 % is missing.

    Codecs add a few hundredths of a second, and a film's sound may end half a second before its pictures; neither is
    damage.
    """
    missing_s = promised_s - decoded_s
    return missing_s > 2 or (missing_s > 0.5 and missing_s > 0.02 * promised_s)


def sound_arguments(to: str, head: bytes, *, name: int = 0, **more: str | float) -> list[str]:
    """Return ffmpeg's arguments to write all channels as 16-bit WAV, and to log with `name` when the sound begins."""
    clock = keep_time(name) if has_times(head) else RESAMPLE
    filters = f"{clock},aformat=sample_fmts=s16,{SAY_WHEN.format(name=name)}"
    # Omit tags, which would lie between the header and the samples.
    wav = {"f": "wav", "af": filters, "vn": None, "sn": None, "dn": None, "bitexact": None, "map_metadata": -1}
    made = ffmpeg.input("-").output(to, **wav, **more)
    arguments: list[str] = made.get_args()
    return arguments[2:]


def read_head(path: Readable, at: int = 0) -> bytes:
    """Return the first bytes from offset `at`. Raises: RetryableError: if the file cannot be read now."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise RetryableError(f"The recording cannot be read ({error.strerror}).", code="not_readable") from None


def file_bytes(path: Readable) -> int:
    """Return the size of a file. Raises: RetryableError: if it cannot be read now."""
    try:
        with path.open("rb") as file:
            return file.seek(0, os.SEEK_END)
    except OSError as error:
        raise RetryableError(f"The recording cannot be read ({error.strerror}).", code="not_readable") from None
