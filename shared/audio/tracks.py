"""Choose the audio track to transcribe if a file has several."""

import re
from pathlib import Path

from nightscribe.shared.audio.ffmpeg_process import FfmpegProcess
from nightscribe.shared.audio.layout import Piece
from nightscribe.shared.audio.probe import ffmpeg_environment, ffmpeg_path, input_arguments, probe
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.process.liveness import report_alive

LOOK_S = 300
MOST_KEPT = 256
SILENT_DB = -55.0  # a track without a louder sample holds no speech

_chosen: dict[tuple[str, int, Piece], int | None] = {}


def choose_track(path: Readable, head: bytes, piece: Piece) -> int | None:
    """Return ffmpeg's number of the stream to transcribe, or None if there is no choice.

    It is ffmpeg's default stream, unless that one is silent and another is not. Levels are measured at the beginning
    and in the middle, once for each path and `head`.
    """
    key = (str(path) if isinstance(path, Path) else path.url, hash(head), piece)
    if key not in _chosen:
        if len(_chosen) >= MOST_KEPT:
            _chosen.clear()
        _chosen[key] = _choose(path, piece)
    return _chosen[key]


def _choose(path: Readable, piece: Piece) -> int | None:
    info = probe(path)
    if info.audio_tracks < 2:
        return None
    starts = [0.0] if (info.duration_s or 0) <= 2 * LOOK_S else [0.0, (info.duration_s or 0) / 2]
    loudest: dict[int, float] = {}
    chosen = None
    for start_s in starts:
        report_alive()
        stderr = _listen(path, piece, info.audio_tracks, start_s, 2 * LOOK_S / len(starts))
        streams = [int(stream) for stream in re.findall(r"^  Stream #0:(\d+) -> #", stderr, re.MULTILINE)]
        if len(streams) != 1 + info.audio_tracks:
            return None
        chosen = streams[0]
        for name, stream in enumerate(streams):
            found = re.search(rf"volumedetect@{name} @ \w+\] max_volume: (-?[\d.]+) dB", stderr)
            loudest[stream] = max(loudest.get(stream, -200.0), float(found[1]) if found else -200.0)
    if chosen is None or loudest[chosen] >= SILENT_DB:
        return chosen
    return next((stream for stream, level in sorted(loudest.items()) if level >= SILENT_DB), chosen)


def _listen(path: Readable, piece: Piece, n_tracks: int, start_s: float, length_s: float) -> str:
    """Return ffmpeg's messages about the level of its default track, and then of each track."""
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-ss", f"{start_s:.3f}", "-t", f"{length_s:.3f}"]
    command += input_arguments(path, piece)
    for name in range(n_tracks + 1):
        command += [*(["-map", f"0:a:{name - 1}"] if name else ["-vn", "-sn", "-dn"])]
        command += ["-af", f"volumedetect@{name}", "-f", "null", "-"]
    with FfmpegProcess(command, ffmpeg_environment(path)) as process:
        process.wait()
        return process.log.text()
