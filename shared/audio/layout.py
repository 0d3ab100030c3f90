"""Determine the layout of a file: the recordings joined in it, and whether they share one timeline.

Seeking in a container is trusted only if its structure proves that its clock never restarts.
"""

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from nightscribe.shared.audio import flac, wavpack
from nightscribe.shared.audio.containers import (
    TS_PACKET_BYTES,
    id3_bytes,
    is_bare_stream,
    is_mpeg_audio,
    is_transport_stream,
)
from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.audio.stated_length import stated_length
from nightscribe.shared.audio.wav import Wav, read_wav
from nightscribe.shared.errors import RetryableError

HEAD_BYTES = 64 * 1024
MOST_STEPS = 3_000_000  # in one walk through a file, which takes some seconds
MOST_PIECES = 1000
LONGEST_JUMP_S = 600
LONGEST_MOOV_BYTES = 64 * 2**20

_SEEKABLE_WAV_CODECS = (1, 3, 6, 7)  # PCM, float, A-law and µ-law; in others, seeking is not always exact
_OF_MANY_TRACKS = (b"\0\0\1\xba", b"\x30\x26\xb2\x75", b"RIFF")  # MPEG-PS, ASF, AVI
_ENCRYPTED = (b"enca", b"drms", b"aavd")  # sample entries of MP4 for encrypted sound
_ASF = b"\x30\x26\xb2\x75"
_ASF_ENCRYPTED = tuple(  # objects of its header
    map(
        bytes.fromhex,
        (
            "fbb3112223bdd211b4b700a0c955fc6e",
            "14e68a292226174cb935dae07ee9289c",
            "338505438169e6499b74ad12cb86d58c",
        ),
    )
)
_SCRAMBLED = 0xC0


@dataclass(frozen=True)
class Piece:
    """A stretch of a file that is a complete recording."""

    start: int = 0
    """Offset of its first byte."""
    end: int | None = None
    """Offset after its last byte. None: the end of the file."""
    wav: Wav | None = None
    """Its header, if it is a WAV."""


WHOLE = Piece()


@dataclass(frozen=True)
class Layout:
    """The recordings in a file, and how to read them."""

    pieces: tuple[Piece, ...] = (WHOLE,)
    is_one_timeline: bool = False
    """True if seeking with ffmpeg yields the same samples as decoding from the beginning."""
    is_encrypted: bool = False
    is_cut: bool = False
    """True if the file ends within a packet or an element."""
    is_bare: bool = False
    """True if it is a sequence of frames without times, in which only zeros show a hole (`zero_runs.py`)."""
    stated_s: float | None = None
    """Length that the header states, if ffmpeg reports only that of the data actually present; otherwise None."""
    wavpack_streams: int = 0
    """Number of streams in a WavPack file with too many channels for ffmpeg (see `wavpack.split`); otherwise 0."""
    may_have_tracks: bool = False
    """True if the file may have several audio tracks."""


def read_layout(path: Readable) -> Layout:
    """Return the layout of a file, reading only the headers of its parts.

    Raises: RetryableError: if the file cannot be read now.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            return _layout(file, file.read(HEAD_BYTES), size)
    except OSError as error:
        if error.errno == errno.EINVAL:  # it leads to an offset that no file can have
            return Layout()
        raise RetryableError(f"The recording cannot be read ({error.strerror}).", code="not_readable") from None
    except (struct.error, IndexError, OverflowError):
        return Layout()  # the description of its structure is damaged


def _layout(file: BinaryIO, head: bytes, size: int) -> Layout:
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wav_layout(file, size)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"):
        return _mp4_layout(file, size)
    if head.startswith(b"\x1aE\xdf\xa3"):
        return _matroska_layout(file, size)
    if head.startswith(b"FORM"):
        return _form_layout(file, size)
    if head.startswith(b"FLV"):
        return _flv_layout(file, size)
    is_cut = False
    if head.startswith(b"OggS"):
        is_one, is_cut = _read_ogg(file, size)
    elif head.startswith(b"fLaC"):
        is_one = flac.is_one(file, size)
    else:
        is_one = is_mpeg_audio(head[id3_bytes(head) :] or head)
    if is_transport_stream(head):
        is_cut = size % TS_PACKET_BYTES > 0
    elif head.startswith(b"caff"):
        is_cut = _is_cut_caf(file, size)
    return Layout(
        is_one_timeline=is_one,
        is_encrypted=_is_scrambled(head) or (head.startswith(_ASF) and any(key in head for key in _ASF_ENCRYPTED)),
        is_cut=is_cut,
        is_bare=is_bare_stream(head),
        stated_s=stated_length(file, head),
        wavpack_streams=wavpack.n_streams(file) if head.startswith(b"wvpk") else 0,
        may_have_tracks=head.startswith(_OF_MANY_TRACKS) or is_transport_stream(head) or _has_ogg_tracks(head),
    )


def _is_scrambled(head: bytes) -> bool:
    """Return whether most packets of a transport stream that carry sound or pictures are scrambled."""
    if not is_transport_stream(head):
        return False
    packets = [head[at : at + 4] for at in range(0, len(head) - 3, TS_PACKET_BYTES)]
    media = [packet for packet in packets if 0x20 <= (packet[1] & 0x1F) << 8 | packet[2] < 0x1FFF]
    return sum(packet[3] & _SCRAMBLED > 0 for packet in media) > len(media) / 2


def _is_cut_caf(file: BinaryIO, size: int) -> bool:
    at = 8
    for _ in range(MOST_STEPS):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            return at > size
        n_bytes = struct.unpack_from(">q", head, 4)[0]
        if n_bytes < 0:  # the sound, which goes on to the end
            return False
        at += 12 + n_bytes
    return False


def _wav_layout(file: BinaryIO, size: int) -> Layout:
    pieces: list[Piece] = []
    at = 0
    while len(pieces) < MOST_PIECES and (wav := read_wav(file, at, size)) is not None:
        pieces.append(Piece(at, wav.sound_end, wav))
        at = _next_riff(file, wav.sound_end, size)
    if len(pieces) < 2:
        pieces = [Piece(0, None, piece.wav) for piece in pieces] or [WHOLE]
    first = pieces[0].wav
    seeks = first is not None and first.codec in _SEEKABLE_WAV_CODECS
    return Layout(tuple(pieces), is_one_timeline=len(pieces) == 1 and seeks)


def _next_riff(file: BinaryIO, at: int, size: int) -> int:
    """Return the offset of the next WAV after the sound, or the end of the file."""
    for _ in range(100):
        at += at % 2
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or at >= size:
            break
        if head[:4] in (b"RIFF", b"RF64", b"BW64"):
            return at
        at += 8 + int(struct.unpack_from("<I", head, 4)[0])
    return size


def _form_layout(file: BinaryIO, size: int) -> Layout:
    """Return the layout of an AIFF file, which has one or more `FORM` chunks in succession."""
    starts: list[int] = []
    at = 0
    while at + 12 <= size and len(starts) < MOST_PIECES:
        file.seek(at)
        name, n_bytes, kind = struct.unpack(">4sI4s", file.read(12))
        if name != b"FORM" or kind not in (b"AIFF", b"AIFC", b"8SVX"):
            break
        starts.append(at)
        at += 8 + n_bytes + n_bytes % 2
    return Layout(_pieces(starts), is_one_timeline=len(starts) == 1 and size - 1 <= at)


def _pieces(starts: list[int]) -> tuple[Piece, ...]:
    if len(starts) < 2:
        return (WHOLE,)
    return tuple(Piece(start, end) for start, end in pairwise([*starts, None]) if start is not None)


# MP4 and QuickTime


def _mp4_layout(file: BinaryIO, size: int) -> Layout:
    starts = [0]
    seen: set[bytes] = set()
    clocks: dict[int, int] = {}
    is_one, is_encrypted, n_tracks = True, False, 0
    for at, name, body, end in _boxes(file, size):
        if name in seen and name in (b"ftyp", b"moov"):
            is_one = False
        if name == b"ftyp" and b"moov" in seen:
            starts.append(at)
            seen, clocks = set(), {}
        seen.add(name)
        if name == b"moov" and end - body <= LONGEST_MOOV_BYTES:
            file.seek(body)
            moov = file.read(end - body)
            is_encrypted = is_encrypted or any(entry in moov for entry in _ENCRYPTED)
            n_tracks = max(n_tracks, moov.count(b"soun"))
        if name == b"moof":
            file.seek(body)
            is_one = _advance(clocks, file.read(min(end - body, LONGEST_MOOV_BYTES))) and is_one
    return Layout(
        _pieces(starts),
        is_one_timeline=is_one and b"moov" in seen,
        is_encrypted=is_encrypted,
        may_have_tracks=n_tracks > 1,
    )


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield (start, name, start of the body, end) of each top-level box."""
    at = 0
    for _ in range(MOST_STEPS):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        n_bytes, name = struct.unpack_from(">I4s", head)
        body = at + 8
        if n_bytes == 1 and len(head) == 16:
            n_bytes, body = struct.unpack_from(">Q", head, 8)[0], at + 16
        elif n_bytes == 0:
            n_bytes = size - at
        if n_bytes < body - at or not all(32 <= byte < 127 or byte == 0xA9 for byte in name):
            return
        yield at, name, body, min(size, at + n_bytes)
        at += n_bytes


def _advance(clocks: dict[int, int], moof: bytes) -> bool:
    """Set the clock of each track to that of a fragment; return whether none of them goes back."""
    found = False
    goes_on = True
    at = moof.find(b"traf")
    while at >= 0:
        header, time = moof.find(b"tfhd", at), moof.find(b"tfdt", at)
        if header < 0 or time < 0:
            return False
        track = struct.unpack_from(">I", moof, header + 8)[0]
        is_long = moof[time + 4] == 1
        clock = struct.unpack_from(">Q" if is_long else ">I", moof, time + 8)[0]
        goes_on = goes_on and clock >= clocks.get(track, 0)
        clocks[track] = clock
        found = True
        at = moof.find(b"traf", time)
    return found and goes_on


# Matroska and WebM

_EBML, _SEGMENT, _CLUSTER, _TIMESTAMP = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xE7
_INFO, _SCALE, _TRACKS = 0x1549A966, 0x2AD7B1, 0x1654AE6B
_ENCRYPTED_TRACK = b"\x50\x33\x81\x01"  # the element that says that the content is encrypted, not compressed
_SOUND_TRACK = b"\x83\x81\x02"  # the element that marks a track as audio
_TOP_LEVEL = {_EBML, _SEGMENT, _CLUSTER, _INFO, _TRACKS, 0x114D9B74, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
LONGEST_NUMBER_BYTES = 8
_INSIDE_CLUSTER = {_TIMESTAMP, 0xA3, 0xA0, 0xA7, 0xAB, 0x5854, 0xAF, 0xEC, 0xBF}


def _matroska_layout(file: BinaryIO, size: int) -> Layout:
    starts: list[int] = []
    scale_ns, last = 1_000_000, None
    is_one, n_tracks, is_encrypted = True, 0, False
    at = 0
    for _ in range(MOST_STEPS):
        found = _element(file, at)
        if found is None:
            break
        name, body, n_bytes = found
        if name == _EBML:
            starts.append(at)
            scale_ns, last = 1_000_000, None
        elif name == _TIMESTAMP:
            file.seek(body)
            clock = int.from_bytes(file.read(min(n_bytes or 0, LONGEST_NUMBER_BYTES)), "big")
            if last is not None and not 0 <= (clock - last) * scale_ns <= LONGEST_JUMP_S * 1e9:
                is_one = False
            last = clock
        elif name == _TRACKS and n_bytes is not None:
            file.seek(body)
            tracks = file.read(min(n_bytes, LONGEST_MOOV_BYTES))
            n_tracks = max(n_tracks, tracks.count(_SOUND_TRACK))
            is_encrypted = is_encrypted or _ENCRYPTED_TRACK in tracks
        elif name == _SCALE:
            file.seek(body)
            scale_ns = int.from_bytes(file.read(min(n_bytes or 0, LONGEST_NUMBER_BYTES)), "big")
        elif name not in _TOP_LEVEL | _INSIDE_CLUSTER and n_bytes is None:
            break
        # Enter these elements and skip the others; of a cluster, read only its first child, which is its time.
        if name in (_SEGMENT, _INFO) or (name == _CLUSTER and n_bytes is None):
            at = body
        elif name == _CLUSTER and n_bytes is not None:
            is_one = _first_child_advances(file, body, last, scale_ns) and is_one
            last = _cluster_clock(file, body) if _cluster_clock(file, body) is not None else last
            at = body + n_bytes
        elif n_bytes is None:
            break
        else:
            at = body + n_bytes
    walked = at >= size or (last is not None and _element(file, at) is None and size - at < 16)
    return Layout(
        _pieces(starts),
        is_one_timeline=is_one and walked and len(starts) == 1,
        is_encrypted=is_encrypted,
        is_cut=at > size,
        may_have_tracks=n_tracks > 1,
    )


def _first_child_advances(file: BinaryIO, body: int, last: int | None, scale_ns: int) -> bool:
    clock = _cluster_clock(file, body)
    return clock is not None and (last is None or 0 <= (clock - last) * scale_ns <= LONGEST_JUMP_S * 1e9)


def _cluster_clock(file: BinaryIO, at: int) -> int | None:
    """Return the time of the cluster whose children begin at offset `at`."""
    for _ in range(4):
        found = _element(file, at)
        if found is None or found[2] is None:
            return None
        name, body, n_bytes = found
        if name == _TIMESTAMP:
            file.seek(body)
            return int.from_bytes(file.read(min(n_bytes or 0, LONGEST_NUMBER_BYTES)), "big")
        at = body + (n_bytes or 0)
    return None


def _element(file: BinaryIO, at: int) -> tuple[int, int, int | None] | None:
    """Return (ID, start of the body, length or None if unknown) of the EBML element at offset `at`."""
    file.seek(at)
    head = file.read(12)
    if len(head) < 2 or not head[0]:
        return None
    n_name = 9 - head[0].bit_length()
    if n_name > 4 or len(head) <= n_name or not head[n_name]:
        return None
    n_size = 9 - head[n_name].bit_length()
    coded = head[n_name : n_name + n_size]
    if len(coded) < n_size:
        return None
    mask = (1 << 7 * n_size) - 1
    n_bytes = int.from_bytes(coded, "big") & mask
    return int.from_bytes(head[:n_name], "big"), at + n_name + n_size, None if n_bytes == mask else n_bytes


# FLV

_FLV_TAGS = (8, 9, 18)  # sound, pictures, data


def _flv_layout(file: BinaryIO, size: int) -> Layout:
    starts: list[int] = []
    clocks: dict[int, int] = {}
    is_one = True
    at = 0
    for _ in range(MOST_STEPS):
        file.seek(at)
        head = file.read(11)
        if head.startswith(b"FLV") and len(head) >= 9:
            starts.append(at)
            clocks = {}
            at += int.from_bytes(head[5:9], "big") + 4
            continue
        if len(head) < 11 or head[0] not in _FLV_TAGS:
            break
        clock = int.from_bytes(head[7:8] + head[4:7], "big")
        is_one = is_one and 0 <= clock - clocks.get(head[0], clock) <= LONGEST_JUMP_S * 1000
        clocks[head[0]] = clock
        at += 11 + int.from_bytes(head[1:4], "big") + 4
    return Layout(_pieces(starts), is_one_timeline=is_one and len(starts) == 1 and at >= size, is_cut=at > size)


# Ogg

_OGG_SOUND = (b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x7fFLAC")


def _has_ogg_tracks(head: bytes) -> bool:
    return head.startswith(b"OggS") and sum(map(head.count, _OGG_SOUND)) > 1


def _read_ogg(file: BinaryIO, size: int) -> tuple[bool, bool]:
    """Return whether the file has one clock, and whether it ends within a page.

    It has one clock if, in all pages, no stream begins after the first sound and no clock goes back.
    """
    clocks: dict[int, int] = {}
    at, beginning = 0, True
    for _ in range(MOST_STEPS):
        file.seek(at)
        head = file.read(27)
        if len(head) < 27:
            return at >= size, at > size or head.startswith(b"OggS")
        name, _, kind, clock, serial, _, _, n_segments = struct.unpack("<4sBBqIIIB", head)
        if name != b"OggS":
            return False, False
        begins = bool(kind & 2)
        if begins and (not beginning or serial in clocks):
            return False, False
        beginning = begins
        if serial not in clocks and not begins:
            return False, False
        if clock >= 0:
            if clock < clocks.get(serial, 0):
                return False, False
            clocks[serial] = clock
        else:
            clocks.setdefault(serial, 0)
        at += 27 + n_segments + sum(file.read(n_segments))
    return False, False
