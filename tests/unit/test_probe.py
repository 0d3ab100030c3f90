"""What ffmpeg and our own eyes say of a file, from real files."""

import subprocess
from pathlib import Path

import pytest
from making import recording
from support import recordings

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.services.request import Request
from nightscribe.shared.audio import probe as media
from nightscribe.shared.audio.clips import decode_together
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.probe import (
    MEDIA_SUFFIXES,
    OTHER_SUFFIXES,
    MediaInfo,
    check_content,
    content,
    ffmpeg_path,
    input_arguments,
    parse_banner,
    probe,
    why_not,
    why_silent,
)
from nightscribe.shared.errors import AudioError, RetryableError
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.location import FolderLocation


def said_of(path: Path) -> str:
    """What ffmpeg prints about a file."""
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", *input_arguments(path)]
    return subprocess.run(command, capture_output=True, check=False).stderr.decode(errors="replace")


# The banner


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "m4a", "mkv"])
def test_length_and_sound_are_read_from_what_ffmpeg_says(tmp_path: Path, suffix: str) -> None:
    try:
        path = recordings.tone(tmp_path / f"tone.{suffix}", 1.5)
    except AssertionError as error:
        pytest.skip(f"this ffmpeg has no encoder for it: {error}")
    info = parse_banner(said_of(path))
    assert info is not None
    assert info.has_audio
    assert info.duration_s == pytest.approx(1.5, abs=0.1)


def test_a_film_without_sound_has_none(tmp_path: Path) -> None:
    info = parse_banner(said_of(recordings.video_without_sound(tmp_path / "film.mkv")))
    assert info is not None
    assert (info.has_audio, info.duration_s) == (False, pytest.approx(2.0, abs=0.2))


def test_of_what_ffmpeg_cannot_open_there_is_no_banner(tmp_path: Path) -> None:
    assert parse_banner(said_of(recordings.text_named_mp3(tmp_path / "a.mp3"))) is None
    assert parse_banner("") is None


def test_a_stream_without_a_length_has_none() -> None:
    said = (
        "Input #0, aac, from 'file:a':\n  Duration: N/A, bitrate: 65 kb/s\n  Stream #0:0: Audio: aac (LC), 44100 Hz\n"
    )
    assert parse_banner(said) == MediaInfo(None, audio_tracks=1)


def test_a_length_that_ffmpeg_guesses_from_the_bit_rate_is_only_a_guess() -> None:
    said = (
        "[in#0/mp3 @ 0x1] Estimating duration from bitrate, this may be inaccurate\n"
        "Input #0, mp3, from 'file:a':\n  Duration: 00:00:02.23, bitrate: 64 kb/s\n  Stream #0:0: Audio: mp3, mono\n"
    )
    info = parse_banner(said)
    assert info is not None
    assert (info.duration_s, info.guessed_s) == (None, 2.23)


def test_a_forecast_guesses_the_length_of_an_mp3_that_does_not_state_it(tmp_path: Path) -> None:
    try:
        tone = recordings.tone(tmp_path / "tone.mp3", 4.0)
    except AssertionError as error:
        pytest.skip(f"this ffmpeg has no encoder for it: {error}")
    path = tmp_path / "source" / "plain.mp3"
    path.parent.mkdir()
    command = [ffmpeg_path(), "-loglevel", "error", "-i", str(tone), "-c", "copy", "-write_xing", "0", str(path)]
    subprocess.run(command, check=True)
    missing = Backlog([Missing(recording("plain.mp3"), "plain")])
    request = Request(FolderLocation(path.parent), FolderLocation(tmp_path / "texts"), Settings())
    assert [seconds for _, seconds in request.lengths(missing)] == [None]
    assert [seconds for _, seconds in request.lengths(missing, guess=True)] == [pytest.approx(4.0, abs=0.2)]


def test_long_recordings_and_hundreds_of_hours_are_read() -> None:
    said = "Input #0, wav, from 'file:a':\n  Duration: 123:04:05.67, bitrate\n    Stream #0:1(eng): Audio: mp3\n"
    assert parse_banner(said) == MediaInfo(123 * 3600 + 4 * 60 + 5.67, audio_tracks=1)


def test_a_title_that_looks_like_a_stream_is_a_title(tmp_path: Path) -> None:
    film = recordings.video_without_sound(tmp_path / "film.mkv")
    titled = tmp_path / "titled.mkv"
    title = "Stream #0:9: Audio: mp3\nStream #0:9: Audio: mp3\n  Duration: 99:00:00.00"
    command = [
        ffmpeg_path(),
        "-loglevel",
        "error",
        "-i",
        str(film),
        "-c",
        "copy",
        "-metadata",
        f"title={title}",
        str(titled),
    ]
    subprocess.run(command, check=True)
    info = parse_banner(said_of(titled))
    assert info is not None
    assert (info.has_audio, info.duration_s) == (False, pytest.approx(2.0, abs=0.2))


def test_an_audio_stream_that_cannot_be_decoded_is_no_sound() -> None:
    assert parse_banner("Input #0, mov\n  Stream #0:0(und): Audio: none (mp4a / 0x6134706D)\n") == MediaInfo(None, 0)


# Probing

ID3 = b"ID3\x03\0\0\0\0\0\0"
ID3_PICTURE = b"ID3\x03\0\0\0\x08\0\0" + b"\xff\xfb" * 65_536


def test_a_recording_behind_a_long_run_of_zeros_is_not_refused_for_them(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(bytes(100_000) + recordings.tone(tmp_path / "tone.mp3", 1.0).read_bytes())
    check_content(path)


@pytest.mark.parametrize("kind", ["mp3", "gsm", "ul", "wav", "pcm", "g722"])
def test_text_is_no_recording_whatever_its_name(tmp_path: Path, kind: str) -> None:
    """Some versions of ffmpeg take text for sound where the name says so."""
    (tmp_path / f"a.{kind}").write_text("-ts8+on\nall: pink/10 150+4.0/10\nNOW all\n" * 3)
    for look in (probe, lambda path: list(Decoder(path)), lambda path: next(decode_together([path, path]))):
        try:
            refused = look(tmp_path / f"a.{kind}")
        except AudioError as error:
            refused = error
        assert str(refused) == "It holds text, not sound."


def test_probing_prefers_what_a_wav_promises_to_what_is_there(tmp_path: Path) -> None:
    assert probe(recordings.truncated_wav(tmp_path / "cut.wav")).duration_s == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (recordings.text_named_mp3, "It holds text, not sound."),
        (lambda path: path.write_bytes(b""), "It is empty (0 bytes)."),
        (lambda path: path.write_bytes(bytes(9999)), "It holds nothing but zero bytes."),
        (lambda path: path.write_bytes(bytes(3_000_000)), "It holds nothing but zero bytes."),
        (lambda path: path.write_bytes(ID3 + b"#" * 2_000_000), "It holds text, not sound."),
        (lambda path: path.write_bytes(ID3 + ID3_PICTURE + b"#" * 2_000_000), "It holds text, not sound."),
        (lambda path: path.write_text("Grüße aus Köln.\n" * 20_000, encoding="latin-1"), "It holds text, not sound."),
        (lambda path: path.write_text("Grüße, 日本\n" * 20_000, encoding="utf-16"), "It holds text, not sound."),
    ],
    ids=["text", "empty", "zeros", "many zeros", "behind a tag", "behind a long tag", "latin-1", "utf-16"],
)
def test_what_is_no_recording_is_said_to_be_what_it_is(tmp_path: Path, make: object, reason: str) -> None:
    path = tmp_path / "a.mp3"
    make(path)  # type: ignore[operator]
    with pytest.raises(AudioError) as refused:
        probe(path)
    assert str(refused.value) == reason


def test_a_film_that_was_cut_off_is_said_to_be_so(tmp_path: Path) -> None:
    whole = recordings.tone(tmp_path / "whole.m4a", 2.0).read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match=r"^It was cut off: "):
        probe(tmp_path / "cut.m4a")


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"


def test_a_caf_that_was_cut_off_is_said_to_be_so(tmp_path: Path) -> None:
    """The lengths of ALAC's packets lie behind the sound."""
    path = recordings.varied(tmp_path / "a.caf", 4, "-c:a", "alac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for look in (probe, lambda path: list(Decoder(path))):
        with pytest.raises(AudioError, match=r"It was cut off") as refused:
            look(path)
        assert refused.value.code == "cut_off"


@pytest.mark.parametrize("kind", ["mka", "ts", "wma", "m4p"])
def test_encrypted_sound_is_said_to_be_so(tmp_path: Path, kind: str) -> None:
    """Made by marking sound as encrypted, which readers see before they meet the sound."""
    if kind == "ts":
        path = recordings.varied(tmp_path / "a.ts", 2, "-c:a", "aac")
        packets = bytearray(path.read_bytes())
        for at in range(0, len(packets), 188):
            if packets[at + 1] & 0x1F or packets[at + 2] >= 0x20:
                packets[at + 3] |= 0x80
        path.write_bytes(packets)
    elif kind == "m4p":
        path = recordings.varied(tmp_path / "a.m4a", 2).rename(tmp_path / "a.m4p")
        path.write_bytes(path.read_bytes().replace(b"mp4a", b"drms", 1))
    elif kind == "wma":
        path = recordings.varied(tmp_path / "a.wma", 2)
        read = path.read_bytes()
        drm = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e") + (40).to_bytes(8, "little") + bytes(16)
        path.write_bytes(read[:30] + drm + read[30:])
    else:
        path = recordings.varied(tmp_path / "a.mka", 2, "-c:a", "libopus")
        # ContentEncodings: one of the type encryption, in place of the language of the track
        read = path.read_bytes()
        at = read.index(b"\x22\xb5\x9c\x83und")
        path.write_bytes(read[:at] + b"\xec\x81\0" + b"\x50\x33\x81\x01" + read[at + 7 :])
    for look in (probe, lambda path: list(Decoder(path))):
        with pytest.raises(AudioError, match=r"It is encrypted") as refused:
            look(path)
        assert refused.value.code == "encrypted"


@pytest.mark.parametrize("list_of", [HLS, "ffconcat version 1.0\nfile '{}'\n"])
@pytest.mark.parametrize("leads_to", ["{folder}/secret.mp3", "secret.mp3", "http://127.0.0.1:9/secret.ts"])
def test_a_playlist_under_the_name_of_a_recording_leads_nowhere(tmp_path: Path, list_of: str, leads_to: str) -> None:
    """Neither into the network nor to another file of this machine: it may have come from anybody."""
    recordings.tone(tmp_path / "secret.mp3", 1.0)
    path = tmp_path / "a.mp3"
    path.write_text(list_of.format(leads_to.format(folder=tmp_path)))
    with pytest.raises(AudioError, match=r"^It holds text, not sound\.$"):
        probe(path)


def test_what_ffmpeg_can_read_is_asked_again_if_it_did_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been killed for memory; the recordings that follow are recordings all the same."""
    killed = tmp_path / "ffmpeg"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    media._formats.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(media, "ffmpeg_path", lambda: str(killed))
        with pytest.raises(RetryableError, match="exit status -9"):
            input_arguments(tmp_path / "a.mp3")
    assert probe(recordings.tone(tmp_path / "a.mp3", 1.0)).has_audio


# Reasons


@pytest.mark.parametrize("kind", ["ulaw", "ALAW", "pcm", "ds2", "vox"])
def test_what_nobody_can_read_is_named_with_what_to_do(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"call.{kind}"
    path.write_bytes(bytes(range(100, 180)) * 99)
    assert kind.lower() in MEDIA_SUFFIXES
    with pytest.raises(AudioError, match=rf"^It is named \.{kind.lower()}: .* Convert it to WAV\.$"):
        probe(path)


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"", "It is empty (0 bytes)."),
        (bytes(512), "It holds nothing but zero bytes."),
        (b"\xff\xd8\xff\xe0rest", "It holds a JPEG picture, not sound."),
        (b"\x89PNG\r\n", "It holds a PNG picture, not sound."),
        (b"GIF89a", "It holds a GIF picture, not sound."),
        (b"%PDF-1.7", "It holds a PDF document, not sound."),
        (b"PK\x03\x04", "It holds a ZIP archive, not sound."),
        (b"\x1f\x8b\x08", "It holds a gzip archive, not sound."),
        (b"Dear diary,\n", "It holds text, not sound."),
        ("日本語".encode()[:-1], "It holds text, not sound."),
        (b"ID3\x03\x00", None),
        (b"\xff\xfb\x90\x00", None),
        (b"RIFF\x24\x00\x00\x00WAVE", None),
        (b"caf\xe9 \x01", None),
    ],
)
def test_the_first_bytes_tell_what_got_a_recordings_name_by_mistake(head: bytes, sentence: str | None) -> None:
    found = content(head)
    assert (str(found) if found else None) == sentence


def test_why_not_says_what_a_file_holds_before_what_ffmpeg_complains_of(tmp_path: Path) -> None:
    assert (
        str(why_not(recordings.text_named_mp3(tmp_path / "a"), "[mp3 @ 0x1] Something")) == "It holds text, not sound."
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "It is not a recording: ffmpeg finds no audio or video in it."),
        ("\n", "It is not a recording: ffmpeg finds no audio or video in it."),
        (
            "Error opening input file file:/a: Invalid data found when processing input\n",
            "It is not a recording: ffmpeg finds no audio or video in it.",
        ),
        ("file:/a/b: Invalid argument\n", "It is not a recording: ffmpeg finds no audio or video in it."),
        (
            "Error opening input file file:/a: Protocol not on whitelist.\n",
            "It is not a recording that ffmpeg can read (Protocol not on whitelist).",
        ),
    ],
)
def test_why_not_gives_ffmpegs_complaint_only_where_it_says_something(tmp_path: Path, said: str, reason: str) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"\xff\xfb\x01\x02")
    assert str(why_not(path, said)) == reason


def test_a_picture_is_said_to_be_one_and_a_film_to_have_no_sound(tmp_path: Path) -> None:
    assert str(why_silent(recordings.jpeg_named_mp3(tmp_path / "a.mp3"))) == "It holds a JPEG picture, not sound."
    silent = recordings.video_without_sound(tmp_path / "film.mkv")
    assert str(why_silent(silent)) == "It holds pictures but no sound: there is no audio track in it."


# Names


def test_no_extension_is_taken_for_a_recording_and_for_something_else() -> None:
    assert not MEDIA_SUFFIXES & OTHER_SUFFIXES
    assert all(suffix == suffix.lower().strip(".") for suffix in MEDIA_SUFFIXES | OTHER_SUFFIXES)


def test_what_we_write_ourselves_is_never_taken_for_a_recording() -> None:
    assert {"txt", "vtt", "srt", "json", "tsv"} <= OTHER_SUFFIXES


@pytest.mark.parametrize("name", ["-i", "http://example.org/a", "a|b", "%d", "line\nbreak"])
def test_no_name_is_an_option_or_a_protocol_to_ffmpeg(name: str) -> None:
    arguments = input_arguments(Path(name))
    assert arguments[-2] == "-i"
    assert arguments[-1] == f"file:{Path(name)}"
