"""From a file to a waveform, as a stream: a ten-hour recording needs no more memory than a short one."""

import math
import os
import re
import select
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import Queue
from typing import IO

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.channels import ChannelSelector
from nightscribe.shared.audio.containers import ENDS_BYTES, counts_from_the_asked, has_times, seeks_exactly
from nightscribe.shared.audio.probe import (
    check_content,
    check_read,
    declared_wav_s,
    ffmpeg_environment,
    ffmpeg_path,
    input_arguments,
    parse_banner,
    why_not,
    why_silent,
)
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.errors import AudioError, RetryableError
from nightscribe.shared.process.liveness import report_alive

RATE = 16_000  # samples a second, what Whisper hears
CHUNK_BYTES = 10 * 2 * RATE
WARM_UP_S = 2  # a decoder that begins in the middle is not right from its first frame on
STALL_S = 120  # a share that gives nothing for so long is down, not slow
WAV_HEADER_BYTES = 44
LOG_LINES = 500

# Gaps in the timestamps become silence, or everything behind them would be early. Where they go back, no sound is lost.
RESAMPLE = f"aresample={RATE}"
KEEP_TIME = f"asetpts='st(1,max(PTS,ld(0)));st(0,ld(1)+NB_SAMPLES);ld(1)',{RESAMPLE}:async=1:min_hard_comp=0.02"
CHANNELS = "aformat=sample_fmts=s16:channel_layouts=mono|stereo"
# The log tells when the sound begins, later than the film's pictures perhaps. (`first_pts=0` would put silence before
# it, but also wherever the sampling rate changes on the way.)
SAY_WHEN = "ametadata=add:key=first:value=1:enable='eq(n,0)',ametadata@{name}=print:enable='eq(n,0)'"

Waveform = NDArray[np.float32]
"""Mono, 16 kHz, in [-1, 1], shape (n_samples,)."""


class Decoder:
    """Sound of a file from `start_s` to `end_s` (None: its end); slices that meet join without a seam.

    After iterating, `container_s` is what the whole file promises, `decoded_s` what came, and `channels_cancel` whether
    one channel is the other turned upside down, so that one was listened to instead of the silence of both.
    """

    def __init__(self, path: Readable, start_s: float = 0.0, end_s: float | None = None) -> None:
        self._path = path
        self._start_s = start_s
        self._end_s = end_s
        self.container_s: float | None = None
        self.decoded_s = 0.0
        self.channels_cancel = False

    def __iter__(self) -> Iterator[Waveform]:
        """The sound in chunks of some seconds.

        Raises: AudioError: if the file holds no sound. RetryableError: if the disk stops answering.
        """
        check_content(self._path)
        head, tail = ends(self._path)
        # In whole seconds the samples of every usual rate meet those of ours.
        from_s = max(0, math.floor(self._start_s) - WARM_UP_S) if seeks_exactly(head, tail) else 0
        with subprocess.Popen(
            self._command(head, from_s),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ffmpeg_environment(self._path),
        ) as process:
            assert process.stdout and process.stderr  # noqa: S101  given the pipes above, for the type checker
            log = _Log(process.stderr)
            try:
                yield from self._cut(samples(process.stdout, log.begins_at), from_s * RATE)
                ended = process.wait()
            finally:
                process.kill()  # no effect on one that has ended by itself
                log.text()
        self._judge(log.text(), ended)

    def _command(self, head: bytes, from_s: int) -> list[str]:
        window: dict[str, float] = {}
        if from_s:
            window["ss"] = from_s
        if self._end_s is not None:
            window["t"] = self._end_s - from_s + 1  # the last second keeps the resampler from ending within the slice
        seek = [text for name, value in window.items() for text in (f"-{name}", f"{value:.6f}")]
        command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-threads", "1"]
        command += [*seek, *input_arguments(self._path), *sound_arguments("pipe:1", head)]
        if counts_from_the_asked(head):
            command += ["-map", "0:v?", "-c", "copy", "-f", "null", "-"]
        return command

    def _cut(self, samples: Iterator[NDArray[np.int16]], at: int) -> Iterator[Waveform]:
        """What lies within the slice, of samples whose first is the `at`-th of the file."""
        first = round(self._start_s * RATE)
        last = None if self._end_s is None else round(self._end_s * RATE)
        listener = ChannelSelector(RATE)
        n_kept = 0
        for waveform in listener.to_mono(samples):
            report_alive()  # what lies before a slice may take minutes
            kept = waveform[max(0, first - at) : None if last is None else max(0, last - at)]
            at += len(waveform)
            if len(kept):
                n_kept += len(kept)
                self.decoded_s = n_kept / RATE
                yield kept
        self.channels_cancel = listener.channels_cancel

    def _judge(self, said: str, ended: int) -> None:
        check_read(self._path)
        if ended < 0:
            raise RetryableError(f"ffmpeg was killed (signal {-ended}) while it read the recording.")
        if "Input/output error" in said:
            raise RetryableError("The disk or share reported an error while the recording was read.")
        info = parse_banner(said)
        if info is None:
            raise AudioError(why_not(self._path, said))
        if not info.has_audio:
            raise AudioError(why_silent(self._path))
        if not self.decoded_s and not self._start_s:
            raise AudioError("Its header is that of a recording, but no sound follows that can be decoded.")
        self.container_s = declared_wav_s(self._path) or info.duration_s


def sound_arguments(to: str, head: bytes, *, name: int = 0, **more: str | float) -> list[str]:
    """ffmpeg's arguments to write sound as 16-bit WAV of one or two channels, and to log by a name when it begins."""
    filters = f"{KEEP_TIME if has_times(head) else RESAMPLE},{CHANNELS},{SAY_WHEN.format(name=name)}"
    # Tags would stand between the header and the samples.
    wav = {"f": "wav", "af": filters, "vn": None, "sn": None, "dn": None, "bitexact": None, "map_metadata": -1}
    made = ffmpeg.input("-").output(to, **wav, **more)
    arguments: list[str] = made.get_args()
    return arguments[2:]


def ends(path: Readable) -> tuple[bytes, bytes]:
    """The first and the last bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(ENDS_BYTES)
            file.seek(max(0, file.seek(0, os.SEEK_END) - ENDS_BYTES))
            return head, file.read(ENDS_BYTES)
    except OSError as error:
        raise RetryableError(f"The recording cannot be read ({error.strerror}).") from None


def begins_at(said: str, name: int | None = None) -> int | None:
    """The sample with which the sound (of that name) begins, counted from the beginning of the film or from the seek.

    ffmpeg's threads write into each other's lines: a name may be lost, and only one sound needs none.
    """
    whose = "" if name is None else rf"\[ametadata@{name} @ \w+\] "
    found = re.search(rf"{whose}frame:0 +pts:(-?\d+)", said)
    return int(found[1]) if found else None


def samples(stream: IO[bytes], begins_at: Callable[[], int]) -> Iterator[NDArray[np.int16]]:
    """From WAV to samples of shape (n_samples, n_channels), the first of them where time is zero.

    `begins_at` is asked after the header has come. Raises: RetryableError: if nothing comes for long.
    """
    header = _exactly(stream, WAV_HEADER_BYTES)
    if len(header) < WAV_HEADER_BYTES:
        return
    n_channels = header[22]
    frame_bytes = 2 * n_channels
    late = begins_at()
    for done in range(0, late, RATE):
        yield np.zeros((min(RATE, late - done), n_channels), np.int16)
    _exactly(stream, -late * frame_bytes)
    rest = b""
    while read := _some(stream, CHUNK_BYTES):
        whole = rest + read
        n_bytes = len(whole) // frame_bytes * frame_bytes
        rest = whole[n_bytes:]
        yield np.frombuffer(whole[:n_bytes], np.int16).reshape(-1, n_channels)


def _exactly(stream: IO[bytes], n_bytes: int) -> bytes:
    """So many bytes, or fewer at the end."""
    found = b""
    while len(found) < n_bytes and (read := _some(stream, n_bytes - len(found))):
        found += read
    return found


def _some(stream: IO[bytes], n_bytes: int) -> bytes:
    """What has come, up to so many bytes; nothing at the end."""
    if not select.select([stream], [], [], STALL_S)[0]:
        raise RetryableError(f"The recording gave no sound for {STALL_S} s: its disk or share does not answer.")
    read: bytes = os.read(stream.fileno(), n_bytes)
    return read


class _Log:
    """What ffmpeg says while it works: the beginning, and the end, since a damaged file can complain for megabytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines: list[str] = []
        self._last: deque[str] = deque(maxlen=LOG_LINES)
        self._began: Queue[int] = Queue()
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def begins_at(self) -> int:
        """Waits until it is said; it is said before the first sample is written."""
        return self._began.get()

    def text(self) -> str:
        """Waits until ffmpeg has ended."""
        self._reader.join()
        return "".join((*self._lines, *self._last))

    def _read(self, stream: IO[bytes]) -> None:
        for raw in stream:
            line = raw.decode(errors="replace")
            (self._lines if len(self._lines) < LOG_LINES else self._last).append(line)
            if (at := begins_at(line)) is not None:
                self._began.put(at)
        self._began.put(0)
