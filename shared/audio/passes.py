"""Decode a file from one place to its end, and pause between the slices that are read of it.

A file whose clock may restart is decoded from its beginning and its samples are counted. So that this happens once for
a worker, and not for each slice, a pass that has reached the end of a slice waits for the next one (see `resumed`).
"""

import atexit
import signal
import threading
from collections import deque
from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import ffmpeg
import numpy as np

from nightscribe.shared.audio.channels import ChannelSelector
from nightscribe.shared.audio.containers import HEAD_BYTES, counts_from_mapped_streams, has_times
from nightscribe.shared.audio.ffmpeg_process import FfmpegProcess, Gap, keep_time, read_format, samples
from nightscribe.shared.audio.layout import Layout, Piece
from nightscribe.shared.audio.probe import (
    MediaInfo,
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
from nightscribe.shared.audio.wavpack import split
from nightscribe.shared.errors import AudioError, MachineError, RetryableError
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.process.scratch import scratch_folder

READ_BYTES = 2**20
REWIND_S = 60  # what lies at the end of a slice is also heard with the next one
MOST_WAITING = 2  # passes, each with an ffmpeg that holds its file open
WAITING_S = 600

RESAMPLE = f"aresample={RATE}"
# This logs when the sound begins, which may be later than a film's pictures. (`first_pts=0` would insert silence before
# it, but also wherever the sampling rate changes.)
SAY_WHEN = "ametadata=add:key=first:value=1:enable='eq(n,0)',ametadata@{name}=print:enable='eq(n,0)'"


@dataclass(frozen=True)
class PassKey:
    """What a pass decodes."""

    path: Readable
    version: Hashable
    """Changes with the content of the file."""
    track: int | None
    """Stream number; None: the one that ffmpeg chooses."""
    channel: int | None
    """The only channel; None: all, mixed."""


class Pass:
    """One decoding of a file. `at` is the sample that comes next, counted from the beginning of the file."""

    def __init__(self, key: PassKey, layout: Layout, from_s: int = 0, end_s: float | None = None) -> None:
        """Begin `from_s` seconds into the file; if it has one timeline, ffmpeg ends soon after `end_s`."""
        self.key = key
        self.at = from_s * RATE
        self.lost_piece = False
        self.selector = ChannelSelector(RATE)
        self._layout = layout
        self._from_s = from_s
        self._end_s = end_s
        self._lengths: list[float | None] = []
        self._holes: list[tuple[int, list[Gap]]] = []
        self._current: tuple[Piece, FfmpegProcess] | None = None
        self._info: MediaInfo | None = None
        self._has_begun = False
        self._chunks = self._decode()
        self._rest: Iterator[Waveform] = iter(())
        self._recent: deque[Waveform] = deque()
        self._n_recent = 0

    def until(self, last: int | None) -> Iterator[Waveform]:
        """Yield the sound up to the sample `last`, or all.

        Raises: AudioError: if the file holds no sound. RetryableError: if the disk stops responding.
        """
        for chunk in chain(self._rest, self._chunks):
            n = len(chunk) if last is None else min(len(chunk), last - self.at)
            self._rest = iter((chunk[n:],) if n < len(chunk) else ())
            self.at += n
            if n:
                self._remember(chunk[:n])
                yield chunk[:n]
            if last is not None and self.at >= last:
                return

    def _remember(self, chunk: Waveform) -> None:
        self._recent.append(chunk)
        self._n_recent += len(chunk)
        while self._n_recent - len(self._recent[0]) >= REWIND_S * RATE:
            self._n_recent -= len(self._recent.popleft())

    def rewind(self, first: int) -> bool:
        """Go back to the sample `first`, and return whether this is possible; a later one needs no rewinding."""
        if first >= self.at:
            return True
        if first < self.at - self._n_recent:
            return False
        again = np.concatenate(self._recent)[first - self.at :]
        self._rest = chain((again,), self._rest)
        self.at = first
        self._recent.clear()
        self._n_recent = 0
        return True

    def close(self) -> None:
        """End ffmpeg."""
        self._chunks.close()

    @property
    def holes(self) -> list[Gap]:
        """Return the gaps in the recording's clock so far, with times from the beginning of the file."""
        return [Gap(first / RATE + hole.at_s, hole.seconds) for first, holes in self._holes for hole in holes]

    def properties(self) -> tuple[MediaInfo, float | None]:
        """Return what the last piece that was begun states, and the length of the whole file if it is known.

        Raises: AudioError: if the piece is not a recording. RetryableError: if it cannot be read.
        """
        lengths = list(self._lengths)
        if self._current is not None:
            piece, process = self._current
            self._info = self._judge(process.log.text(), 0)
            lengths.append(length_s(piece, self._layout, self._info.duration_s))
        known = [seconds for seconds in lengths if seconds is not None]
        assert self._info is not None  # noqa: S101  the first piece was begun, or has raised its error
        return self._info, sum(known) if len(known) == len(lengths) == len(self._layout.pieces) else None

    def _decode(self) -> Generator[Waveform, None, None]:
        for piece in self._layout.pieces:
            try:
                yield from self._piece(piece)
            except AudioError:
                if not self._lengths:
                    raise
                self.lost_piece = True

    def _piece(self, piece: Piece) -> Generator[Waveform, None, None]:
        head = read_head(self.key.path, piece.start)
        command = self._command(piece, head)
        with ExitStack() as stack:
            if self._layout.wavpack_streams:
                command = _merging(split(self.key.path, stack.enter_context(scratch_folder())))
            process = stack.enter_context(FfmpegProcess(command, ffmpeg_environment(self.key.path)))
            self._current = piece, process
            if (wav := read_format(process.read)) is not None:
                self._holes.append((self.at, process.log.holes))
                sound = samples(process.read, wav.n_channels, process.log)
                if self.key.channel is not None:
                    only = min(self.key.channel, wav.n_channels - 1)
                    sound = (chunk[:, only : only + 1] for chunk in sound)
                yield from self.selector.to_mono(sound, wav.mask)
            ended = process.wait()
            self._current = None
            self._info = self._judge(process.log.text(), ended)
        self._lengths.append(length_s(piece, self._layout, self._info.duration_s))

    def _command(self, piece: Piece, head: bytes) -> list[str]:
        window: dict[str, float] = {}
        if self._from_s:
            window["ss"] = self._from_s
        if self._end_s is not None and self._layout.is_one_timeline:
            # One more second keeps the resampler from ending within the slice.
            window["t"] = self._end_s - self._from_s + 1
        seek = [text for name, value in window.items() for text in (f"-{name}", f"{value:.6f}")]
        command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-threads", "1"]
        command += [*seek, *input_arguments(self.key.path, piece)]
        command += [] if self.key.track is None else ["-map", f"0:{self.key.track}"]
        command += sound_arguments("pipe:1", head)
        if counts_from_mapped_streams(head):
            command += ["-map", "0:v?", "-c", "copy", "-f", "null", "-"]
        return command

    def _judge(self, stderr: str, ended: int) -> MediaInfo:
        check_read(self.key.path)
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
            raise why_not(self.key.path, stderr)
        if not info.has_audio:
            raise why_silent(self.key.path)
        return info

    def _is_read_whole(self) -> bool:
        """Return whether every byte of a file without sound can be read.

        If so, ffmpeg's read error comes from the content of the file, and trying again would not help.
        """
        if self.at or not isinstance(self.key.path, Path):
            return False
        try:
            with self.key.path.open("rb") as file:
                while file.read(READ_BYTES):
                    report_alive()
        except OSError:
            return False
        return True


_waiting: dict[PassKey, tuple[Pass, threading.Timer]] = {}
_lock = threading.Lock()


def resumed(key: PassKey, first: int) -> Pass | None:
    """Return the pass that waits before the sample `first`, or shortly behind it, or None."""
    with _lock:
        found = _waiting.get(key)
        if found is None or not found[0].rewind(first):
            return None
        del _waiting[key]
    found[1].cancel()
    return found[0]


def wait_for_next_slice(paused: Pass) -> None:
    """Keep a pass for the next slice, for some minutes."""
    timer = threading.Timer(WAITING_S, _end, [paused])
    timer.daemon = True
    with _lock:
        replaced = [_waiting.pop(paused.key)] if paused.key in _waiting else []
        _waiting[paused.key] = paused, timer
        while len(_waiting) > MOST_WAITING:
            replaced.append(_waiting.pop(next(iter(_waiting))))
    timer.start()
    for other, its_timer in replaced:
        its_timer.cancel()
        other.close()


def _end(paused: Pass) -> None:
    with _lock:
        if _waiting.get(paused.key, (None,))[0] is not paused:
            return
        del _waiting[paused.key]
    paused.close()


@atexit.register
def end_waiting() -> None:
    """End every pass that waits."""
    with _lock:
        ended = list(_waiting.values())
        _waiting.clear()
    for paused, timer in ended:
        timer.cancel()
        paused.close()


def sound_arguments(to: str, head: bytes, *, name: int = 0, **more: str | float) -> list[str]:
    """Return ffmpeg's arguments to write all channels as 16-bit WAV, and to log with `name` when the sound begins."""
    clock = keep_time(name) if has_times(head) else RESAMPLE
    # Omit tags, which would lie between the header and the samples.
    wav = {
        "f": "wav",
        "af": f"{clock},{_to_s16(name)}",
        "vn": None,
        "sn": None,
        "dn": None,
        "bitexact": None,
        "map_metadata": -1,
    }
    made = ffmpeg.input("-").output(to, **wav, **more)
    arguments: list[str] = made.get_args()
    return arguments[2:]


def _to_s16(name: int) -> str:
    return f"aformat=sample_fmts=s16,{SAY_WHEN.format(name=name)}"


def _merging(streams: Sequence[Path]) -> list[str]:
    """Return the command that decodes files at the same time and writes the channels of all of them."""
    inputs = [text for stream in streams for text in ("-threads", "1", *input_arguments(stream))]
    labels = "".join(f"[{n}:a]" for n in range(len(streams)))
    merged = f"{labels}amerge=inputs={len(streams)},{RESAMPLE},{_to_s16(0)}[all]"
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", *inputs, "-filter_complex", merged]
    return [*command, "-map", "[all]", "-bitexact", "-map_metadata", "-1", "-f", "wav", "pipe:1"]


def read_head(path: Readable, at: int = 0) -> bytes:
    """Return the first bytes from offset `at`. Raises: RetryableError: if the file cannot be read now."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise RetryableError(f"The recording cannot be read ({error.strerror}).", code="not_readable") from None
