"""Many short recordings by one ffmpeg: starting it can cost as much as transcribing a clip."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nightscribe.shared.audio.channels import ChannelSelector
from nightscribe.shared.audio.decode import RATE, STALL_S, Decoder, Waveform, begins_at, ends, samples, sound_arguments
from nightscribe.shared.audio.probe import check_content, declared_wav_s, ffmpeg_path, input_arguments, parse_banner
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.errors import NightscribeError, PermanentError, RetryableError
from nightscribe.shared.process.scratch import scratch_folder

TOGETHER = 16
CLIP_BYTES = 2_000_000  # what is larger is worth an ffmpeg of its own
LONGEST_S = 300  # so is what turns out to be long: that many of them lie on the disk at a time


@dataclass(frozen=True)
class Sound:
    """All that a `Decoder` gives of a whole file."""

    waveform: Waveform
    container_s: float | None
    decoded_s: float
    channels_cancel: bool = False


def decode_together(paths: Sequence[Readable]) -> Iterator[Sound | NightscribeError]:
    """For each path in its order the sound of the whole file, or the error that its `Decoder` raises about it.

    Only the bundle of files that is being handed out is on the disk, and only one sound in memory.
    """
    clips: list[Path] = []
    for path in paths:
        clip = isinstance(path, Path) and _is_clip(path)
        if isinstance(path, Path) and clip:
            try:
                check_content(path)
            except (PermanentError, RetryableError):
                clip = False  # it would make the ffmpeg of all fail; decoded alone, it gets its error
            else:
                clips.append(path)
        if clips and (not clip or len(clips) == TOGETHER):
            yield from _decode(clips)
            clips = []
        if not clip:
            yield _decode_alone(path)
    yield from _decode(clips)


def _is_clip(path: Path) -> bool:
    try:
        return path.stat().st_size <= CLIP_BYTES
    except OSError:
        return False  # its own decoder finds the words for it


def _decode(paths: Sequence[Path]) -> Iterator[Sound | NightscribeError]:
    """By one ffmpeg; where that fails by two for the halves, until the one that made it fail is alone."""
    if len(paths) < 2:
        yield from map(_decode_alone, paths)
        return
    with scratch_folder() as folder:
        try:
            said = _run(paths, folder)
        except subprocess.TimeoutExpired:  # halves would wait as long for the same disk, again and again
            yield from map(_decode_alone, paths)
            return
        if said is not None:
            for name, path in enumerate(paths):
                yield _sound(path, folder / f"{name}.wav", said, name) or _decode_alone(path)
            return
    yield from _decode(paths[: len(paths) // 2])
    yield from _decode(paths[len(paths) // 2 :])


def _decode_alone(path: Readable) -> Sound | NightscribeError:
    decoder = Decoder(path)
    try:
        chunks = list(decoder)
    except (PermanentError, RetryableError) as error:
        return error
    waveform = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    return Sound(waveform, decoder.container_s, decoder.decoded_s, decoder.channels_cancel)


def _run(paths: Sequence[Path], folder: Path) -> str | None:
    """What ffmpeg said while it wrote the sound of the n-th file to `n.wav`, or None if it failed in any way."""
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-filter_threads", "1"]
    for path in paths:
        command += ["-threads", "1", *input_arguments(path)]
    try:
        for name, path in enumerate(paths):
            head, _ = ends(path)
            command += sound_arguments(f"{folder}/{name}.wav", head, name=name, t=LONGEST_S, map=f"{name}:a:0")
    except RetryableError:
        return None
    done = subprocess.run(command, capture_output=True, timeout=STALL_S, check=False)
    said = done.stderr.decode(errors="replace")
    return None if done.returncode or "Input/output error" in said else said


def _sound(path: Path, wav: Path, said: str, name: int) -> Sound | None:
    """The sound of the file that was the input of that number, or None if its own decoder should have a look at it."""
    info, late = parse_banner(said, name), begins_at(said, name)
    if info is None or info.audio_tracks != 1 or late is None:
        return None
    listener = ChannelSelector(RATE)
    with wav.open("rb") as file:
        chunks = list(listener.to_mono(samples(file, lambda: late)))
    waveform = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    if not 0 < len(waveform) < LONGEST_S * RATE:
        return None
    return Sound(waveform, declared_wav_s(path) or info.duration_s, len(waveform) / RATE, listener.channels_cancel)
