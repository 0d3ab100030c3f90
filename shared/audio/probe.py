"""Find ffmpeg, and determine with it what a file holds."""

import codecs
import contextlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from functools import cache

import ffmpeg

from nightscribe.shared.audio.containers import id3_bytes
from nightscribe.shared.audio.layout import WHOLE, Layout, Piece, read_layout
from nightscribe.shared.audio.readable import Readable, RemoteRecording
from nightscribe.shared.errors import AudioError, RetryableError, SetupError

# Recorders and telephone systems write these without a header, or in a format that ffmpeg does not know. They count as
# recordings, so that each is reported with a reason instead of being skipped.
UNREADABLE_SUFFIXES = frozenset("alaw ds2 dvf g711 g723 g729 msv mulaw pcm sln ulaw vox".split())  # noqa: SIM905
# Suffixes of files that ffmpeg reads. Any other file is probed before it counts as a recording.
MEDIA_SUFFIXES = frozenset(
    """
    3g2 3ga 3gp 8svx aa aac aax ac3 adts aif aifc aiff alac amr ape asf au avi awb caf divx dsf dss dts dv eac3 f4v
    flac flv gsm m2a m2ts m4a m4b m4r m4v mka mkv mod mov mp1 mp2 mp3 mp4 mpa mpc mpeg mpg mts mxf oga ogg ogm ogv
    ogx opus qcp qt ra ram rm rmvb snd spx tak tta ts vob voc w64 wav wave weba webm wma wmv wv
    """.split()  # noqa: SIM905  a list with one word per line would fill two screens
).union(UNREADABLE_SUFFIXES)
# Suffixes of other files that lie beside recordings; starting ffmpeg for them would be a waste.
OTHER_SUFFIXES = frozenset(
    """
    7z ass bak bmp bz2 cfg conf crdownload css csv cue db doc docx epub exe gif gz heic htm html ini iso jpeg jpg js
    json jsonl lnk log lrc m3u m3u8 md nfo numbers odt ods pages part pdf php pl png pls ppt pptx ps1 py rar rb rtf
    sh sha256 sql sqlite srt sub svg tar tex text tif tiff tmp toml torrent tsv txt url vtt webp xls xlsx xml xz yaml
    yml zip
    """.split()  # noqa: SIM905
)

# Formats that can refer to other files or hosts. A recording must be a single file, because its source is not trusted.
LEADING_ON = frozenset(
    """
    avisynth concat concatf dash dvdvideo hls image2 imf rtp rtsp sap sdp vapoursynth vobsub webm_dash_manifest
    """.split()  # noqa: SIM905  as above
)
SYNTHESISED = frozenset({"sbg", "tty"})  # text from which ffmpeg synthesizes sound or pictures

LOOKED_AT_BYTES = 64 * 1024  # a file with this much text at its beginning is a text file
ZEROS_BYTES = 2**20
ASCII_SHARE = 0.8  # minimum share in text of a Western language in an old encoding

UNKNOWN_LANGUAGE = "und"
LONGEST_TITLE = 80  # characters

PROBE_TIMEOUT_S = 60
LONGEST_S = 366 * 24 * 3600  # a header that states more than a year is wrong
MOST_TAGS = 100
PROBED_PIECES = 50


@dataclass(frozen=True)
class Track:
    """An audio track."""

    number: int
    """Number among all streams of the file, as ffmpeg counts."""
    language: str | None
    description: str
    """Codec, rate, channels and other properties, as ffmpeg prints them."""
    title: str | None = None

    @property
    def may_be_stereo(self) -> bool:
        """Return whether it has two channels."""
        return re.search(r", (stereo|2 channels|downmix)\b", self.description) is not None


@dataclass(frozen=True)
class MediaInfo:
    """The properties that a container states."""

    duration_s: float | None
    audio_tracks: int
    has_picture: bool = False
    """True if the file has video other than a cover picture."""
    tracks: tuple[Track, ...] = field(default=(), compare=False)
    guessed_s: float | None = field(default=None, compare=False)
    """Length that ffmpeg guesses from the bit rate where the container states none; it may be wrong by a factor."""

    @property
    def has_audio(self) -> bool:
        return self.audio_tracks > 0


@cache
def ffmpeg_path() -> str:
    """Return the path of the system's ffmpeg; without one, return that of the imageio-ffmpeg package.

    Raises: SetupError: if neither exists.
    """
    if found := shutil.which("ffmpeg"):
        return found
    import imageio_ffmpeg

    try:
        packaged: str = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise SetupError("ffmpeg was not found. Install it (on Debian or Ubuntu: apt-get install ffmpeg).") from None
    return packaged


def probe(path: Readable) -> MediaInfo:
    """Return the properties that a container states, without decoding it and without ffprobe.

    The lengths of recordings joined in one file are added up; the tracks are those of the first.

    Raises: AudioError: with ffmpeg's reason, if it cannot be opened. RetryableError: if the disk does not respond.
    """
    check_content(path)
    layout = read_layout(path)
    check_open(layout)
    infos = [_probe_piece(path, piece, layout) for piece in layout.pieces[:PROBED_PIECES]]
    lengths = [info.duration_s for info in infos]
    known = [length for length in lengths if length is not None]
    whole = len(known) == len(lengths)
    return replace(infos[0], duration_s=sum(known) * len(layout.pieces) / len(lengths) if whole else None)


def _probe_piece(path: Readable, piece: Piece, layout: Layout) -> MediaInfo:
    # Without an output, ffmpeg only prints what it found, and exits.
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", *input_arguments(path, piece)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False, env=ffmpeg_environment(path)
        )
    except subprocess.TimeoutExpired:
        raise RetryableError(
            f"ffmpeg could not read the file within {PROBE_TIMEOUT_S} s.", code="ffmpeg_failed"
        ) from None
    check_read(path)
    stderr = done.stderr.decode(errors="replace")
    info = parse_banner(stderr)
    if info is None:
        raise why_not(path, stderr)
    return replace(info, duration_s=length_s(piece, layout, info.duration_s))


def length_s(piece: Piece, layout: Layout, found_s: float | None) -> float | None:
    """Return the length of a piece for which ffmpeg reports `found_s`.

    It prefers the length in a header if ffmpeg reports only that of the data actually present. None if the header is
    wrong.
    """
    wav = piece.wav
    seconds = (wav.seconds if wav else layout.stated_s) or (None if wav and not wav.is_true else found_s)
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_S else None


def check_open(layout: Layout) -> None:
    """Raise AudioError if the sound is encrypted."""
    if layout.is_encrypted:
        raise AudioError(
            "It is encrypted: only a player with its key can decode it. Export it without protection.",
            code="encrypted",
        )


def input_arguments(path: Readable, piece: Piece = WHOLE) -> list[str]:
    """Return ffmpeg's arguments to open a recording, or a piece of one.

    `file:` prevents a name from being read as a protocol. Formats that refer to other files are not allowed (see
    `LEADING_ON`), and a remote recording cannot reach local files; its other addresses end at the proxy (see
    `RemoteRecording`).
    """
    wav = piece.wav if piece.wav and not piece.wav.is_true else None
    raw = wav.raw_format if wav else None
    start, end = (wav.sound_at, wav.sound_end) if wav and raw else (piece.start, piece.end)
    if isinstance(path, RemoteRecording):
        name, protocols = path.url, "async,http,tcp"
    else:
        name, protocols = f"file:{path}", "file"
    if (start, end) != (0, None):
        name, protocols = f"subfile,,start,{start},end,{end or 0},,:{name}", f"subfile,{protocols}"
    if isinstance(path, RemoteRecording):
        # `async:` caches the last megabytes. Without it, ffmpeg 5.1 may send 32,000 requests for an MP3, one for every
        # second byte in which it searches for the first frame (`mp3_read_header`).
        name = f"async:{name}"
    options: dict[str, str | int] = {}
    if wav and raw:
        options = {"f": raw, "ar": wav.rate, "ac": wav.n_channels}
    elif wav:
        options = {"ignore_length": 1}
    made = ffmpeg.input(name, **options, protocol_whitelist=protocols, format_whitelist=_formats()).output("-")
    arguments: list[str] = made.get_args()
    return arguments[: arguments.index("-i") + 2]


@cache
def _formats() -> str:
    """Return the formats that this ffmpeg may read. Raises: RetryableError: if it does not list them."""
    command = [ffmpeg_path(), "-hide_banner", "-demuxers"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    names = re.findall(r"^ D[E ] ? +(\S+)", done.stdout.partition("--\n")[2], re.MULTILINE)
    if done.returncode != 0 or not names:
        raise RetryableError(
            f"ffmpeg does not list the formats that it can read (exit status {done.returncode}).", code="ffmpeg_failed"
        )
    return ",".join(name for name in names if (LEADING_ON | SYNTHESISED).isdisjoint(name.split(",")))


def ffmpeg_environment(path: Readable) -> dict[str, str] | None:
    """Return the environment for an ffmpeg that opens a recording; None means that of this process."""
    if not isinstance(path, RemoteRecording):
        return None
    others = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return others | {"http_proxy": path.proxy}


def check_read(path: Readable) -> None:
    """Raise a NightscribeError if ffmpeg did not receive all of the recording that it requested."""
    if isinstance(path, RemoteRecording):
        path.check()


def parse_banner(stderr: str, index: int = 0) -> MediaInfo | None:
    """Return what ffmpeg printed about the input number `index`, or None if it could not open that."""
    inputs = re.split(rf"^Input #(?:{index}|{index + 1}),|^Stream mapping:|^Output #", stderr, flags=re.MULTILINE)
    if not re.search(rf"^Input #{index},", stderr, re.MULTILINE):
        return None
    before, banner = inputs[:2]
    found = re.search(r"^\s*Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", banner, re.MULTILINE)
    duration_s = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None
    guessed_s = None
    # An estimate from the bit rate is not what the container states, and may be wrong by a factor.
    if "Estimating duration from bitrate" in before[before.rfind("\nInput #") + 1 :]:
        duration_s, guessed_s = None, duration_s
    # Matroska states the end of the last sound, on a clock that may start at any time.
    is_matroska = banner.lstrip().startswith("matroska,")
    began = re.search(r"^\s*Duration: .*\bstart: (\d+\.\d+)", banner, re.MULTILINE) if is_matroska else None
    if duration_s is not None and began:
        duration_s = max(0.0, duration_s - float(began[1]))
    streams = re.split(rf"^\s*Stream #{index}:(?=\d)", banner, flags=re.MULTILINE)[1:]
    found_tracks = [
        (*found.groups(), stream)
        for stream in streams
        if (found := re.match(r"(\d+)(.*?): (Audio: (?!none)|Video: )(.*)", stream))
    ]
    has_picture = any(kind.startswith("Video") and "(attached pic)" not in text for _, _, kind, text, _ in found_tracks)
    tracks = tuple(
        Track(int(number), _language(names), text, _title(stream))
        for number, names, kind, text, stream in found_tracks
        if kind.startswith("Audio")
    )
    return MediaInfo(duration_s, len(tracks), has_picture, tracks, guessed_s)


def _language(names: str) -> str | None:
    found = re.search(r"\((\w+)\)", names)
    return found[1] if found and found[1] != UNKNOWN_LANGUAGE else None


def _title(stream: str) -> str | None:
    found = re.search(r"^ +title +: (.*\S)", stream, re.MULTILINE)
    return found[1][:LONGEST_TITLE] if found else None


def why_not(path: Readable, stderr: str) -> AudioError:
    """Return the error for a file that is not a recording: what it holds, if known, or ffmpeg's message."""
    if held := content(_head(path)):
        return held
    name = path.url if isinstance(path, RemoteRecording) else path.name
    if (kind := name.rpartition(".")[2].casefold()) in UNREADABLE_SUFFIXES:
        return AudioError(
            f"It is named .{kind}: such a file does not state how its sound is encoded. Convert it to WAV.",
        )
    if "moov atom not found" in stderr:
        return AudioError(
            "It was cut off: the index at the end of the file is missing, as after an interrupted copy or recording.",
            code="cut_off",
        )
    if read_layout(path).is_cut:
        return AudioError(
            "It was cut off, as after an interrupted copy or recording: its sound cannot be decoded without the rest.",
            code="cut_off",
        )
    complaint = re.sub(r"^\[[^]]*\]\s*", "", stderr.strip().splitlines()[-1]) if stderr.strip() else ""
    complaint = re.sub(r"^(Error opening input.*?: |file:.*: |http://recording/\S*: )", "", complaint).rstrip(".")
    if complaint in ("", "Invalid argument", "Invalid data found when processing input"):  # these explain nothing
        return AudioError("It is not a recording: ffmpeg finds no audio or video in it.")
    return AudioError(f"It is not a recording that ffmpeg can read ({complaint}).")


def why_silent(path: Readable) -> AudioError:
    """Return the error for a file that ffmpeg can read but that has no sound."""
    return content(_head(path)) or AudioError(
        "It holds pictures but no sound: there is no audio track in it.", code="no_audio_track"
    )


def check_content(path: Readable) -> None:
    """Refuse a file whose first bytes prove that it is not a recording, even if ffmpeg would guess one from its name.

    Raises: AudioError: if so; it names what the file holds. RetryableError: if the file cannot be read now.
    """
    try:
        head = _head(path)
        held = content(head) if head.strip(b"\0") or is_zero(path) else None
    except OSError as error:
        raise RetryableError(f"The recording cannot be read ({error.strerror}).", code="not_readable") from None
    if held:
        raise held


def _head(path: Readable) -> bytes:
    """Return the first bytes after any tags, where ffmpeg, too, determines the kind of a file."""
    with path.open("rb") as file:
        at, head = 0, file.read(LOOKED_AT_BYTES)
        for _ in range(MOST_TAGS):
            if not (size := id3_bytes(head)):
                break
            at += size
            file.seek(at)
            if not (behind := file.read(LOOKED_AT_BYTES)):
                break
            head = behind
        return head


def is_zero(path: Readable) -> bool:
    """Return whether a file holds only zero bytes, reading no further than the first other byte."""
    with path.open("rb") as file:
        while block := file.read(ZEROS_BYTES):
            if block.strip(b"\0"):
                return False
    return True


def content(head: bytes) -> AudioError | None:
    """Return an error if the first bytes show a kind of file that is often named like a recording by mistake."""
    signatures = {
        b"\xff\xd8\xff": "a JPEG picture",
        b"\x89PNG": "a PNG picture",
        b"GIF8": "a GIF picture",
        b"%PDF": "a PDF document",
        b"PK\x03\x04": "a ZIP archive",
        b"\x1f\x8b": "a gzip archive",
    }
    if not head:
        return AudioError("It is empty (0 bytes).", code="empty")
    if not head.strip(b"\0"):
        return AudioError("It holds nothing but zero bytes.", code="empty")
    for signature, held in signatures.items():
        if head.startswith(signature):
            return AudioError(f"It holds {held}, not sound.")
    return AudioError("It holds text, not sound.", code="text_not_sound") if _is_text(head.lstrip(b"\0")) else None


def _is_text(head: bytes) -> bool:
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    with contextlib.suppress(UnicodeDecodeError):
        # The last character may be incomplete.
        text = codecs.getincrementaldecoder(encoding)().decode(head).removeprefix("\ufeff")
        if all(c.isprintable() or c.isspace() for c in text):
            return True
    plain = head.translate(None, bytes((*range(32, 127), *b"\t\n\v\f\r\x1a\x1b")))
    return len(plain) <= (1 - ASCII_SHARE) * len(head) and all(byte >= 0x80 for byte in plain)
