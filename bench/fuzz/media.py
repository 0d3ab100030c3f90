"""Targets of the fuzzer that read recordings: our own parsers, and everything from a file to its sound."""

import contextlib
import errno
import os
import subprocess
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from hypothesis import strategies as st

from fuzz.target import Target
from nightscribe.director.plan.bundles import MOST_SLICES, nominal_cut_points
from nightscribe.shared.audio.clips import Sound, decode_together
from nightscribe.shared.audio.containers import counts_from_mapped_streams, has_times, id3_bytes
from nightscribe.shared.audio.decode import ABSURD_AFTER_S, LEAST_BYTES_PER_S, Decoder
from nightscribe.shared.audio.layout import LONGEST_MOOV_BYTES, Layout, read_layout
from nightscribe.shared.audio.probe import LONGEST_S, check_content, ffmpeg_path, length_s, probe
from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.errors import NightscribeError, PermanentError

LARGEST_OFFSET = 2**44  # of ext4, with its usual blocks; other file systems allow more
SECONDS = 0.5

# Suffix, and ffmpeg's options to make such a file.
KINDS = {
    "wav": "-c:a pcm_s16le",
    "extensible.wav": "-c:a pcm_s24le -ac 3",
    "alaw.wav": "-c:a pcm_alaw",
    "adpcm.wav": "-c:a adpcm_ms",
    "rf64.wav": "-c:a pcm_s16le -rf64 always",
    "w64": "-c:a pcm_s16le",
    "aiff": "-c:a pcm_s16be",
    "caf": "-c:a pcm_s16be",
    "alac.caf": "-c:a alac",
    "flac": "-c:a flac",
    "mp3": "-c:a libmp3lame -b:a 32k",
    "bare.mp3": "-c:a libmp3lame -b:a 32k -id3v2_version 0 -write_xing 0",
    "ogg": "-c:a libvorbis",
    "opus": "-c:a libopus -b:a 16k",
    "m4a": "-c:a aac -b:a 32k",
    "fragmented.mp4": "-c:a aac -b:a 32k -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 100000",
    "front.mp4": "-c:a aac -b:a 32k -movflags +faststart",
    "mov": "-c:a pcm_s16be",
    "aac": "-c:a aac -b:a 32k",
    "mka": "-c:a libopus -b:a 16k",
    "webm": "-c:a libvorbis",
    "ts": "-c:a aac -b:a 32k",
    "mpg": "-c:a mp2 -b:a 64k",
    "flv": "-c:a aac -b:a 32k",
    "wma": "-c:a wmav2 -b:a 32k",
    "avi": "-c:a mp2 -b:a 64k",
    "wv": "-c:a wavpack",
    "amr": "-c:a libopencore_amrnb -ar 8000 -ac 1 -b:a 12.2k",
    "au": "-c:a pcm_mulaw",
    "tta": "-c:a tta",
    "8svx": "-c:a pcm_s8",
    "gsm": "-c:a libgsm -ar 8000",
}


@cache
def recording(kind: str) -> bytes:
    """Return a small recording of half a second; empty if this ffmpeg cannot make the kind."""
    with tempfile.TemporaryDirectory(prefix="nightscribe-fuzz-") as folder:
        path = Path(folder, f"a.{kind}")
        tone = f"aevalsrc=0.3*sin(2*PI*(300*t+60*sin(9*t))):s=16000:d={SECONDS}"
        command = [ffmpeg_path(), "-nostdin", "-v", "error", "-f", "lavfi", "-i", tone, *KINDS[kind].split()]
        subprocess.run([*command, "-bitexact", path], capture_output=True, check=False)
        return path.read_bytes() if path.exists() else b""


# What befalls a file

NUMBERS = st.sampled_from(
    [*range(9), *(2**bits + more for bits in (7, 8, 15, 16, 24, 31, 32, 40, 62, 63) for more in (-1, 0)), 2**64 - 1]
)
PLACES = st.one_of(st.integers(0, 64), st.integers(0, 600), st.integers(0, 2**14), st.integers(-64, -1))


@st.composite
def mutation(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw content with one change: a number, a bit, bytes removed, repeated, inserted or set to zero, or its end."""
    at = draw(PLACES) % (len(content) + 1)
    n = draw(st.sampled_from([1, 2, 4, 8, 16, 64, 500]))
    match draw(st.sampled_from(["number", "number", "number", "tag", "bit", "bytes", "cut", "repeat", "zero", "end"])):
        case "number":
            size = draw(st.sampled_from([1, 2, 4, 8]))
            number = draw(NUMBERS) & (1 << 8 * size) - 1
            return content[:at] + number.to_bytes(size, draw(st.sampled_from(["big", "little"]))) + content[at + size :]
        case "tag":  # the size before or behind a name of four letters
            tags = [found for found in range(4, min(len(content), 4096) - 8) if content[found : found + 4].isalpha()]
            at = draw(st.sampled_from(tags)) + draw(st.sampled_from([-4, 4])) if tags else 0
            number = draw(NUMBERS) & 0xFFFF_FFFF
            return content[:at] + number.to_bytes(4, draw(st.sampled_from(["big", "little"]))) + content[at + 4 :]
        case "bit":
            if at < len(content):
                changed = content[at] ^ 1 << draw(st.integers(0, 7))
                return content[:at] + bytes([changed]) + content[at + 1 :]
        case "bytes":
            return content[:at] + draw(st.binary(max_size=16)) + content[at:]
        case "cut":
            return content[:at] + content[at + n :]
        case "repeat":
            return content[:at] + content[at : at + n] * draw(st.sampled_from([2, 3, 50])) + content[at + n :]
        case "zero":
            return content[:at] + bytes(len(content[at : at + n])) + content[at + n :]
        case "end":
            return content[: max(1, at)]
    return content


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw one or two small recordings in one file, with up to four changes, behind the name of its kind."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    content = recording(kind)
    if not draw(st.integers(0, 5)):
        content += recording(draw(st.sampled_from([kind, *sorted(KINDS)])))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 2, 4]))):
        content = draw(mutation(content))
    return kind.encode() + b"\n" + content


def divided(case: bytes) -> tuple[str, bytes]:
    """Return the suffix and the content of a file."""
    kind, _, content = case.partition(b"\n")
    return "." + kind.decode(errors="replace").rpartition(".")[2].replace("/", "").replace("\0", ""), content


# Our own parsers


class Metered(BytesIO):
    """A file that refuses to be read without bounds."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.n_reads = 0
        self.n_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does, which makes room for all that is wanted."""
        assert size is not None
        assert 0 <= size <= LONGEST_MOOV_BYTES, f"room for {size} bytes"
        found = super().read(size)
        self.n_reads += 1
        self.n_bytes += len(found)
        return found

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Refuse what file systems refuse."""
        if offset >= LARGEST_OFFSET:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) if offset < 2**63 else OverflowError
        return super().seek(offset, whence)


class InMemory:
    """A recording in memory, which counts how it is read."""

    url = "http://recording/a"
    proxy = ""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.opened: list[Metered] = []

    def open(self, mode: str = "rb", /) -> BinaryIO:
        """Open it."""
        assert mode == "rb"
        self.opened.append(Metered(self.content))
        return self.opened[-1]

    def check(self) -> None:
        """Do nothing: it can always be read."""

    def reads(self) -> tuple[int, int]:
        """Return the number of reads, and of bytes that were read."""
        return sum(each.n_reads for each in self.opened), sum(each.n_bytes for each in self.opened)


def parse(case: bytes) -> None:
    """Read the structure of a file with bounded memory, and in time that its size bounds."""
    _, content = divided(case)
    file = InMemory(content)
    with contextlib.suppress(PermanentError):
        check_content(file)
    layout = read_layout(file)
    head = content[: 64 * 1024]
    has_times(head), counts_from_mapped_streams(head), id3_bytes(head)
    n_reads, n_bytes = file.reads()
    assert n_reads <= 4 * len(content) + 1000, f"{n_reads} reads of {len(content)} bytes"
    assert n_bytes <= 40 * len(content) + 2**20, f"{n_bytes} bytes read of {len(content)}"
    check_layout(layout, len(content))


def check_layout(layout: Layout, size: int) -> None:
    """Check that a layout lies in its file, and that its lengths are possible."""
    before = 0
    for piece in layout.pieces:
        assert before <= piece.start <= size
        before = size if piece.end is None else piece.end
        assert piece.start <= before <= size
        check_seconds(length_s(piece, layout, None))
        if piece.wav:
            assert piece.start <= piece.wav.sound_at <= piece.wav.sound_end <= size


def check_seconds(seconds: float | None) -> None:
    """Check that a length is one."""
    assert seconds is None or 0 <= seconds <= LONGEST_S, f"{seconds} s"


# From a file to its sound


def decode(case: bytes) -> None:
    """Probe and decode a file, whole and in two slices, alone and beside a good one."""
    suffix, content = divided(case)
    with tempfile.TemporaryDirectory(prefix="nightscribe-fuzz-") as folder:
        path, good = Path(folder, f"a{suffix}"), Path(folder, "good.wav")
        path.write_bytes(content)
        good.write_bytes(recording("wav"))
        try:
            duration_s = probe(path).duration_s
        except PermanentError:
            duration_s = None
        check_seconds(duration_s)
        cuts = nominal_cut_points(duration_s or 0.0, 600)
        assert len(cuts) < MOST_SLICES, f"{len(cuts)} cuts of {len(content)} bytes"
        whole = sound(path)
        if isinstance(whole, NightscribeError):
            assert isinstance(whole, PermanentError), f"it counts as curable: {whole}"
        else:
            cut_s = round(len(whole) / RATE / 2, 2)
            slices = [sound(path, 0, cut_s), sound(path, cut_s)] if cut_s else []
            if slices and read_layout(path).is_one_timeline:
                lost = len(whole) - sum(len(each) for each in slices if isinstance(each, np.ndarray))
                assert abs(lost) <= RATE, f"slices lose {lost / RATE:.2f} s of {len(whole) / RATE:.2f} s"
        check_together(path, good, whole)


def sound(path: Path, start_s: float = 0, end_s: float | None = None) -> "np.ndarray | NightscribeError":
    """Return the sound of a slice, or the error that tells why there is none."""
    decoder = Decoder(path, start_s, end_s)
    chunks: list[np.ndarray] = []
    most = max(ABSURD_AFTER_S, path.stat().st_size // LEAST_BYTES_PER_S) * RATE
    n_samples = 0
    try:
        for chunk in decoder:
            n_samples += len(chunk)
            assert n_samples <= most, "more sound than a file of this size can hold"
            if n_samples < 600 * RATE:
                chunks.append(chunk)
    except NightscribeError as error:
        return error
    check_seconds(decoder.container_s)
    check_seconds(decoder.decoded_s)
    found = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    assert np.isfinite(found).all()
    return found


def check_together(path: Path, good: Path, whole: "np.ndarray | NightscribeError") -> None:
    """Check that files which are decoded together have the sound that each of them has alone."""
    beside, first = decode_together([good, path])
    assert isinstance(beside, Sound), f"a good recording beside it is not decoded: {beside}"
    assert abs(beside.decoded_s - SECONDS) < 0.1
    if isinstance(whole, NightscribeError):
        # Where a damaged header states no channels, ffmpeg chooses a track only if it is told to, as it is here.
        assert isinstance(first, NightscribeError) or whole.code == "no_sound", f"alone: {whole}"
    elif isinstance(first, Sound):
        assert abs(len(first.waveform) - len(whole)) <= RATE // 10, f"{len(first.waveform)} samples, alone {len(whole)}"
        check_seconds(first.container_s)


TARGETS = (Target("parsers", files(), parse), Target("decoding", files(), decode))
