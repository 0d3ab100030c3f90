"""One decoding of a recording that serves its slices one after the other."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
from support import recordings

from nightscribe.director.plan.cut_points import quiet_cut_points
from nightscribe.shared.audio import passes
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.ffmpeg_process import FfmpegProcess
from nightscribe.shared.audio.waveform import Waveform


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """One item for each ffmpeg that decodes a recording."""
    found: list[int] = []

    class Counted(FfmpegProcess):
        def __init__(self, command: list[str], environment: dict[str, str] | None) -> None:
            found.append(len(found))
            super().__init__(command, environment)

    monkeypatch.setattr(passes, "FfmpegProcess", Counted)
    yield found


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transport stream, in which seeking is not exact; not to be written to."""
    return recordings.varied(tmp_path_factory.mktemp("stream") / "a.ts", 60, "-c:a", "mp2", rate=32_000)


def decode(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Waveform:
    return np.concatenate(list(Decoder(path, start_s, end_s)))


def test_the_slices_of_a_recording_are_one_pass(stream: Path, started: list[int]) -> None:
    """Ten hours in sixty slices would be decoded thirty times over."""
    whole = decode(stream)
    started.clear()
    cuts = (0.0, 10.01, 20.5, 33.3, 50.0, None)
    slices = [decode(stream, start_s or 0.0, end_s) for start_s, end_s in pairwise(cuts)]
    assert np.array_equal(np.concatenate(slices), whole)
    assert len(started) == 1
    assert not any("ffmpeg" in child.name() for child in psutil.Process().children()), "the last slice ended it"


def test_a_pass_goes_back_a_little(stream: Path, started: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice is heard a little beyond its end, where the next one begins."""
    whole = decode(stream)
    monkeypatch.setattr(passes, "REWIND_S", 5)
    started.clear()
    for start_s, end_s, n_started in ((0.0, 30.0, 1), (30.0, 34.0, 1), (30.0, 40.0, 1), (36.5, 50.0, 1), (3.0, 4.0, 2)):
        found = decode(stream, start_s, end_s)
        assert np.array_equal(found, whole[round(start_s * 16000) : round(end_s * 16000)])
        assert len(started) == n_started


def test_a_pass_skips_what_other_workers_transcribe_and_never_goes_far_back(
    stream: Path, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "REWIND_S", 1)
    whole = decode(stream)
    started.clear()
    for start_s, end_s, n_started in ((5.0, 10.0, 1), (40.0, 45.0, 1), (20.0, 30.0, 2), (45.0, 50.0, 2), (0.0, 5.0, 3)):
        found = decode(stream, start_s, end_s)
        assert np.array_equal(found, whole[round(start_s * 16000) : round(end_s * 16000)])
        assert len(started) == n_started


def test_what_was_said_of_a_slice_does_not_depend_on_the_pass(tmp_path: Path, stream: Path) -> None:
    """A hole is reported in the slice in which it is, and only there."""
    read = stream.read_bytes()
    packets = len(read) // 188
    path = tmp_path / "holed.ts"
    path.write_bytes(read[: packets // 3 * 188] + read[packets * 2 // 5 * 188 :])
    for resumed in (True, False):
        found = []
        for start_s, end_s in ((0.0, 10.0), (10.0, 40.0), (40.0, 50.0)):
            decoder = Decoder(path, start_s, end_s)
            n = sum(map(len, decoder))
            found.append((n, decoder.is_truncated, decoder.container_s))
            if not resumed:
                passes.end_waiting()
        assert [truncated for _, truncated, _ in found] == [False, True, False]
        assert [n for n, _, _ in found] == [160_000, 480_000, 160_000]


def test_a_recording_that_changed_is_decoded_anew(tmp_path: Path, stream: Path, started: list[int]) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes(stream.read_bytes())
    decode(path, 0.0, 5.0)
    path.write_bytes(stream.read_bytes())
    decode(path, 5.0, 10.0)
    assert len(started) == 2


def test_few_passes_wait_and_each_for_a_limited_time(
    tmp_path: Path, stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def n_ffmpeg() -> int:
        return sum("ffmpeg" in child.name() for child in psutil.Process().children())

    for n in range(4):
        (path := tmp_path / f"{n}.ts").write_bytes(stream.read_bytes())
        decode(path, 0.0, 5.0)
    assert n_ffmpeg() == passes.MOST_WAITING
    passes.end_waiting()
    assert n_ffmpeg() == 0
    monkeypatch.setattr(passes, "WAITING_S", 0.05)
    decode(stream, 0.0, 5.0)
    [(_, timer)] = passes._waiting.values()
    timer.join()
    assert n_ffmpeg() == 0


def test_all_cuts_are_found_in_one_pass(stream: Path, started: list[int]) -> None:
    assert len(quiet_cut_points(stream, (16.0, 48.0))) == 2
    assert len(started) == 1


def test_an_ffmpeg_that_waits_ends_with_its_process(stream: Path) -> None:
    """It is told nothing; its pipe has no reader any more."""
    program = f"""
import os, psutil
from pathlib import Path
from nightscribe.shared.audio.decode import Decoder
for _ in Decoder(Path({str(stream)!r}), 0.0, 5.0): pass
print(psutil.Process().children()[0].pid, flush=True)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    psutil.wait_procs([psutil.Process(pid) for pid in map(int, done.stdout.split()) if psutil.pid_exists(pid)])
