"""Run ffmpeg, and read the sound that it writes and its messages about gaps in the recording's clock."""

import os
import re
import select
import struct
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.errors import RetryableError

CHUNK_BYTES = 10 * 2 * RATE
STALL_S = 120  # a share that returns nothing for this long is down, not slow
LOG_LINES = 500
READ_BYTES = 64 * 1024

FILLED_S = 10  # ffmpeg itself fills shorter gaps with silence, but would hold longer ones in memory
LONGEST_GAP_S = 24 * 3600  # a longer gap means that the clock was set, not that there was a pause
HOLE_S = 0.5  # some codecs and calls write silence as shorter gaps
_BACK_S = 0.5
# The billions in a printed number identify the sound. The rest is the start of the gap if the number is negative, and
# its length otherwise.
_BILLION = 10**9
_NUMBER = re.compile(r"^(?:\[Eval @ \w+\] )?(-?\d{10,}\.\d{6})$", re.MULTILINE)


def keep_time(name: int = 0) -> str:
    """Return the filter that keeps the recording's clock by turning gaps into silence, so that later sound is on time.

    If the clock goes back, as in joined recordings, no sound is lost, and the clock continues from there. The filter
    prints the start and the length of each gap, both in seconds and marked with `name` (see `read_gaps`).
    """
    mark = _BILLION * (name + 1)
    steps = [
        "st(1,(PTS-ld(3)-ld(0))*TB)",  # register 1: delay of the next sound; 0: when it is due; 3: removed time
        f"if(gt(ld(1),{HOLE_S}),print(-{mark}-ld(0)*TB,32)+print({mark}+ld(1),32))",
        f"if(gt(ld(1),{FILLED_S})+lt(ld(1),-{_BACK_S})*gt(ld(0),0),st(3,ld(3)+ld(1)/TB))",
        "st(2,max(PTS-ld(3),ld(0)))",
        "st(0,ld(2)+NB_SAMPLES)",
        "ld(2)",
    ]
    return f"asetpts='{';'.join(steps)}',aresample={RATE}:async=1:min_hard_comp=0.02"


@dataclass(frozen=True)
class Gap:
    """A period in which the recording's clock ran without sound."""

    at_s: float
    """Start of the gap, not counting longer gaps before it."""
    seconds: float


class Log:
    """The first and last lines of ffmpeg's messages, because a damaged file can cause megabytes of them."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._last: deque[str] = deque(maxlen=LOG_LINES)
        self._unfinished = b""
        self._gap_at_s: float | None = None
        self._knows_gaps = True
        self.begins_at: int | None = None
        self.gaps: deque[Gap] = deque()
        self.holes: list[Gap] = []
        """Gaps between sounds, counted from the first sample that `samples` yielded."""

    def feed(self, read: bytes) -> None:
        """Add bytes that ffmpeg wrote."""
        *lines, self._unfinished = (self._unfinished + read).split(b"\n")
        for raw in lines:
            self._take(raw.decode(errors="replace"))

    def text(self) -> str:
        """Return all lines that were kept."""
        return "\n".join((*self._lines, *self._last, self._unfinished.decode(errors="replace")))

    def _take(self, line: str) -> None:
        if found := _NUMBER.match(line):
            self._take_gap(float(found[1]))
            return
        (self._lines if len(self._lines) < LOG_LINES else self._last).append(line)
        if (began := begins_at(line)) is not None:
            # If the sampling rate changes, ffmpeg creates its filters anew and counts from zero again. The place of
            # later gaps is then unknown.
            self._knows_gaps = self.begins_at is None
            self.begins_at = began if self.begins_at is None else self.begins_at

    def _take_gap(self, number: float) -> None:
        if number < 0:
            self._gap_at_s = -number % _BILLION
        elif self._gap_at_s is not None:
            is_new_count = self._gap_at_s == 0 and self.begins_at is not None
            if self._knows_gaps and not is_new_count:
                self.gaps.append(Gap(self._gap_at_s, number % _BILLION))
            self._gap_at_s = None


class FfmpegProcess:
    """A running ffmpeg that writes to its standard output; leaving the `with` block kills it."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None) -> None:
        self.log = Log()
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, bufsize=0
        )
        assert self._process.stdout and self._process.stderr  # noqa: S101  given the pipes above, for the type checker
        self._out, self._err = self._process.stdout, self._process.stderr
        self._stderr_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # no effect on a process that has already ended
        self._process.wait()
        self._out.close()
        self._err.close()

    def read(self, n_bytes: int) -> bytes:
        """Return up to `n_bytes` of sound as soon as there is some; an empty result means the end.

        The log then has all messages that ffmpeg wrote before these bytes.

        Raises: RetryableError: if nothing arrives for a long time.
        """
        while True:
            waiting = [self._out] if self._stderr_ended else [self._out, self._err]
            ready = select.select(waiting, [], [], STALL_S)[0]
            if not ready:
                raise RetryableError(
                    f"The recording gave no sound for {STALL_S} s: its disk or share does not respond.",
                    code="storage_unreachable",
                )
            if self._err in ready:
                self._listen()
            else:
                return os.read(self._out.fileno(), n_bytes)

    def wait(self) -> int:
        """Wait until ffmpeg has ended and all its messages are in the log; return its exit status."""
        while not self._stderr_ended:
            self._listen()
        return self._process.wait()

    def _listen(self) -> None:
        stderr = os.read(self._err.fileno(), READ_BYTES)
        self._stderr_ended = not stderr
        self.log.feed(stderr)


@dataclass(frozen=True)
class WavFormat:
    """The format that ffmpeg's WAV header states."""

    n_channels: int
    mask: int
    """Loudspeakers of the channels; 0 if ffmpeg does not know them."""


def read_format(read: Callable[[int], bytes]) -> WavFormat | None:
    """Read the header before the samples; return None if there is none."""
    if len(_exactly(read, 12)) < 12:
        return None
    n_channels, mask = 1, 0
    while len(head := _exactly(read, 8)) == 8:
        name, n_bytes = struct.unpack("<4sI", head)
        if name == b"data":
            return WavFormat(n_channels, mask)
        body = _exactly(read, n_bytes + n_bytes % 2)
        if name == b"fmt " and len(body) >= 16:
            n_channels = struct.unpack_from("<H", body, 2)[0]
            mask = struct.unpack_from("<I", body, 20)[0] if len(body) >= 24 else 0
    return None


def samples(read: Callable[[int], bytes], n_channels: int, log: Log) -> Iterator[NDArray[np.int16]]:
    """Yield the samples after the header, shape (n_samples, n_channels), beginning at time zero.

    Silence fills the time before a late beginning, and the gaps that ffmpeg leaves to its caller (see `keep_time`).
    """
    frame_bytes = 2 * n_channels
    # Read before using `begins_at`, because only then has ffmpeg certainly printed it.
    rest = read(CHUNK_BYTES)
    late = log.begins_at or 0
    yield from _silence(late, n_channels)
    n_early = max(0, -late) * frame_bytes
    while n_early and rest:
        n_early, rest = n_early - len(rest[:n_early]), rest[n_early:] or read(CHUNK_BYTES)
    at, n_filled = max(0, late), 0  # in ffmpeg's count, which omits long gaps
    begun = False
    while True:
        n_bytes = len(rest) // frame_bytes * frame_bytes
        sound = np.frombuffer(rest[:n_bytes], np.int16).reshape(-1, n_channels)
        while log.gaps and round(log.gaps[0].at_s * RATE) < at + len(sound):
            gap = log.gaps.popleft()
            n_before = max(0, round(gap.at_s * RATE) - at)
            if n_before:
                yield sound[:n_before]
            at, sound = at + n_before, sound[n_before:]
            if begun or n_before:
                log.holes.append(Gap((at + n_filled) / RATE, gap.seconds))
            begun = True
            if FILLED_S < gap.seconds <= LONGEST_GAP_S:
                yield from _silence(round(gap.seconds * RATE), n_channels)
                n_filled += round(gap.seconds * RATE)
        if len(sound):
            yield sound
            at, begun = at + len(sound), True
        if not (read_now := read(CHUNK_BYTES)):
            return
        rest = rest[n_bytes:] + read_now


def _silence(n_samples: int, n_channels: int) -> Iterator[NDArray[np.int16]]:
    for done in range(0, n_samples, RATE):
        yield np.zeros((min(RATE, n_samples - done), n_channels), np.int16)


def _exactly(read: Callable[[int], bytes], n_bytes: int) -> bytes:
    """Return `n_bytes` bytes, or fewer at the end."""
    found = b""
    while len(found) < n_bytes and (came := read(n_bytes - len(found))):
        found += came
    return found


def begins_at(stderr: str, name: int | None = None) -> int | None:
    """Return the first sample of the sound (with this name), counted from the film's beginning or from the seek.

    ffmpeg's threads write into each other's lines, so a name may be lost; a single sound needs none.
    """
    whose = "" if name is None else rf"\[ametadata@{name} @ \w+\] "
    found = re.search(rf"{whose}frame:0 +pts:(-?\d+)", stderr)
    return int(found[1]) if found else None


def read_gaps(stderr: str, name: int) -> list[Gap]:
    """Return the gaps of the sound with this name.

    The last may be at its end, where some versions of ffmpeg call their filters once more with a wrong time.
    """
    own = [float(each) for each in _NUMBER.findall(stderr) if int(abs(float(each)) // _BILLION) == name + 1]
    return [Gap(-at_s % _BILLION, length % _BILLION) for at_s, length in pairwise(own) if at_s < 0 < length]
