"""Which tracks and channels of a recording are transcribed, and what its record says of the others."""

from pathlib import Path

import pytest
from support import recordings

from nightscribe.shared.audio.excerpts import read_excerpts
from nightscribe.shared.audio.probe import probe
from nightscribe.shared.errors import AudioError
from nightscribe.shared.model.jobs import Slice
from nightscribe.shared.model.transcript import AudioTrack
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.worker.engines.whisper.recognizer import WINDOW_LIMITS
from nightscribe.worker.pipeline.feeds import Feed, FeedChooser, Feeds
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window, WindowReader

PCM = ("-c:a", "pcm_s16le", "-ar", "16000")


def slice_of(path: Path) -> Slice:
    source = FolderSource(path.parent)
    found = source.stat(path.name)
    return Slice(recording=path.name, fingerprint=source.fingerprint(found), size=found.size, stem=path.stem)


def feeds_of(path: Path, tracks: str = "default") -> Feeds:
    return FeedChooser().feeds(path, slice_of(path), tracks)


def read(path: Path, tracks: str = "default") -> tuple[list[Window], SliceEnd]:
    *windows, end = WindowReader(FolderSource(path.parent), WINDOW_LIMITS, tracks=tracks).read([slice_of(path)])
    assert isinstance(end, SliceEnd)
    return [window for window in windows if isinstance(window, Window)], end


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> dict[str, Path]:
    """Eight seconds each; not to be written to."""
    folder = tmp_path_factory.mktemp("sounds")
    made = {name: folder / f"{name}.wav" for name in ("voice", "other", "silence", "wide", "noise", "music")}
    recordings.cut(speech, made["voice"], 0, 8, *PCM)
    recordings.cut(speech, made["other"], 10, 8, *PCM)
    recordings.silence(made["silence"], 8)
    recordings.cut(made["silence"], made["wide"], 0, 8, "-ac", "6")
    recordings.noise(made["noise"], 8)
    chords = "tremolo=f=2,aecho=0.8:0.9:60:0.5,volume=6dB"
    recordings.cut(recordings.tone(folder / "tone.wav", 8), made["music"], 0, 8, "-af", chords)
    return made


def film(folder: Path, *tracks: Path, suffix: str = "mka", options: tuple[str, ...] = PCM) -> Path:
    inputs = [text for track in tracks[1:] for text in ("-i", str(track))]
    maps = [text for n in range(len(tracks)) for text in ("-map", str(n))]
    tags = [text for n in range(len(tracks)) for text in (f"-metadata:s:{n}", f"title=Microphone {n + 1}")]
    tags += ["-metadata:s:1", "language=deu"]
    return recordings.cut(tracks[0], folder / f"film.{suffix}", 0, 8, *inputs, *maps, *tags, *options)


@pytest.mark.parametrize("first", ["silence", "wide", "noise", "music"])
def test_a_track_without_speech_is_not_chosen_before_one_with(
    tmp_path: Path, sounds: dict[str, Path], first: str
) -> None:
    """The first track of a screen recorder is that of a computer, which played nothing or music."""
    path = film(tmp_path, sounds[first], sounds["voice"])
    found = feeds_of(path)
    assert found.each == (Feed(track=1),)
    assert found.leaves_sound_out is (first in ("noise", "music"))
    windows, end = read(path)
    assert any(window.speech.first_s is not None for window in windows)
    assert (end.tracks, end.leaves_tracks_out) == (found.tracks, found.leaves_sound_out)


def test_a_record_names_the_tracks_that_were_not_transcribed(tmp_path: Path, sounds: dict[str, Path]) -> None:
    found = feeds_of(film(tmp_path, sounds["voice"], sounds["other"]))
    assert found == Feeds(
        (Feed(track=0),),
        (
            AudioTrack(number=1, title="Microphone 1", transcribed=True),
            AudioTrack(number=2, language="deu" if found.tracks[1].language == "deu" else "ger",
                       title="Microphone 2", transcribed=False),
        ),
        leaves_sound_out=True,
    )  # fmt: skip


def test_a_silent_track_is_no_sound_that_is_left_out(tmp_path: Path, sounds: dict[str, Path]) -> None:
    found = feeds_of(film(tmp_path, sounds["voice"], sounds["silence"]))
    assert (found.each, found.leaves_sound_out, len(found.tracks)) == ((Feed(track=0),), False, 2)


@pytest.mark.parametrize("suffix", ["mka", "ts"])
def test_all_tracks_are_transcribed_each_by_itself(tmp_path: Path, sounds: dict[str, Path], suffix: str) -> None:
    options = PCM if suffix == "mka" else ("-c:a", "aac")
    path = film(tmp_path, sounds["voice"], sounds["other"], suffix=suffix, options=options)
    windows, end = read(path, "all")
    assert {window.speaker for window in windows if window.speech.first_s is not None} == {"track 1", "track 2"}
    assert sum(window.progress_s for window in windows) == pytest.approx(8, abs=0.2)
    assert ([track.transcribed for track in end.tracks], end.leaves_tracks_out) == ([True, True], False)
    assert (end.decoded_s, end.is_truncated) == (pytest.approx(8, abs=0.2), False)


def test_a_track_that_is_shorter_than_another_is_not_cut_off(tmp_path: Path, sounds: dict[str, Path]) -> None:
    long = recordings.noise(tmp_path / "long.wav", 14)
    inputs = ("-i", str(sounds["voice"]), "-map", "1", "-map", "0")
    path = recordings.cut(long, tmp_path / "film.mp4", 0, 14, *inputs, "-c:a", "aac")
    assert probe(path).duration_s == pytest.approx(14, abs=0.1)
    for tracks in ("default", "all"):
        _, end = read(path, tracks)
        assert not end.is_truncated


def test_the_track_that_the_user_chose_is_transcribed(tmp_path: Path, sounds: dict[str, Path]) -> None:
    path = film(tmp_path, sounds["voice"], sounds["noise"], sounds["other"])
    found = feeds_of(path, "2")
    assert (found.each, found.leaves_sound_out) == ((Feed(track=1),), False)
    with pytest.raises(AudioError, match=r"3 audio tracks, and track 4 was requested") as refused:
        feeds_of(path, "4")
    assert refused.value.code == "no_audio_track"
    assert feeds_of(sounds["voice"], "2") == Feeds(), "a recording with a single track has no other"


def test_a_track_that_cannot_be_decoded_spoils_no_other(tmp_path: Path, sounds: dict[str, Path]) -> None:
    path = film(tmp_path, sounds["noise"], sounds["voice"], suffix="mp4", options=("-c:a:0", "ac3", "-c:a:1", "aac"))
    path.write_bytes(path.read_bytes().replace(b"ac-3", b"ac-4"))  # ffmpeg knows this codec, but cannot decode it
    assert "ac4" in probe(path).tracks[0].description
    assert feeds_of(path).each == (Feed(track=1),)


def test_channels_are_judged_once_for_a_whole_recording(tmp_path: Path, speech: Path, sounds: dict[str, Path]) -> None:
    """In the first minute only one side speaks, so a slice of it alone would not show that the channels differ."""
    sides = "[0:a]apad=whole_dur=80[a];[1:a]adelay=70000,apad=whole_dur=80[b];[a][b]join=inputs=2:channel_layout=stereo"
    path = recordings.cut(
        speech, tmp_path / "call.wav", 0, 44, "-i", str(sounds["other"]), "-filter_complex", sides, "-ar", "16000"
    )
    feeds = (Feed(channel=0, speaker="channel 1"), Feed(channel=1, speaker="channel 2"))
    assert feeds_of(path).each == feeds
    for index in range(2):
        slice_ = slice_of(path).model_copy(update={"cuts": (60.0,), "index": index})
        found = list(WindowReader(FolderSource(tmp_path), WINDOW_LIMITS).read([slice_]))
        assert {window.speaker for window in found if isinstance(window, Window)} == {"channel 1", "channel 2"}


@pytest.mark.parametrize(("suffix", "rate"), [("mp3", "32k"), ("m4a", "24k"), ("opus", "24k")])
def test_two_people_are_told_apart_behind_a_lossy_codec(
    tmp_path: Path, sounds: dict[str, Path], suffix: str, rate: str
) -> None:
    """At low rates, codecs store what both channels share and what differs."""
    both = ("-i", str(sounds["other"]), "-filter_complex", "join=inputs=2:channel_layout=stereo", "-b:a", rate)
    found = feeds_of(recordings.cut(sounds["voice"], tmp_path / f"call.{suffix}", 0, 8, *both))
    assert [feed.speaker for feed in found.each] == ["channel 1", "channel 2"]


@pytest.mark.parametrize("suffix", ["ogg", "ts", "webm"])
def test_excerpts_come_from_all_of_a_recording(tmp_path: Path, suffix: str) -> None:
    options = {"ogg": (), "ts": ("-c:a", "mp2"), "webm": ("-c:a", "libopus", "-live", "1")}[suffix]
    path = recordings.varied(tmp_path / f"long.{suffix}", 700, *options, rate=16000)
    info = probe(path)
    found = list(read_excerpts(path, info))
    n_expected = 12 if info.duration_s else 5  # from 0, 30, 90, 210 and 450 s on
    assert [len(excerpt.tracks[0]) for excerpt in found] == pytest.approx([30 * 16000] * n_expected, rel=0.02)
