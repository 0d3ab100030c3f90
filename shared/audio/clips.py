"""Decode many short recordings with one ffmpeg, because starting it can cost as much as transcribing a clip."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nightscribe.shared.audio.channels import ChannelSelector
from nightscribe.shared.audio.decode import Decoder, is_truncated
from nightscribe.shared.audio.ffmpeg_process import STALL_S, Log, begins_at, read_format, read_gaps, samples
from nightscribe.shared.audio.layout import Layout, read_layout
from nightscribe.shared.audio.passes import read_head, sound_arguments
from nightscribe.shared.audio.probe import (
    check_content,
    check_open,
    ffmpeg_path,
    input_arguments,
    length_s,
    parse_banner,
    probe,
)
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.audio.zero_runs import zero_bytes
from nightscribe.shared.errors import NightscribeError, PermanentError, RetryableError
from nightscribe.shared.process.scratch import scratch_folder

TOGETHER = 16
CLIP_BYTES = 2_000_000  # a larger file is worth its own ffmpeg
GAP_AT_END_S = 0.1
LONGEST_S = 300  # so is a longer one, because the sound of a whole bundle is on disk at the same time


@dataclass(frozen=True)
class Sound:
    """The complete result of a `Decoder` for a whole file."""

    waveform: Waveform
    container_s: float | None
    decoded_s: float
    channels_cancel: bool = False
    is_truncated: bool = False
    channels_are_apart: bool = False
    channels_differ: bool = False


class Unusual:
    """A recording that is longer than its size suggests, or has several audio tracks, and is not decoded here."""


def decode_together(paths: Sequence[Readable]) -> Iterator[Sound | Unusual | NightscribeError]:
    """Yield, for each path in order, the sound of the whole file, or the error that its `Decoder` raises.

    Only the current bundle is on disk, and only one file's audio is in memory, at any time.
    """
    clips: list[tuple[Path, Layout]] = []
    for path in paths:
        layout = _clip_layout(path)
        if isinstance(path, Path) and layout:
            clips.append((path, layout))
        if clips and (not layout or len(clips) == TOGETHER):
            yield from _decode(clips)
            clips = []
        if not layout:
            yield _decode_alone(path)
    yield from _decode(clips)


def _clip_layout(path: Readable) -> Layout | None:
    """Return the layout of a short recording of one piece, or None if it needs its own ffmpeg."""
    try:
        if not isinstance(path, Path) or path.stat().st_size > CLIP_BYTES:
            return None
        check_content(path)  # a file that is not a recording would make ffmpeg fail for the whole bundle
        layout = read_layout(path)
        check_open(layout)
    except (OSError, PermanentError, RetryableError):
        return None  # its own decoder reports the error
    is_usual = len(layout.pieces) == 1 and not layout.wavpack_streams and not layout.is_cut
    return layout if is_usual and not (layout.is_bare and zero_bytes(path)) else None


def _decode(clips: Sequence[tuple[Path, Layout]]) -> Iterator[Sound | Unusual | NightscribeError]:
    """Decode with one ffmpeg; if that fails, with one for each half, until the file that fails is alone."""
    if len(clips) < 2:
        yield from (_decode_alone(path) for path, _ in clips)
        return
    with scratch_folder() as folder:
        try:
            stderr = _run(clips, folder)
        except subprocess.TimeoutExpired:  # each half would wait just as long for the same disk
            yield from (_decode_alone(path) for path, _ in clips)
            return
        if stderr is not None:
            for name, (path, layout) in enumerate(clips):
                yield _sound(layout, folder / f"{name}.wav", stderr, name) or _decode_alone(path)
            return
    yield from _decode(clips[: len(clips) // 2])
    yield from _decode(clips[len(clips) // 2 :])


def _decode_alone(path: Readable) -> Sound | Unusual | NightscribeError:
    decoder = Decoder(path)
    chunks: list[Waveform] = []
    try:
        if read_layout(path).may_have_tracks and probe(path).audio_tracks > 1:
            return Unusual()
        for chunk in decoder:
            chunks.append(chunk)
            if decoder.decoded_s > LONGEST_S:
                return Unusual()
    except (PermanentError, RetryableError) as error:
        return error
    waveform = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    return Sound(
        waveform,
        decoder.container_s,
        decoder.decoded_s,
        channels_cancel=decoder.channels_cancel,
        is_truncated=decoder.is_truncated,
        channels_are_apart=decoder.channels_are_apart,
        channels_differ=decoder.channels_differ,
    )


def _run(clips: Sequence[tuple[Path, Layout]], folder: Path) -> str | None:
    """Write the sound of the n-th file to `n.wav`; return ffmpeg's messages, or None if it failed in any way."""
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-filter_threads", "1"]
    for path, layout in clips:
        command += ["-threads", "1", *input_arguments(path, layout.pieces[0])]
    try:
        for name, (path, layout) in enumerate(clips):
            head = read_head(path, layout.pieces[0].start)
            command += sound_arguments(f"{folder}/{name}.wav", head, name=name, t=LONGEST_S, map=f"{name}:a:0")
    except RetryableError:
        return None
    done = subprocess.run(command, capture_output=True, timeout=STALL_S, check=False)
    stderr = done.stderr.decode(errors="replace")
    return None if done.returncode or "Input/output error" in stderr else stderr


def _sound(layout: Layout, wav: Path, stderr: str, name: int) -> Sound | None:
    """Return the sound of the input with this number, or None if it needs its own decoder.

    It needs one if anything is unusual: several tracks, a gap in the timestamps, or less sound than the file states.
    """
    info, log = parse_banner(stderr, name), Log()
    log.begins_at = begins_at(stderr, name)
    if info is None or info.audio_tracks != 1 or log.begins_at is None or log.begins_at > LONGEST_S * RATE:
        return None
    selector = ChannelSelector(RATE)
    with wav.open("rb") as file:
        if (found := read_format(file.read)) is None:
            return None
        chunks = list(selector.to_mono(samples(file.read, found.n_channels, log), found.mask))
    waveform = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    container_s, decoded_s = length_s(layout.pieces[0], layout, info.duration_s), len(waveform) / RATE
    has_gap = any(gap.at_s < decoded_s - GAP_AT_END_S for gap in read_gaps(stderr, name))
    if has_gap or not 0 < len(waveform) < LONGEST_S * RATE or is_truncated(container_s or 0.0, decoded_s):
        return None
    return Sound(
        waveform,
        container_s,
        decoded_s,
        channels_cancel=selector.channels_cancel,
        channels_are_apart=selector.are_apart,
        channels_differ=selector.differ,
    )
