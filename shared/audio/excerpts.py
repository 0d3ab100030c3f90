"""Read excerpts spread over a recording, to decide which of its tracks and channels to transcribe."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.ffmpeg_process import FfmpegProcess, Log, read_format, samples
from nightscribe.shared.audio.layout import Layout, Piece, read_layout
from nightscribe.shared.audio.probe import MediaInfo, check_read, ffmpeg_environment, ffmpeg_path, input_arguments
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.process.scratch import scratch_folder

N_PLACES = 12
TOTAL_S = 60  # of all tracks together, at one place
LONGEST_S, SHORTEST_S = 30, 5
MOST_TRACKS = 32
MOST_PIECES = 12


@dataclass(frozen=True)
class Excerpt:
    """What all tracks of a recording carry at the same time."""

    tracks: dict[int, NDArray[np.int16]]
    """16 kHz samples of shape (n_samples, n_channels) by the stream number of the track."""
    masks: dict[int, int]
    """Loudspeakers of the channels of each track; 0 if unknown."""
    default: int
    """Number of the stream that ffmpeg, like a player, chooses."""


def read_excerpts(path: Readable, info: MediaInfo) -> Iterator[Excerpt]:
    """Yield excerpts from a recording whose properties are `info`, in the order of time.

    A short recording is read whole. The places depend only on the file, so that every reader makes the same decisions;
    because no sample is kept, seeking need not be exact. Places that cannot be decoded are left out.

    Raises: RetryableError: if the storage stops responding.
    """
    streams = [track.number for track in info.tracks[:MOST_TRACKS]]
    seconds = min(LONGEST_S, max(SHORTEST_S, TOTAL_S / len(streams)))
    for piece, start_s in _places(read_layout(path), info.duration_s, seconds):
        report_alive()
        excerpt = _read(path, piece, streams, start_s, seconds)
        if excerpt is None and len(streams) > 1:  # a track that cannot be decoded spoils the others
            alone = [_read(path, piece, [stream], start_s, seconds) for stream in streams]
            streams = [stream for stream, each in zip(streams, alone, strict=True) if each is not None] or streams
            excerpt = _read(path, piece, streams, start_s, seconds)
        if excerpt is not None:
            yield excerpt


def _places(layout: Layout, length_s: float | None, seconds: float) -> Iterator[tuple[Piece, float]]:
    """Yield where to read: the piece of the file, and the seconds from its beginning."""
    pieces = [layout.pieces[n] for n in _spread(len(layout.pieces), MOST_PIECES)]
    each_s = length_s / len(layout.pieces) if length_s is not None else None
    n_each = max(1, N_PLACES // len(pieces))
    for piece in pieces:
        if each_s is None:  # a length that nobody states is found by going on, in longer and longer steps
            yield from ((piece, seconds * (2**n - 1)) for n in range(n_each))
        else:
            last_s = max(0.0, each_s - seconds)
            n = min(n_each, 1 + int(last_s // seconds + (last_s % seconds > 0)))
            yield from ((piece, last_s * place / max(1, n - 1)) for place in range(n))


def _spread(n: int, at_most: int) -> list[int]:
    return list(range(n)) if n <= at_most else [round(at * (n - 1) / (at_most - 1)) for at in range(at_most)]


def _read(path: Readable, piece: Piece, streams: list[int], start_s: float, seconds: float) -> Excerpt | None:
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-threads", "1"]
    command += ["-ss", f"{start_s:.3f}", "-t", f"{seconds:.3f}", *input_arguments(path, piece)]
    # The first output only shows which stream ffmpeg chooses.
    command += ["-vn", "-sn", "-dn", "-c", "copy", "-t", "0.01", "-f", "null", "-"]
    with scratch_folder() as folder:
        for stream in streams:
            command += [
                "-map",
                f"0:{stream}",
                "-ar",
                str(RATE),
                "-c:a",
                "pcm_s16le",
                "-bitexact",
                "-map_metadata",
                "-1",
            ]
            command += ["-f", "wav", f"{folder}/{stream}.wav"]
        with FfmpegProcess(command, ffmpeg_environment(path)) as process:
            process.wait()
            stderr = process.log.text()
        check_read(path)
        chosen = re.search(r"^  Stream #0:(\d+) -> #0:0", stderr, re.MULTILINE)
        found = {stream: _load(folder / f"{stream}.wav") for stream in streams}
    sound = {stream: each for stream, each in found.items() if each is not None}
    if not sound or not chosen:
        return None
    return Excerpt({s: each for s, (each, _) in sound.items()}, {s: m for s, (_, m) in sound.items()}, int(chosen[1]))


def _load(wav: Path) -> tuple[NDArray[np.int16], int] | None:
    if not wav.exists():
        return None
    with wav.open("rb") as file:
        if (found := read_format(file.read)) is None:
            return None
        chunks = list(samples(file.read, found.n_channels, Log()))
    return (np.concatenate(chunks), found.mask) if chunks else None
