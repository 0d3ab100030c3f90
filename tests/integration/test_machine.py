"""Trouble of a machine costs rests, and no recording its tries."""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until
from support.workplace import Dictated, Workplace, Wrapped, received, working

from nightscribe.shared.audio.probe import ffmpeg_path
from nightscribe.shared.errors import MachineError, RetryableError
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.queue.wire import Releases
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker.machine import is_hopeless, machine_error, rest_s

TEXTS = ["a.srt", "a.txt", "a.vtt"]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The ffmpeg that this process starts: a link to the real one, which a test may take away or replace."""
    real, path = ffmpeg_path(), tmp_path / "bin" / "ffmpeg"
    path.parent.mkdir()
    path.symlink_to(real)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    ffmpeg_path.cache_clear()
    assert ffmpeg_path() == str(path)
    yield path
    ffmpeg_path.cache_clear()


@pytest.fixture(autouse=True)
def queued(workplace: Workplace, clips: list[Path]) -> None:
    """One recording, queued."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.queue.send([workplace.job("a.wav")], "run")


def gone(program: Path) -> None:
    """No ffmpeg is there."""
    program.unlink()


def not_executable(program: Path) -> None:
    """One is there that cannot be started."""
    program.unlink()
    program.write_text("half of an update")


def killed(program: Path) -> None:
    """It is killed by the system, as for memory."""
    program.unlink()
    program.write_text('#!/bin/sh\ncase "$*" in *-demuxers*) exec ffmpeg-real "$@";; esac\nkill -9 $$\n')
    program.chmod(0o755)


@pytest.mark.parametrize(("harm", "code"), [(gone, "ffmpeg_missing"), (not_executable, "ffmpeg_missing")])
def test_an_ffmpeg_that_is_away_for_a_while_costs_no_recording_its_tries(
    workplace: Workplace, program: Path, harm: Callable[[Path], None], code: str
) -> None:
    """Each attempt releases the job as a new message; once ffmpeg is back, the job is done."""
    real = program.readlink()
    at_release: list[int] = []

    def note(send: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        at_release.append(len(list(workplace.records.activities())))
        return send(**arguments)

    workplace.queue._client = Wrapped(workplace.queue._client, "send_message_batch", note)
    worker = workplace.worker(Dictated())
    harm(program)
    for n in range(5):
        delivery = received(workplace.queue)
        assert (delivery.receive_count, delivery.releases.n) == (1, n)
        worker._handle(delivery, worker.clock())
    assert at_release == [0] * 5, "others would leave the job to this worker"
    assert worker._n_in_trouble == 5
    program.unlink(missing_ok=True)
    program.symlink_to(real)
    with working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, what="the job to be done")
    assert workplace.texts == TEXTS
    assert workplace.records.failure("a.wav") is None
    assert workplace.dead_letters() == []


def test_a_job_that_meets_nothing_but_trouble_reaches_an_end(
    workplace: Workplace, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every machine may be in trouble because of it, as one whose ffmpeg is killed for memory by that recording."""
    monkeypatch.setattr("nightscribe.worker.machine.MAX_RELEASES", 3)
    monkeypatch.setattr("nightscribe.worker.machine.MAX_TROUBLE_S", 0)
    monkeypatch.setattr("nightscribe.worker.machine.REST_S", 0)
    gone(program)
    with working(workplace.worker(Dictated())):
        wait_until(workplace.is_empty, what="the job to be done with")
    failure = workplace.records.failure("a.wav")
    assert failure is not None
    assert failure.code == "ffmpeg_missing"
    assert failure.reason.startswith("ffmpeg cannot be started: ")
    assert failure.reason.endswith(" This happened 3 times.")
    [letter] = workplace.dead_letters()
    assert (letter.reason, letter.recorded) == (failure.reason, True)


def test_an_ffmpeg_that_is_killed_is_trouble_of_the_machine(workplace: Workplace, program: Path) -> None:
    """It is the machine that lacks memory, perhaps because of another program."""
    worker = workplace.worker(Dictated())
    delivery = received(workplace.queue)
    (program.parent / "ffmpeg-real").symlink_to(program.readlink())
    killed(program)
    worker._handle(delivery, worker.clock())
    again = received(workplace.queue)
    assert (again.receive_count, again.releases.n) == (1, 1)


def test_a_worker_in_trouble_rests_longer_each_time_until_something_is_done(
    workplace: Workplace, program: Path
) -> None:
    """It is asked to stop in the middle of that, and does. Meanwhile it reports why it rests."""
    real = program.readlink()
    rests: list[float] = []
    reports: list[Activity] = []
    worker = workplace.worker(Dictated())

    class Stop(threading.Event):
        """Note how long somebody would have waited, return at once, and mend the machine after four rests."""

        def wait(self, timeout: float | None = None) -> bool:
            rests.append(timeout or 0.0)
            reports.extend(workplace.records.activities())
            if len(rests) == 4:
                program.symlink_to(real)
            return self.is_set()

    worker.stop = Stop()
    gone(program)
    worker.run(until_empty=True)
    assert rests == [5, 10, 20, 40]
    assert [(each.recording, each.message) for each in reports] == [("a.wav", "")] * 4, "it holds no job"
    assert all("ffmpeg cannot be started" in (each.trouble or "") for each in reports)
    assert list(workplace.records.activities()) == []
    assert workplace.texts == TEXTS
    assert worker._n_in_trouble == 0


def test_rests_grow_to_five_minutes() -> None:
    assert [rest_s(n) for n in (1, 2, 3, 6, 7, 8, 10_000)] == [5, 10, 20, 160, 300, 300, 300]


def test_a_job_is_hopeless_only_after_many_releases_and_a_long_time() -> None:
    """Sixty workers of one machine release a job sixty times in a minute."""
    assert not is_hopeless(60, 60)
    assert not is_hopeless(3, 7200)
    assert is_hopeless(10, 3600)


def test_releases_are_read_with_care() -> None:
    """Message attributes are not signed: nobody may keep a job on the queue for ever by them."""
    assert Releases.from_text(None) == Releases.from_text("") == Releases.from_text("-1 0") == Releases()
    assert Releases.from_text("9" * 30 + " 1") == Releases.from_text("1 nan") == Releases()
    first = Releases().one_more(1000.0)
    assert first == Releases(1, 1000.0)
    assert Releases.from_text(first.to_text()) == first
    assert first.one_more(2000.0) == Releases(2, 1000.0)
    assert Releases(1, 9e9).one_more(2000.0) == Releases(2, 2000.0), "a time in the future"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "machine_trouble"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "machine_trouble"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/nightscribe-1-x/0.wav"), "disk_full"),
        (OSError(errno.EROFS, "Read-only file system", "/tmp"), "machine_trouble"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/source/a.wav"), None),
        (MemoryError(), None),
        (RuntimeError("CUDA out of memory"), None),
        (RetryableError("The share is away.", code="storage_unreachable"), None),
    ],
)
def test_what_counts_against_the_machine(error: Exception, code: str | None) -> None:
    """An engine without memory does not: from its second receive on, a job is done in smaller pieces."""
    found = machine_error(error)
    assert (found and found.code) == code


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EROFS, "storage_unreachable")])
def test_a_destination_that_takes_no_file_counts_against_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def refuse(_file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(MachineError, match=r"Cannot write 'a\.txt'") as caught:
        FolderStore(tmp_path).put("a.txt", b"words")
    assert caught.value.code == code
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
