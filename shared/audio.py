"""From a file to a waveform, as a stream: a ten-hour recording needs no more memory than a short one."""

import select
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from shared.errors import AudioError, RetryableError
from shared.media import declared_wav_s, ffmpeg_path, input_arguments, parse_banner, why_not, why_silent

RATE = 16_000  # samples a second, what Whisper hears
CHUNK_BYTES = 2 * 10 * RATE
FROM_ZERO = "aresample=first_pts=0"  # a film's sound may begin later than the film, and the subtitles count from there
STALL_S = 120  # a share that gives nothing for so long is down, not slow

Waveform = NDArray[np.float32]
"""Mono, 16 kHz, in [-1, 1], shape (n_samples,)."""


class Decoder:
    """Sound of a file from `start_s` to `end_s` (None: its end).

    After iterating, `container_s` is what the whole file promises, `decoded_s` what came, and `channels_cancel` whether
    one channel is the other turned upside down, so that a mix of both would have been silence.
    """

    def __init__(self, path: Path, start_s: float = 0.0, end_s: float | None = None) -> None:
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
        command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-threads", "1", *self._arguments()]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout and process.stderr  # noqa: S101  given the pipes above, for the type checker
            said: list[bytes] = []
            stderr = process.stderr
            listener = threading.Thread(target=lambda: said.append(_ends(stderr)), daemon=True)
            listener.start()
            try:
                yield from self._chunks(process.stdout)
                ended = process.wait()
            finally:
                process.kill()  # no effect on one that has ended by itself
                listener.join()
        self._judge(b"".join(said).decode(errors="replace"), ended)

    def _arguments(self) -> list[str]:
        window: dict[str, float] = {}
        if self._start_s:
            window["ss"] = self._start_s
        if self._end_s is not None:
            window["t"] = self._end_s - self._start_s
        seek = [text for name, value in window.items() for text in (f"-{name}", f"{value:.6f}")]
        output = ffmpeg.input("-").output("pipe:1", f="s16le", ac=1, ar=RATE, af=FROM_ZERO, vn=None, sn=None, dn=None)
        pcm: list[str] = output.get_args()
        return [*seek, *input_arguments(self._path), *pcm[2:]]

    def _chunks(self, stream: IO[bytes]) -> Iterator[Waveform]:
        rest = b""
        while True:
            if not select.select([stream], [], [], STALL_S)[0]:
                raise RetryableError(f"The recording gave no sound for {STALL_S} s: its disk or share does not answer.")
            read = stream.read1(CHUNK_BYTES)  # type: ignore[attr-defined]
            if not read:
                return
            whole = rest + read
            rest = whole[len(whole) // 2 * 2 :]
            samples = np.frombuffer(whole[: len(whole) // 2 * 2], np.int16)
            self.decoded_s += len(samples) / RATE
            yield samples.astype(np.float32) / np.float32(32768)

    def _judge(self, said: str, ended: int) -> None:
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


def _ends(stream: IO[bytes], keep: int = 64 * 1024) -> bytes:
    """The beginning (the banner) and the end of what is said: a damaged file can complain for megabytes."""
    head, tail = stream.read(keep), b""
    while read := stream.read(keep):
        tail = (tail + read)[-keep:]
    return head + tail
