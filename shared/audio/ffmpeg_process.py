"""Run ffmpeg: read the sound that it writes, and beside it what it says about gaps in the recording's clock."""

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
STALL_S = 120  # a share that gives nothing for so long is down, not slow
LOG_LINES = 500
READ_BYTES = 64 * 1024

FILLED_S = 10  # ffmpeg fills shorter gaps with silence itself; of longer ones it would hold all of it in memory
LONGEST_GAP_S = 24 * 3600  # a longer one is a clock that was set, not a pause
HOLE_S = 0.5  # shorter gaps are how some codecs and calls write silence
_BACK_S = 0.5
# A printed number says whose gap it is by the billions in it. The rest is where the gap begins, if the number is
# negative, or how long it is.
_BILLION = 10**9
_NUMBER = re.compile(r"^(?:\[Eval @ \w+\] )?(-?\d{10,}\.\d{6})$", re.MULTILINE)


def keep_time(name: int = 0) -> str:
    """Return the filter that keeps the recording's clock: a gap becomes silence, or everything behind would be early.

    Where the clock goes back, as it does where recordings are joined, no sound is lost, and it goes on from there. The
    filter prints each gap: where it begins and how long it is, both in seconds and with `name` (see `read_gaps`).
    """
    mark = _BILLION * (name + 1)
    steps = [
        "st(1,(PTS-ld(3)-ld(0))*TB)",  # by how much the next sound comes late; 0 is when it is due, 3 what was removed
        f"if(gt(ld(1),{HOLE_S}),print(-{mark}-ld(0)*TB,32)+print({mark}+ld(1),32))",
        f"if(gt(ld(1),{FILLED_S})+lt(ld(1),-{_BACK_S})*gt(ld(0),0),st(3,ld(3)+ld(1)/TB))",
        "st(2,max(PTS-ld(3),ld(0)))",
        "st(0,ld(2)+NB_SAMPLES)",
        "ld(2)",
    ]
    return f"asetpts='{';'.join(steps)}',aresample={RATE}:async=1:min_hard_comp=0.02"


@dataclass(frozen=True)
class Gap:
    """Time in which the recording's clock went on without sound."""

    at_s: float
    """Where it begins, not counting longer gaps before it."""
    seconds: float


class Log:
    """What ffmpeg says while it works: the beginning, and the end, since a damaged file can complain for megabytes."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._last: deque[str] = deque(maxlen=LOG_LINES)
        self._unfinished = b""
        self._gap_at_s: float | None = None
        self._knows_gaps = True
        self.begins_at: int | None = None
        self.gaps: deque[Gap] = deque()
        self.holes: list[Gap] = []
        """Gaps between sounds, counted from the first sample that `samples` gave."""

    def feed(self, read: bytes) -> None:
        """Take in what has come."""
        *lines, self._unfinished = (self._unfinished + read).split(b"\n")
        for raw in lines:
            self._take(raw.decode(errors="replace"))

    def text(self) -> str:
        """Return all that was kept."""
        return "\n".join((*self._lines, *self._last, self._unfinished.decode(errors="replace")))

    def _take(self, line: str) -> None:
        if found := _NUMBER.match(line):
            self._take_gap(float(found[1]))
            return
        (self._lines if len(self._lines) < LOG_LINES else self._last).append(line)
        if (began := begins_at(line)) is not None:
            # ffmpeg sets up its filters anew where the sampling rate changes, and counts from zero again: from there on
            # it is not known where a gap lies.
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
    """A running ffmpeg that writes to its standard output; it ends with the `with` block at the latest."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None) -> None:
        self.log = Log()
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, bufsize=0
        )
        assert self._process.stdout and self._process.stderr  # noqa: S101  given the pipes above, for the type checker
        self._out, self._err = self._process.stdout, self._process.stderr
        self._said_all = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # no effect on one that has ended by itself
        self._process.wait()
        self._out.close()
        self._err.close()

    def read(self, n_bytes: int) -> bytes:
        """Return sound that has come, up to so many bytes; nothing at its end.

        All that ffmpeg said before it wrote them has been taken into the log.

        Raises: RetryableError: if nothing comes for long.
        """
        while True:
            waiting = [self._out] if self._said_all else [self._out, self._err]
            ready = select.select(waiting, [], [], STALL_S)[0]
            if not ready:
                raise RetryableError(
                    f"The recording gave no sound for {STALL_S} s: its disk or share does not answer.",
                    code="storage_unreachable",
                )
            if self._err in ready:
                self._listen()
            else:
                return os.read(self._out.fileno(), n_bytes)

    def wait(self) -> int:
        """Return its exit status, once it has ended and all that it said is in the log."""
        while not self._said_all:
            self._listen()
        return self._process.wait()

    def _listen(self) -> None:
        said = os.read(self._err.fileno(), READ_BYTES)
        self._said_all = not said
        self.log.feed(said)


@dataclass(frozen=True)
class WavFormat:
    """What the header of the WAV that ffmpeg writes says."""

    n_channels: int
    mask: int
    """The speakers for which the channels are meant; 0 if ffmpeg does not know."""


def read_format(read: Callable[[int], bytes]) -> WavFormat | None:
    """Read the header in front of the samples; None if none comes."""
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
    """Yield samples of shape (n_samples, n_channels) from behind the header, the first of them where time is zero.

    Silence stands where sound begins late, and in the gaps that ffmpeg leaves to its caller (see `keep_time`).
    """
    frame_bytes = 2 * n_channels
    # Read before the sound's place is asked for: by then ffmpeg has said it.
    rest = read(CHUNK_BYTES)
    late = log.begins_at or 0
    yield from _silence(late, n_channels)
    if late < 0:
        rest = (rest + _exactly(read, -late * frame_bytes - len(rest)))[-late * frame_bytes :]
    at, n_filled = max(0, late), 0  # as ffmpeg counts, without the gaps that it leaves out
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
    """Return so many bytes, or fewer at the end."""
    found = b""
    while len(found) < n_bytes and (came := read(n_bytes - len(found))):
        found += came
    return found


def begins_at(said: str, name: int | None = None) -> int | None:
    """Return the sample with which the sound (of that name) begins, counted from the film's beginning or from the seek.

    ffmpeg's threads write into each other's lines: a name may be lost, and only one sound needs none.
    """
    whose = "" if name is None else rf"\[ametadata@{name} @ \w+\] "
    found = re.search(rf"{whose}frame:0 +pts:(-?\d+)", said)
    return int(found[1]) if found else None


def read_gaps(said: str, name: int) -> list[Gap]:
    """Return the gaps of the sound of that name.

    The last may lie at its end: some versions of ffmpeg ask their filters once more there, with a wrong time.
    """
    own = [float(each) for each in _NUMBER.findall(said) if int(abs(float(each)) // _BILLION) == name + 1]
    return [Gap(-at_s % _BILLION, length % _BILLION) for at_s, length in pairwise(own) if at_s < 0 < length]
