"""From recordings to jobs, with real files: what is read, and what becomes of those that cannot be."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import OPTIONS, file, job
from support import recordings

from nightscribe.director.backlog import Backlog, Missing, Settled
from nightscribe.director.plan.cut_points import AROUND_S, quiet_cut_points
from nightscribe.director.plan.estimate import Rates
from nightscribe.director.plan.planner import Planned, Planner
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import AudioError, RetryableError
from nightscribe.shared.model.paths import without_suffix
from nightscribe.shared.model.recording import Recording, Unreadable
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore

SECOND = Rates({".mp3": 1.0, ".wav": 1.0 / 32_000})


class Location:
    """A source, and a destination that remembers where recordings are cut."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "in"
        self.folder.mkdir()
        (folder / "out").mkdir()
        self.source = FolderSource(self.folder)
        self.records = Records(FolderStore(folder / "out"))

    def missing(self) -> Backlog:
        found = (recording for folder in self.source.folders() for recording in folder.recordings)
        return Backlog(Missing(each, without_suffix(each.path)) for each in found)

    def planner(self, *, job_s: float = 60.0, rates: Rates = SECOND, source: FolderSource | None = None) -> Planner:
        return Planner(source or self.source, self.records, self.missing(), rates, job_s)


@pytest.fixture
def place(tmp_path: Path) -> Location:
    """Nothing in it yet."""
    return Location(tmp_path)


@pytest.fixture(scope="session")
def pauses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes of noise with half a second of silence at 4 s after every minute."""
    path = tmp_path_factory.mktemp("pauses") / "pauses.wav"
    silent = "+".join(f"between(t,{minute * 60 + 4},{minute * 60 + 4.5})" for minute in range(5))
    command = f"-v error -f lavfi -t 300 -i anoisesrc=seed=1:sample_rate=16000 -af volume=0:enable='{silent}' -ac 1"
    subprocess.run([recordings.ffmpeg_program(), *command.split(), str(path)], check=True)
    return path


def test_a_long_recording_is_cut_where_it_is_quiet(place: Location, pauses: Path) -> None:
    shutil.copy(pauses, place.folder / "long.wav")
    slices = [part for planned in place.planner() if isinstance(planned, Planned) for part in planned.slices()]
    assert [part.index for part in slices] == [0, 1, 2, 3, 4]
    assert {part.count for part in slices} == {5}
    assert slices[0].cuts == pytest.approx([64.25, 124.25, 184.25, 244.25], abs=0.25)
    assert (slices[0].start_s, slices[-1].end_s) == (0.0, None)
    assert len({job(part).id for part in slices}) == 5


def test_a_cut_is_quiet_in_every_audio_track(tmp_path: Path) -> None:
    """The first track pauses at 30 s and at 34 s, the second, which is twice as loud, only at 34 s."""
    tones = [
        f"aevalsrc='{level}*sin(2*PI*{pitch}*t)*({spoken})':s=16000:d=60"
        for level, pitch, spoken in (
            (0.2, 300, "1-between(t,29.7,30.3)-between(t,33.8,34.2)"),
            (0.4, 500, "1-between(t,33.8,34.2)"),
        )
    ]
    path = recordings.silence(tmp_path / "silence.wav", 1)
    inputs = [text for tone in tones for text in ("-f", "lavfi", "-i", tone)]
    film = recordings.cut(path, tmp_path / "film.mka", 0, 60, *inputs, "-map", "1", "-map", "2", "-c:a", "pcm_s16le")
    assert quiet_cut_points(film, (30.0,), [0, 1]) == (pytest.approx(34, abs=0.2),)
    assert quiet_cut_points(film, (30.0,)) == (pytest.approx(30, abs=0.2),)


def test_only_what_lies_around_a_cut_is_decoded(pauses: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[tuple[float, float | None]] = []

    class Watched(Decoder):
        def __init__(self, path: Path, start_s: float = 0.0, end_s: float | None = None, **more: Any) -> None:
            windows.append((start_s, end_s))
            super().__init__(path, start_s, end_s, **more)

    monkeypatch.setattr("nightscribe.director.plan.cut_points.Decoder", Watched)
    assert quiet_cut_points(pauses, (150.0,)) != ()
    assert windows == [(150.0 - AROUND_S, 150.0 + AROUND_S)]


def test_a_cut_is_at_a_sample_that_both_neighbours_agree_on(pauses: Path) -> None:
    [cut_s] = quiet_cut_points(pauses, (120.0,))
    assert cut_s * RATE == round(cut_s * RATE)
    around = np.concatenate(list(Decoder(pauses, cut_s - 0.1, cut_s + 0.1)))
    assert float(np.abs(around).max()) < 0.01


def test_a_recording_that_is_shorter_than_it_says_is_left_whole_to_its_worker(place: Location, pauses: Path) -> None:
    whole = pauses.read_bytes()
    (place.folder / "cut off.wav").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(AudioError):
        quiet_cut_points(place.folder / "cut off.wav", (200.0,))
    [planned] = place.planner(rates=Rates({".wav": 1.0}))
    assert isinstance(planned, Planned)
    assert planned.cut_points == ()


@pytest.mark.parametrize("content", [b"", b"Dear diary, today I recorded nothing.\n" * 50])
@pytest.mark.usefixtures("ffmpeg")
def test_what_is_no_recording_is_left_whole_to_its_worker(place: Location, content: bytes) -> None:
    (place.folder / "a.mp3").write_bytes(content)
    [planned] = place.planner(rates=Rates({".mp3": 10.0}))
    assert isinstance(planned, Planned)
    assert planned.cut_points == ()


def test_a_recording_that_was_cut_before_is_cut_there_again(place: Location, pauses: Path) -> None:
    """A later run may have other workers and other work, and would cut elsewhere; its parts would not fit."""
    shutil.copy(pauses, place.folder / "long.wav")
    first = list(place.planner(job_s=60.0))
    assert len(first) == 5
    assert list(place.planner(job_s=600.0)) == first
    shutil.copy(pauses, place.folder / "short.wav")
    both = list(place.planner(job_s=600.0))
    assert [planned.index for planned in both if isinstance(planned, Planned) and planned.cut_points] == [0, 1, 2, 3, 4]
    assert len(both) == 6
    (place.folder / "long.wav").write_bytes(pauses.read_bytes() + bytes(32_000))
    assert not any(isinstance(planned, Planned) and planned.cut_points for planned in place.planner(job_s=600.0))


def test_long_recordings_go_first_and_short_ones_together(place: Location, pauses: Path) -> None:
    shutil.copy(pauses, place.folder / "z.wav")
    for name in ("a.mp3", "b/c.mp3"):
        file(place.folder / name)
    slices = [
        [part.recording for part in planned.slices()] for planned in place.planner() if isinstance(planned, Planned)
    ]
    assert slices == [["z.wav"]] * 5 + [["a.mp3", "b/c.mp3"]]


def test_a_recording_that_has_vanished_is_left_out_and_said_to_be_gone(place: Location) -> None:
    for name in ("a.mp3", "b.mp3", "c.mp3"):
        file(place.folder / name)
    planner = place.planner()
    (place.folder / "b.mp3").unlink()
    gone, planned = planner
    assert isinstance(gone, Settled)
    assert gone.result == Unreadable("b.mp3", "'b.mp3' is no longer in the source.")
    assert isinstance(planned, Planned)
    assert [part.recording for part in planned.slices()] == ["a.mp3", "c.mp3"]


def test_a_source_that_is_away_for_a_moment_loses_no_recording(place: Location) -> None:
    for name in ("a.mp3", "b.mp3"):
        file(place.folder / name)

    class Away(FolderSource):
        n_failed = 0

        def fingerprint(self, recording: Recording) -> str:
            if recording.path == "b.mp3" and self.n_failed < 2:
                self.n_failed += 1
                raise RetryableError("The source is not there now.")
            return super().fingerprint(recording)

    planner = place.planner(source=Away(place.folder))
    for _ in range(2):
        with pytest.raises(RetryableError):
            next(planner)
    [planned] = planner
    assert isinstance(planned, Planned)
    assert [part.recording for part in planned.slices()] == ["a.mp3", "b.mp3"]


def test_a_plan_made_again_is_the_same(place: Location) -> None:
    for n in range(50):
        file(place.folder / f"{n}.mp3", bytes(20))
    made = [[job(*p.slices(), options=OPTIONS).id for p in place.planner() if isinstance(p, Planned)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(made[0]) > 5
