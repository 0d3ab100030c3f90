"""Test a watching director: it queues what arrives once it has stopped growing, nothing twice, and loses nothing."""

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support import recordings
from support.buckets import TestBucket
from support.servers import SqsServer
from support.waiting import wait_until
from support.workplace import FORMATS, Dictated, Workplace, received, working

from nightscribe.director.backlog import Settled
from nightscribe.director.plan.estimate import Rates
from nightscribe.director.scan.scanner import Scanner
from nightscribe.director.watch.file_system_watcher import FileSystemWatcher
from nightscribe.director.watch.watch_loop import WatchLoop
from nightscribe.services.watch import check_of
from nightscribe.shared.audio.probe import MediaInfo, probe
from nightscribe.shared.errors import PermanentError
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.jobs import Job
from nightscribe.shared.model.recording import Folder, Recording
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.source import FolderSource

SETTLE_S = 3.0
POLL_S = 5.0
OLD = (1_000_000_000, 1_000_000_000)
WAV = Rates({".wav": 1 / 32_000})


@dataclass
class Time:
    """A clock that goes on only while somebody waits, so that no test is too slow for it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Silent(FileSystemWatcher):
    """Notices no change, like the watcher of a network share or a bucket, and waits without taking time."""

    def __init__(self, time: Time) -> None:
        super().__init__(None)
        self._time = time

    def wait(self, seconds: float) -> None:
        """Move the test's clock to the next thing that is due."""
        self._time.now += seconds


class Slow(FolderSource):
    """A source of which a scan takes `takes_s`."""

    takes_s = 0.0
    n_looks = 0

    def folders(self) -> Iterator[Folder]:
        """Yield the folders, and move the test's clock."""
        self.n_looks += 1
        yield from super().folders()
        self.time.now += self.takes_s

    time: Time


@dataclass
class StepByStep:
    """A watching director, led step by step."""

    workplace: Workplace
    watcher: FileSystemWatcher | None = None
    """A watcher that notices changes; with it, the clock is the real one."""
    source: RecordingSource | None = None
    poll_s: float = POLL_S
    settle_s: float = SETTLE_S
    rates: Rates = WAV
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.time = Time()
        self.director = self.workplace.director(**self.options)
        self.director.source = self.source or self.director.source
        retry_failed = self.options.get("retry_failed", False)
        scanner = Scanner(self.director.source, self.workplace.records, FORMATS, settle_s=0, retry_failed=retry_failed)
        self.loop = WatchLoop(
            self.director,
            scanner,
            rates=lambda _: self.rates,
            check_store=check_of(FolderLocation(self.workplace.dest), self.workplace.records),
            watcher=self.watcher or Silent(self.time),
            poll_s=self.poll_s,
            settle_s=self.settle_s,
            clock=time.monotonic if self.watcher else self.time,
        )
        self._steps = self.loop.watch()
        self.settled: dict[str, object] = {}

    def step(self) -> None:
        """Do whatever is due now, and wait until something else is."""
        while (event := next(self._steps)) is not None:
            assert isinstance(event, Settled)
            self.settled[event.missing.recording.path] = event.result

    def go_on(self, seconds: float) -> None:
        """Go on for so long, by the test's clock."""
        until = self.time.now + seconds
        while self.time.now < until:
            self.step()

    def until(self, predicate: Callable[[], Any], what: str) -> None:
        """Go on until something has happened that other threads do in their own time."""
        wait_until(lambda: self.step() or predicate(), what=what)


@pytest.fixture
def watch(workplace: Workplace) -> StepByStep:
    """Return a watching director that polls."""
    return StepByStep(workplace)


@pytest.fixture
def silence(tmp_path: Path) -> Path:
    """Return a short recording outside of the source."""
    return recordings.silence(tmp_path / "silence.wav", 0.2)


def queued(workplace: Workplace) -> list[list[str]]:
    """Receive all jobs from the queue, and return their recordings."""
    jobs = []
    while delivery := workplace.queue.receive(wait_s=0):
        jobs.append([part.recording for part in Job.from_message(delivery.body).slices])
        workplace.queue.delete(delivery)
    return sorted(jobs)


def n_queued(workplace: Workplace) -> int:
    counts = workplace.queue.counts()
    return counts.queued + counts.in_flight


def fail(workplace: Workplace, name: str) -> None:
    """Move the next job to the dead letters, as a worker does after the last attempt."""
    slice_ = workplace.slice_of(name)
    workplace.records.fail(
        Failure(
            recording=name,
            fingerprint=slice_.fingerprint,
            size=slice_.size,
            mtime_ns=None,
            reason="It is broken.",
            attempts=1,
            worker="here",
            failed_at=utc_now(),
        )
    )


def test_what_is_there_and_what_arrives_is_queued_once_each(watch: StepByStep, silence: Path) -> None:
    """Every scan finds it missing until a worker has finished it."""
    source = watch.workplace.source
    shutil.copy(silence, source / "a.wav")
    watch.go_on(30)
    assert n_queued(watch.workplace) == 1
    (source / "2012").mkdir()
    for name in ("2012/b.wav", "2012/c.wav"):
        shutil.copy(silence, source / name)
    watch.go_on(30)
    assert watch.loop.n_left == 3
    assert queued(watch.workplace) == [["2012/b.wav", "2012/c.wav"], ["a.wav"]]


def test_an_arrival_is_queued_within_seconds(watch: StepByStep, silence: Path) -> None:
    """It is queued at the latest after the pause between two scans and one check of whether it still grows."""
    watch.go_on(60)
    shutil.copy(silence, watch.workplace.source / "a.wav")
    watch.go_on(POLL_S + SETTLE_S + 1)
    assert queued(watch.workplace) == [["a.wav"]]


def grow(path: Path) -> None:
    """`cp` writes like this."""
    with path.open("ab") as file:
        file.write(b"\0" * 1000)


def grow_and_look_old(path: Path) -> None:
    """Some tools set the time of a file before all of it is there."""
    grow(path)
    os.utime(path, OLD)


def fill(path: Path) -> None:
    """Some tools give a file its full size at the beginning."""
    with path.open("r+b") as file:
        file.seek(44)
        file.write(os.urandom(100))


@pytest.mark.parametrize("write", [grow, grow_and_look_old, fill])
def test_what_is_being_written_is_not_queued_until_it_rests(
    watch: StepByStep, silence: Path, write: Callable[[Path], None]
) -> None:
    """However long that takes; and then it is, within seconds, while others are not kept waiting."""
    path = watch.workplace.source / "growing.wav"
    shutil.copy(silence, path)
    with capture_logs() as logged:
        for number in range(20):
            write(path)
            watch.go_on(SETTLE_S * 0.9)
            if number == 10:
                shutil.copy(silence, watch.workplace.source / "other.wav")
    assert queued(watch.workplace) == [["other.wav"]]
    events = [each["event"] for each in logged]
    assert (events.count("recordings.arrived"), events.count("recording.growing")) == (2, 1)
    watch.go_on(2 * SETTLE_S + 1)
    assert queued(watch.workplace) == [["growing.wav"]]
    assert watch.loop.n_left == 2


def test_a_hidden_file_is_queued_when_it_gets_its_name(watch: StepByStep, silence: Path) -> None:
    """rsync writes like this, and then sets the old time."""
    hidden = watch.workplace.source / ".talk.wav.Xy12z"
    shutil.copy(silence, hidden)
    watch.go_on(20)
    assert not n_queued(watch.workplace)
    os.utime(hidden, OLD)
    hidden.rename(watch.workplace.source / "talk.wav")
    watch.go_on(POLL_S + SETTLE_S + 1)
    assert queued(watch.workplace) == [["talk.wav"]]


def test_a_copy_that_stalled_and_went_on_is_done_as_it_is_in_the_end(watch: StepByStep, clips: list[Path]) -> None:
    """It was queued half-copied: its worker notices, and it is queued again by itself, with what it is then."""
    workplace = watch.workplace
    path = workplace.source / "a.wav"
    whole = clips[0].read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    watch.go_on(20)
    assert n_queued(workplace) == 1
    path.write_bytes(whole)
    with working(workplace.worker(Dictated())):
        watch.until(lambda: watch.loop.n_done, "the recording to be done")
    done = workplace.records.provenance("a.wav")
    assert done
    assert done.fingerprint == workplace.slice_of("a.wav").fingerprint
    assert (watch.loop.n_done, watch.loop.n_failed, watch.loop.n_left) == (1, 0, 0)
    assert workplace.records.failure("a.wav") is None


def test_what_failed_is_left_alone_until_it_is_put_back(watch: StepByStep, silence: Path) -> None:
    """And then it is queued at once, though it is the same job as a minute ago."""
    workplace = watch.workplace
    shutil.copy(silence, workplace.source / "a.wav")
    watch.go_on(20)
    assert queued(workplace) == [["a.wav"]]
    fail(workplace, "a.wav")
    watch.go_on(60)
    assert (watch.loop.n_failed, watch.loop.n_left) == (1, 0)
    assert not n_queued(workplace)
    workplace.records.forgive("a.wav")
    watch.go_on(POLL_S + SETTLE_S + 1)
    assert queued(workplace) == [["a.wav"]]
    assert (watch.loop.n_failed, watch.loop.n_left) == (0, 1)
    fail(workplace, "a.wav")
    watch.go_on(20)
    assert (watch.loop.n_failed, watch.loop.n_left) == (1, 0), "one recording, however often it is tried"


def test_a_long_recording_that_failed_is_queued_again_when_it_is_put_back(watch: StepByStep) -> None:
    """All of its slices, of which those behind the one that failed are not queued the first time."""
    workplace = watch.workplace
    recordings.silence(workplace.source / "long.wav", 1000)
    watch.go_on(20)
    assert queued(workplace) == [["long.wav"]] * 2
    fail(workplace, "long.wav")
    watch.go_on(20)
    assert watch.loop.n_failed == 1
    workplace.records.forgive("long.wav")
    watch.go_on(20)
    assert queued(workplace) == [["long.wav"]] * 2


def test_what_failed_in_an_earlier_run_is_tried_again_once_if_asked(workplace: Workplace, silence: Path) -> None:
    shutil.copy(silence, workplace.source / "a.wav")
    fail(workplace, "a.wav")
    left_alone = StepByStep(workplace)
    left_alone.go_on(20)
    assert not n_queued(workplace)
    asked = StepByStep(workplace, options={"retry_failed": True})
    asked.go_on(20)
    assert queued(workplace) == [["a.wav"]]
    fail(workplace, "a.wav")
    asked.go_on(60)
    assert not n_queued(workplace)
    assert asked.loop.n_failed == 1


def test_a_recording_that_changes_is_done_again(watch: StepByStep, clips: list[Path]) -> None:
    """After it is done; and one that vanishes before it is queued is no failure."""
    workplace = watch.workplace
    shutil.copy(clips[0], workplace.source / "a.wav")
    with working(workplace.worker(Dictated())):
        watch.until(lambda: watch.loop.n_done == 1, "the first version")
        shutil.copy(clips[1], workplace.source / "a.wav")
        watch.until(lambda: watch.loop.n_done == 2, "the second version")
        shutil.copy(clips[2], workplace.source / "gone.wav")
        watch.until(lambda: len(watch.loop._pending), "the third recording to be seen")
        (workplace.source / "gone.wav").unlink()
        watch.until(lambda: "gone.wav" in watch.settled, "it to be missed")
    assert (watch.loop.n_left, watch.loop.n_failed) == (0, 0)
    assert workplace.records.failure("gone.wav") is None


def test_a_job_that_kills_its_workers_is_told_while_watching(watch: StepByStep, silence: Path) -> None:
    """The dead letters are read at each step, not only by the next director."""
    workplace = watch.workplace
    shutil.copy(silence, workplace.source / "a.wav")
    watch.go_on(20)
    for _ in range(workplace.settings.max_receives):
        workplace.queue.change_visibility(received(workplace.queue), 0)
    assert workplace.queue.receive(wait_s=1) is None
    with capture_logs() as logged:
        watch.until(lambda: watch.loop.n_failed, "the failure to be recorded")
    assert workplace.dead_letters() == []
    assert [event["recording"] for event in logged if event["event"] == "recording.failed"] == ["a.wav"]


def test_a_director_that_is_ended_anywhere_loses_nothing(workplace: Workplace, silence: Path) -> None:
    """The next one takes up what is missing; what both have queued is done once."""
    names = [f"{n:02}.wav" for n in range(12)]
    for name in names:
        shutil.copy(silence, workplace.source / name)
    for n_steps in range(5):
        ended = StepByStep(workplace, options={"max_queued_jobs": 1})
        for _ in range(n_steps):
            ended.step()
    last = StepByStep(workplace)
    engine = Dictated()
    with working(workplace.worker(engine)):
        last.until(lambda: last.loop.n_done == len(names), "all of them to be done")
        wait_until(workplace.is_empty, what="the queue to be empty")
    assert sorted(last.settled) == names


def test_while_the_queue_holds_no_more_nothing_is_looked_for(workplace: Workplace, silence: Path) -> None:
    """The rest is held in columns, and queued as there is room; each seems to be long enough for a job of its own."""
    for n in range(3):
        shutil.copy(silence, workplace.source / f"{n}.wav")
    rates = Rates({".wav": 700 / silence.stat().st_size})
    watch = StepByStep(workplace, source=(slow := Slow(workplace.source)), rates=rates, options={"max_queued_jobs": 1})
    slow.time = watch.time
    watch.go_on(90)
    assert (n_queued(workplace), watch.loop.n_left, slow.n_looks) == (1, 3, 1)
    with working(workplace.worker(Dictated())):
        watch.until(lambda: watch.loop.n_done == 3, "all to be done")
        watch.until(lambda: slow.n_looks > 1, "another look")
    assert watch.loop.n_left == 0


def test_a_server_that_forgets_everything_costs_nothing_but_time(
    watch: StepByStep, sqs_server: SqsServer, silence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both before a director knows of it and while it looks."""
    monkeypatch.setattr("nightscribe.director.lost_jobs.STALLED_S", 0.5)
    workplace = watch.workplace
    shutil.copy(silence, workplace.source / "a.wav")
    watch.go_on(20)
    sqs_server.kill()
    sqs_server.start()
    shutil.copy(silence, workplace.source / "b.wav")
    with working(workplace.worker(Dictated())):
        watch.until(lambda: watch.loop.n_done == 2, "both to be done")


def test_jobs_that_the_queue_has_lost_are_queued_again(
    watch: StepByStep, silence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is there, but empty, and the recordings are still missing: the director must not wait for ever."""
    monkeypatch.setattr("nightscribe.director.lost_jobs.STALLED_S", 0.2)
    shutil.copy(silence, watch.workplace.source / "a.wav")
    watch.go_on(20)
    assert queued(watch.workplace) == [["a.wav"]]
    watch.until(lambda: n_queued(watch.workplace), "the job to be queued again")


def test_a_watching_director_tolerates_an_unreachable_queue_for_as_long_as_it_takes(
    watch: StepByStep, sqs_server: SqsServer, silence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It logs the outage once."""
    watch.director.outage_limit_s = float("inf")
    watch.director.clock = watch.time
    watch.director._outage._clock = watch.time
    monkeypatch.setattr(watch.director.queue, "_retry_timeout_s", 0.2)
    watch.go_on(20)
    sqs_server.kill()
    shutil.copy(silence, watch.workplace.source / "a.wav")
    with capture_logs() as logged:
        for _ in range(4):
            watch.step()
            watch.time.now += 1_000
        sqs_server.start()
        watch.until(lambda: [each for each in logged if each["event"] == "director.resumed"], "it to be back")
    assert [each["event"] for each in logged].count("director.paused") == 1
    assert queued(watch.workplace) == [["a.wav"]]


@pytest.mark.parametrize("what", ["source", "dest"])
def test_an_unreachable_share_is_logged_once_and_changes_nothing(
    watch: StepByStep, clips: list[Path], what: str
) -> None:
    """Above all, not everything is queued again because its transcripts cannot be seen."""
    workplace = watch.workplace
    shutil.copy(clips[0], workplace.source / "a.wav")
    with working(workplace.worker(Dictated())):
        watch.until(lambda: watch.loop.n_done, "the first one to be done")
        wait_until(workplace.is_empty, what="the queue to be empty")
    share = getattr(workplace, what)
    away = share.with_name("away")
    share.rename(away)
    with capture_logs() as logged:
        watch.go_on(60)
    assert not n_queued(workplace)
    told = [each for each in logged if each["event"] in ("director.paused", "recording.unreadable")]
    assert len(told) == 1
    away.rename(share)
    shutil.copy(clips[1], workplace.source / "b.wav")
    watch.go_on(30)
    assert queued(workplace) == [["b.wav"]]


@pytest.mark.parametrize(("takes_s", "at_least", "at_most"), [(0.0, 95, 105), (10.0, 3, 6), (60.0, 1, 1)])
def test_a_source_that_is_slow_to_list_is_listed_more_rarely(
    workplace: Workplace, takes_s: float, at_least: int, at_most: int
) -> None:
    """A tenth of the time at most is spent on scanning, and a scan takes 500 seconds here."""
    watch = StepByStep(workplace, source=(slow := Slow(workplace.source)))
    slow.time, slow.takes_s = watch.time, takes_s
    watch.step()
    assert slow.n_looks == 1
    began = watch.time.now
    while watch.time.now < began + 500 - takes_s:
        watch.step()
    assert at_least <= slow.n_looks <= at_most


def test_where_looks_are_rare_what_grows_is_looked_at_in_between(workplace: Workplace, silence: Path) -> None:
    """It is known by then; the next look would come when ten minutes are over."""
    watch = StepByStep(workplace, source=(slow := Slow(workplace.source)))
    slow.time, slow.takes_s = watch.time, 60.0
    path = workplace.source / "growing.wav"
    shutil.copy(silence, path)
    watch.until(lambda: len(watch.loop._pending), "it to be seen")
    for _ in range(10):
        grow(path)
        watch.go_on(SETTLE_S * 0.9)
    assert not n_queued(workplace)
    watch.go_on(2 * SETTLE_S + 1)
    assert queued(workplace) == [["growing.wav"]]
    assert slow.n_looks == 1


def test_changes_that_never_stop_keep_nothing_from_being_queued(workplace: Workplace, silence: Path) -> None:
    """Scans in quick succession must not each restart the waiting time of what the one before has found."""
    watch = StepByStep(workplace)
    shutil.copy(silence, workplace.source / "a.wav")
    until = SETTLE_S + 2
    while watch.time.now < until:
        watch.loop.watcher._changed.set()
        watch.step()
        watch.time.now += 0.1
    assert queued(workplace) == [["a.wav"]]


def test_a_slow_source_is_listed_sooner_when_something_calls_for_it(workplace: Workplace) -> None:
    """A pause is made all the same."""
    watch = StepByStep(workplace, source=(slow := Slow(workplace.source)))
    slow.time, slow.takes_s = watch.time, 60.0
    watch.step()
    looked_at = watch.loop._scanned_at
    assert watch.loop.scan_at - looked_at == pytest.approx(540)
    watch.loop.watcher.notice("/nowhere")
    assert watch.loop.scan_at - looked_at == pytest.approx(540)
    watch.loop.watcher._changed.set()
    assert watch.loop.scan_at - looked_at == pytest.approx(60)


def test_what_is_no_recording_is_looked_into_once(watch: StepByStep, monkeypatch: pytest.MonkeyPatch) -> None:
    """ffmpeg is not started for it at every look; it is when the file has changed."""
    probed = []

    def counted(path: Path) -> MediaInfo:
        probed.append(path.name)
        return probe(path)

    monkeypatch.setattr("nightscribe.director.scan.discover.probe", counted)
    source = watch.workplace.source
    recordings.text_named_mp3(source / "notes.dat")
    recordings.silence(source / "sound.wav", 0.2).rename(source / "sound.dat")
    watch.go_on(60)
    assert sorted(probed) == ["notes.dat", "sound.dat"]
    assert queued(watch.workplace) == [["sound.dat"]]
    recordings.silence(source / "other.wav", 0.2).rename(source / "notes.dat")
    watch.go_on(60)
    assert sorted(probed) == ["notes.dat", "notes.dat", "sound.dat"]
    assert queued(watch.workplace) == [["notes.dat"]]


def test_what_may_not_be_read_is_told_once_and_queued_when_it_may(workplace: Workplace, silence: Path) -> None:
    """Every scan finds it missing."""

    class Locked(FolderSource):
        is_locked = True

        def fingerprint(self, recording: Recording) -> str:
            if self.is_locked and recording.path == "a.wav":
                raise PermanentError("'a.wav' may not be read by this user; change its permissions.")
            return super().fingerprint(recording)

    for name in ("a.wav", "b.wav"):
        shutil.copy(silence, workplace.source / name)
    watch = StepByStep(workplace, source=(source := Locked(workplace.source)))
    with capture_logs() as logged:
        watch.go_on(100)
    assert queued(workplace) == [["b.wav"]]
    assert [each["recording"] for each in logged if each["event"] == "recording.unreadable"] == ["a.wav"]
    assert [each["n"] for each in logged if each["event"] == "recordings.arrived"] == [2]
    assert [each.path for each in watch.loop.unreadable] == ["a.wav"]
    source.is_locked = False
    watch.go_on(20)
    assert queued(workplace) == [["a.wav"]]
    assert watch.loop.unreadable == []


# With inotify, in real time


@pytest.fixture
def watcher(workplace: Workplace) -> Iterator[FileSystemWatcher]:
    """Return a started watcher of the source, in which the destination lies."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux has inotify")
    with FileSystemWatcher(workplace.source, leave_out=workplace.source / "dest") as made:
        wait_until(lambda: made.changed, what="the watcher to start")
        yield made


@pytest.fixture
def watched(workplace: Workplace, watcher: FileSystemWatcher) -> StepByStep:
    """Return a director that has scanned once, and scans again only when a change is noticed."""
    watch = StepByStep(workplace, watcher=watcher, poll_s=0.2, settle_s=0.2)
    watch.step()
    wait_until(lambda: not watcher.changed and watch.loop._scan_took_s is not None, what="the first look")
    watch.loop.poll_s = 3600.0
    return watch


def test_an_arrival_is_noticed_at_once(watched: StepByStep, silence: Path) -> None:
    """A file in pieces, and a whole folder that is moved there; no poll would find them within the hour."""
    source = watched.workplace.source
    folder = source.with_name("folder")
    (folder / "below").mkdir(parents=True)
    shutil.copy(silence, folder / "below" / "b.wav")
    with (source / "a.wav").open("wb") as file:
        for _ in range(5):
            file.write(silence.read_bytes())
            file.flush()
            watched.step()
    watched.until(lambda: n_queued(watched.workplace) == 1, "the file to be queued")
    folder.rename(source / "folder")
    watched.until(lambda: n_queued(watched.workplace) == 2, "the folder to be queued")
    shutil.copy(silence, source / "folder" / "below" / "c.wav")
    watched.until(lambda: n_queued(watched.workplace) == 3, "another one in it to be queued")
    shutil.copytree(source / "folder" / "below", source / ".parts")
    (source / ".parts").rename(source / "whole")
    watched.until(lambda: n_queued(watched.workplace) == 4, "a folder to be queued that was hidden")
    jobs = [["a.wav"], ["folder/below/b.wav"], ["folder/below/c.wav"], ["whole/b.wav", "whole/c.wav"]]
    assert queued(watched.workplace) == jobs


def test_changes_that_bring_no_recording_are_not_noticed(
    workplace: Workplace, watcher: FileSystemWatcher, silence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transcripts are written beside recordings all night, and each would be the reason for a look."""
    heard = []
    notice = watcher.notice
    monkeypatch.setattr(watcher, "notice", lambda path: (notice(path), heard.append(Path(path).name)))
    watcher.clear()
    (workplace.source / "dest").mkdir()
    for name in ("talk.txt", "talk.SRT", ".talk.wav.Xy12z", "dest/talk.wav"):
        shutil.copy(silence, workplace.source / name)
    (workplace.source / "last.vtt").touch()
    wait_until(lambda: "last.vtt" in heard, what="all of it to be heard of")
    assert not watcher.changed
    shutil.copy(silence, workplace.source / "talk.wav")
    wait_until(lambda: watcher.changed, what="the watcher")


def test_where_there_are_too_many_folders_to_be_watched_there_is_the_poll(
    workplace: Workplace, silence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit that the system reports is logged, and the director goes on."""

    def refuse(_self: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr("watchdog.observers.api.BaseObserver.start", refuse)
    with capture_logs() as logged, FileSystemWatcher(workplace.source) as watcher:
        wait_until(lambda: logged, what="it to be logged")
        watch = StepByStep(workplace, watcher=watcher, poll_s=0.1, settle_s=0.1)
        shutil.copy(silence, workplace.source / "a.wav")
        watch.until(lambda: watch.loop.n_left, "the recording to be found all the same")
    assert (logged[0]["event"], "inotify watch limit reached" in logged[0]["why"]) == ("watcher.unavailable", True)


def test_what_arrives_in_a_bucket_is_queued_like_what_arrives_in_a_folder(
    workplace: Workplace, bucket: TestBucket, silence: Path
) -> None:
    """The time of an object is told in two ways, and it must not seem to have changed."""
    watch = StepByStep(workplace, source=bucket.at().open_source(workplace.settings.storage))
    bucket.put("a.wav", silence.read_bytes())
    watch.go_on(20)
    bucket.put("2012/b.wav", silence.read_bytes())
    watch.go_on(POLL_S + SETTLE_S + 1)
    assert queued(workplace) == [["2012/b.wav"], ["a.wav"]]


def test_two_directors_that_watch_the_same_do_everything_once(workplace: Workplace, clips: list[Path]) -> None:
    """Each queues what arrives; the queue and the store see to it that nothing is done twice."""
    engine = Dictated()
    first, second = StepByStep(workplace), StepByStep(workplace)
    with working(workplace.worker(engine, name="1"), workplace.worker(engine, name="2")):
        for n, clip in enumerate(clips):
            shutil.copy(clip, workplace.source / f"{n}.wav")
            first.go_on(2)
            second.go_on(5)
        first.until(lambda: first.loop.n_done == len(clips), "the first to have seen all of them done")
        second.until(lambda: second.loop.n_left == 0, "the second to have nothing left")
        wait_until(workplace.is_empty, what="the queue to be empty")
    assert engine.n_calls == len(clips)
