"""From slices to windows of sound, ahead of whoever hears them."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import recordings
from support.waiting import wait_until

from nightscribe.shared.audio.clips import CLIP_BYTES
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import AudioError, PermanentError, RetryableError
from nightscribe.shared.model.jobs import Slice
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.worker.engines.whisper.recognizer import WINDOW_LIMITS
from nightscribe.worker.pipeline.vad import SpeechDetector
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window, WindowReader, ahead


class Source(FolderSource):
    """Something happens to a recording once it was opened; and how many are open now."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.n_open = 0
        self.changes: dict[str, Any] = {}

    def local(self, path: str) -> AbstractContextManager[Path]:
        @contextmanager
        def opened() -> Iterator[Path]:
            with FolderSource.local(self, path) as file:
                self.n_open += 1
                self.changes.pop(path, lambda: None)()
                try:
                    yield file
                finally:
                    self.n_open -= 1

        return opened()

    def stat(self, path: str) -> Recording:
        if path == "away.wav":
            raise RetryableError("The share is away.")
        return super().stat(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Path:
    """Three clips, a recording that is no clip, and what is none at all; not to be written to."""
    folder = tmp_path_factory.mktemp("made")
    for n in range(3):
        recordings.cut(speech, folder / f"{n}.wav", 5.0 * n, 3.0 + n, "-ar", "16000", "-map_metadata", "-1")
    recordings.cut(speech, folder / "long.wav", 0, 40, "-ar", "48000", "-map_metadata", "-1")
    assert (folder / "long.wav").stat().st_size > CLIP_BYTES
    recordings.text_named_mp3(folder / "diary.mp3")
    return folder


@pytest.fixture
def source(made: Path, tmp_path: Path) -> Source:
    shutil.copytree(made, tmp_path / "source")
    return Source(tmp_path / "source")


def slice_of(source: Source, name: str, **changes: Any) -> Slice:
    recording = FolderSource.stat(source, name)
    return Slice(
        recording=name,
        fingerprint=source.fingerprint(recording),
        size=recording.size,
        stem=Path(name).stem,
        **changes,
    )


def gone(name: str) -> Slice:
    return Slice(recording=name, fingerprint="1-0", size=1, stem=Path(name).stem)


def whole(source: Source, name: str, start_s: float = 0.0, end_s: float | None = None) -> Waveform:
    return np.concatenate(list(Decoder(source.root / name, start_s, end_s)))


def listened(source: Source, *slices: Slice) -> dict[Slice, tuple[list[Window], SliceEnd]]:
    """What came of each slice; one that ended never, twice or before its last window is an error."""
    windows: dict[Slice, list[Window]] = {slice_: [] for slice_ in slices}
    ends: dict[Slice, SliceEnd] = {}
    for item in WindowReader(source, WINDOW_LIMITS).read(slices):
        assert item.slice_ not in ends
        if isinstance(item, SliceEnd):
            ends[item.slice_] = item
        else:
            windows[item.slice_].append(item)
    assert set(ends) == set(slices)
    return {slice_: (windows[slice_], ends[slice_]) for slice_ in slices}


def check_whole(source: Source, slice_: Slice, windows: list[Window], end: SliceEnd) -> None:
    """The windows joined are the sound of the slice, and each says where it begins in the recording."""
    true = whole(source, slice_.recording, slice_.start_s, slice_.end_s)
    assert end.error is None
    assert np.array_equal(np.concatenate([window.waveform for window in windows]), true)
    starts = slice_.start_s + np.cumsum([0.0, *(window.seconds for window in windows)])[:-1]
    assert [window.start_s for window in windows] == pytest.approx(starts.tolist(), abs=1e-6)
    assert end.decoded_s == pytest.approx(len(true) / RATE)
    assert end.mtime_ns == FolderSource.stat(source, slice_.recording).mtime_ns
    firsts = [window.speech.first_s for window in windows]
    assert all(
        first_s is not None and 0 <= first_s < window.seconds for first_s, window in zip(firsts, windows, strict=True)
    )


def test_every_slice_of_a_mixed_job_ends_once_with_its_sound_or_its_error(source: Source) -> None:
    """Clips, a long file, one that is gone, one that is text, one that was changed, one on a share that is away."""
    changed = slice_of(source, "2.wav")
    shutil.copy(source.root / "0.wav", source.root / "2.wav")
    good = [slice_of(source, name) for name in ("0.wav", "1.wav", "long.wav")]
    diary = slice_of(source, "diary.mp3")
    found = listened(source, good[0], gone("gone.wav"), diary, good[2], changed, gone("away.wav"), good[1])
    for slice_ in good:
        check_whole(source, slice_, *found[slice_])
    assert len(found[good[2]][0]) > 1
    for slice_, kind, why in (
        (gone("gone.wav"), PermanentError, "."),
        (diary, AudioError, "."),
        (changed, PermanentError, "changed after it was queued"),
        (gone("away.wav"), RetryableError, "share is away"),
    ):
        windows, end = found[slice_]
        assert windows == []
        assert isinstance(end.error, kind)
        assert why in str(end.error)
    assert source.n_open == 0


def test_the_tags_of_a_clip_are_no_sound(source: Source, speech: Path) -> None:
    for name in ("tagged.wav", "too.wav"):
        recordings.cut(speech, source.root / name, 0, 3, "-ar", "16000", "-metadata", "title=A Tale of Two Cities")
    slices = [slice_of(source, name) for name in ("tagged.wav", "too.wav")]
    for slice_, (windows, end) in listened(source, *slices).items():
        check_whole(source, slice_, windows, end)


def test_the_slices_of_a_long_recording_join_without_a_seam(source: Source) -> None:
    cuts = (13.0, 27.5)
    slices = [slice_of(source, "long.wav", cuts=cuts, index=index) for index in range(3)]
    found = listened(source, *slices)
    for slice_ in slices:
        check_whole(source, slice_, *found[slice_])
    joined = np.concatenate([window.waveform for slice_ in slices for window in found[slice_][0]])
    assert np.array_equal(joined, whole(source, "long.wav"))


def test_silence_is_given_as_such(source: Source) -> None:
    recordings.silence(source.root / "quiet.wav", 30)
    slice_ = slice_of(source, "quiet.wav")
    windows, end = listened(source, slice_)[slice_]
    assert [window.speech.first_s for window in windows] == [None] * len(windows)
    assert sum(window.seconds for window in windows) == end.decoded_s == 30


@pytest.mark.parametrize("name", ["1.wav", "long.wav"])
def test_a_recording_changed_while_it_is_read_ends_with_that_error(source: Source, name: str) -> None:
    """Nobody knows which sound was heard. One that is merely touched is as good as before, with the time it had."""
    slice_, neighbour = slice_of(source, name), slice_of(source, "0.wav")
    recording = source.root / name
    content = recording.read_bytes()
    source.changes[name] = lambda: recording.write_bytes(content[:-100] + bytes(100))
    found = listened(source, neighbour, slice_)
    assert "changed while it was transcribed" in str(found[slice_][1].error)
    check_whole(source, neighbour, *found[neighbour])
    recording.write_bytes(content)
    before = recording.stat().st_mtime_ns
    source.changes[name] = lambda: recording.write_bytes(content)
    [end] = [end for _, end in listened(source, slice_).values()]
    assert (end.error, end.mtime_ns) == (None, before)


def test_nothing_stays_open_when_nobody_listens_any_more(source: Source) -> None:
    for names in (["0.wav", "1.wav"], ["long.wav"]):
        stream = WindowReader(source, WINDOW_LIMITS).read([slice_of(source, name) for name in names])
        next(stream)
        assert source.n_open == len(names)
        stream.close()
        assert source.n_open == 0


# Ahead


Listening = Callable[[], list[threading.Thread]]


@pytest.fixture
def listening() -> Listening:
    """The threads that a test has begun and that have not ended."""
    before = threading.enumerate()

    def begun() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name == "window-reader" and each not in before]

    return begun


@settings(max_examples=20)
@given(st.lists(st.integers()), st.integers(1, 5))
def test_what_is_made_ahead_comes_in_its_order(items: list[int], n: int) -> None:
    assert list(ahead(iter(items), n)) == items


def test_the_thread_ends_with_what_it_makes(listening: Listening) -> None:
    assert list(ahead(iter(range(5)), 2)) == [0, 1, 2, 3, 4]
    wait_until(lambda: not listening(), what="the thread to end")


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ZeroDivisionError("no frames")

    stream = ahead(broken())
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(ZeroDivisionError, match="no frames"):
        next(stream)


@pytest.mark.parametrize("n", [2, 5])
def test_no_more_is_made_ahead_than_was_asked_for(n: int) -> None:
    """A long recording would otherwise lie in memory whole, and a slow engine would never catch up."""
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            made.append(item)
            yield item

    with closing(ahead(items(), n)) as stream:
        for taken in range(1, 4):
            next(stream)
            wait_until(lambda taken=taken: len(made) == n + taken, what="as many as were asked for")  # type: ignore[misc]
            threading.Event().wait(0.05)
            assert len(made) == n + taken


def test_sound_is_made_while_nobody_asks() -> None:
    """So that the engine does not wait for the disk."""
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    with closing(ahead(items())) as stream:
        next(stream)
        assert made.wait(60)


def test_leaving_early_stops_the_thread_and_closes_what_it_listened_to(source: Source, listening: Listening) -> None:
    slices = [slice_of(source, "long.wav", cuts=(30.0,)), slice_of(source, "0.wav")]
    stream = ahead(WindowReader(source, WINDOW_LIMITS).read(slices), 2)
    next(stream)
    assert len(listening()) == 1
    stream.close()
    wait_until(lambda: not listening(), what="the thread to end")
    wait_until(lambda: source.n_open == 0, what="the recording to be closed")


def test_a_share_that_hangs_keeps_nobody_from_leaving(monkeypatch: pytest.MonkeyPatch, listening: Listening) -> None:
    monkeypatch.setattr("nightscribe.worker.pipeline.window_reader.END_WITHIN_S", 0.1)
    answer, hanging = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 1
        hanging.set()
        answer.wait(60)
        yield 2

    stream = ahead(items())
    next(stream)
    assert hanging.wait(60)
    stream.close()
    assert listening(), "it was waited for"
    answer.set()
    wait_until(lambda: not listening(), what="the thread to end")


# Channels


@pytest.mark.parametrize("seconds", [8, 30])
def test_channels_that_carry_different_speech_are_heard_each_by_itself(
    tmp_path: Path, speech: Path, seconds: int
) -> None:
    """Mixed, what two people say at once is the garbled voice of nobody."""
    sides = "[0:a]atrim=0:{0}[a];[1:a]atrim=10:{1},asetpts=PTS-STARTPTS[b];[a][b]join=inputs=2:channel_layout=stereo"
    path = recordings.cut(
        speech, tmp_path / "call.wav", 0, 44, "-i", str(speech),
        "-filter_complex", sides.format(seconds, 10 + seconds), "-ar", "48000", "-map_metadata", "-1",
    )  # fmt: skip
    assert (path.stat().st_size > CLIP_BYTES) is (seconds == 30)
    source = Source(tmp_path)
    items = list(WindowReader(source, WINDOW_LIMITS).read([slice_of(source, "call.wav")]))
    windows = [item for item in items if isinstance(item, Window)]
    for n, speaker in enumerate(("channel 1", "channel 2")):
        own = [window for window in windows if window.speaker == speaker]
        assert own[0].start_s == 0
        found = np.concatenate([window.waveform for window in own])
        assert np.array_equal(found, np.concatenate(list(Decoder(path, channel=n))))
    assert sum(window.progress_s for window in windows) == pytest.approx(seconds, abs=0.1)
    [end] = [item for item in items if isinstance(item, SliceEnd)]
    assert (end.error, end.decoded_s) == (None, pytest.approx(seconds, abs=0.1))


def test_an_offset_does_not_reach_whoever_hears_a_window(tmp_path: Path, speech: Path) -> None:
    shifted = "volume=-26dB,dcshift=0.25"
    recordings.cut(speech, tmp_path / "a.wav", 0, 8, "-ar", "16000", "-af", shifted, "-map_metadata", "-1")
    source = Source(tmp_path)
    windows = [
        item
        for item in WindowReader(source, WINDOW_LIMITS).read([slice_of(source, "a.wav")])
        if isinstance(item, Window)
    ]
    assert all(abs(float(window.waveform.mean())) < 0.003 for window in windows)
    assert any(window.speech.first_s is not None for window in windows)


def test_the_detector_remembers_the_windows_before(source: Source) -> None:
    """Begun anew with each window, it would hear speech in music."""
    slice_ = slice_of(source, "long.wav")
    windows, _ = listened(source, slice_)[slice_]
    assert len(windows) > 1
    detector = SpeechDetector()
    for window in windows:
        assert np.array_equal(window.speech.probabilities, detector.listen(window.waveform).probabilities)
    anew = SpeechDetector().listen(windows[-1].waveform)
    assert not np.array_equal(windows[-1].speech.probabilities, anew.probabilities)
