"""Whatever is killed, in whatever order: a reader never sees half a file, and in the end all files are there.

A director and a worker do their real work on real files, in a forked process that is killed at one of its file
operations. Only the sound is not decoded, and the queue is a list.
"""

import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from making import OPTIONS, file, part, segment, transcript

from nightscribe.director.plan.estimate import Rates
from nightscribe.director.plan.planner import Planned, Planner
from nightscribe.director.scan.scanner import Scan, Scanner
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError, PermanentError
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.jobs import FormatName, Job, Slice
from nightscribe.shared.model.transcript import Part, Segment, Transcript
from nightscribe.shared.process.identity import process_name
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder import store
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import TEMPORARY, FolderStore
from nightscribe.worker.attempt import transcribe
from nightscribe.worker.engines.base import WindowLimits
from nightscribe.worker.loop import Worker
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer
from nightscribe.worker.pipeline.feeds import FeedChooser
from nightscribe.worker.pipeline.window_reader import SliceEnd

FORMATS: tuple[FormatName, ...] = ("txt", "srt")
CUTS = (1.0, 2.0)
RATES = Rates({".mp3": 1.0, ".wav": 1.0})
# Whoever is killed before a read leaves what one leaves who is killed before the next change.
CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}


# A process that is killed


class Killed:
    """Counts what this process changes in a folder, and kills it before one of these changes."""

    def __init__(self, folder: Path, at: int) -> None:
        self._folder = str(folder)
        self._left = at
        self._thread = threading.main_thread()

    def begin(self) -> None:
        """For the rest of this process's life."""
        sys.addaudithook(self._heard)
        made = store._made
        store._made = lambda path: _Slow(made(path), self._count)  # type: ignore[assignment,return-value]

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in CHANGES or (event == "open" and arguments[2] & os.O_CREAT)
        if changes and str(arguments[0]).startswith(self._folder):
            self._count()

    def _count(self) -> None:
        if threading.current_thread() is self._thread:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


class _Slow:
    """A file of which half is written, and then the other half."""

    def __init__(self, opened: Any, between: Callable[[], None]) -> None:
        self._opened = opened
        self._between = between

    def __enter__(self) -> "_Slow":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def write(self, content: bytes) -> None:
        """In two steps."""
        half = len(content) // 2
        self._opened.write(content[:half])
        self._opened.flush()
        self._between()
        self._opened.write(content[half:])
        self._opened.flush()


NEVER = 10**6


def done(do: Callable[[], None], folder: Path, killed_at: int) -> bool:
    """Do something in a process that is killed at its n-th change in a folder; whether it came to its end."""
    if killed_at == NEVER:
        do()
        return True
    said = folder.with_name("child.log")
    child = os.fork()
    if child == 0:
        try:
            Killed(folder, killed_at).begin()
            do()
        except BaseException:  # noqa: BLE001  the parent is told
            said.write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), said.read_text()
    return status == 0


@pytest.fixture(autouse=True, scope="module")
def no_fsync() -> Iterator[None]:
    """What is killed here is a process; the kernel outlives it, and a disk takes its time."""
    with patch.object(os, "fsync"):
        yield


# Director and worker, with everything real but sound and queue


class Reading:
    """Hears in each recording what is written in it."""

    def __init__(self, source: FolderSource, spoilt: set[bytes]) -> None:
        self._source = source
        self._spoilt = spoilt

    window_limits = WindowLimits(1.0, 2.0)
    feeds = FeedChooser()

    def transcribe(self, slices: Iterable[Slice], _request: object) -> Iterator[tuple[SliceEnd, Part | None]]:
        """As `Transcriber.transcribe`."""
        for slice_ in slices:
            try:
                now = self._source.stat(slice_.recording)
                if self._source.fingerprint(now) != slice_.fingerprint:
                    raise PermanentError("It was changed after it was queued.")
                with self._source.local(slice_.recording) as path:
                    content = path.read_bytes()
                if content in self._spoilt:
                    raise PermanentError("It is spoilt.")
            except NightscribeError as error:
                yield SliceEnd(slice_, error=error), None
                continue
            yield SliceEnd(slice_, now.mtime_ns), part(heard(content, slice_.index), decoded_s=1.0)


def heard(content: bytes, index: int) -> Segment:
    return segment(float(index), index + 1.0, f"{content.decode()}, slice {index}.")


def whole(content: bytes) -> Transcript:
    """What a recording says."""
    return transcript(*(heard(content, index) for index in range(len(CUTS) + 1 if is_long(content) else 1)))


def is_long(content: bytes) -> bool:
    return content.startswith(b"long")


class Deaf:
    """In the place of a listener: gives the slices themselves, and no sound."""

    def __init__(self, _source: FolderSource, _limits: WindowLimits, *_choices: object, by_channel: bool) -> None:
        pass

    def read(self, slices: Iterable[Slice]) -> Iterator[Slice]:
        """As `WindowReader.read`, which can be closed."""
        yield from slices


class List:
    """A queue, as far as a worker needs one with its job in hand."""

    name = "list.fifo"

    def is_trusted(self, _delivery: Delivery) -> bool:
        """Every message is."""
        return True

    def delete(self, _delivery: Delivery, *, retry_timeout_s: float) -> None:
        """The message is no concern of the store."""

    def dead_letter(
        self,
        _delivery: Delivery,
        _body: str,
        _reason: str,
        *,
        code: str,
        worker: str,
        recorded: bool,
        retry_timeout_s: float,
    ) -> None:
        """Nor is its letter."""


class Location:
    """A source, a destination, and messages that no worker has finished."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self.dest = folder / "dest"
        self.dest.mkdir(parents=True)
        self.source = FolderSource(source)
        self.records = Records(FolderStore(self.dest))
        self.spoilt: set[bytes] = set()
        self.messages: list[Delivery] = []
        self._ids = count()

    def scan(self, **changes: bool) -> Scan:
        """As a director's run begins."""
        return Scanner(self.source, self.records, FORMATS, settle_s=0, **changes).scan()

    def direct(self, *, killed_at: int = NEVER, redo: bool = False, retry_failed: bool = False) -> bool:
        """A run's director queues what is missing, or is killed before; whether it came to that."""
        sent = self.folder / "sent"
        run = f"run {next(self._ids)}"

        def do() -> None:
            missing = self.scan(redo=redo, retry_failed=retry_failed).missing
            self.records.forget_activities()
            for each in missing:
                path, fingerprint = each.recording.path, self.source.fingerprint(each.recording)
                if is_long((Path(self.source.root) / path).read_bytes()):
                    self.records.partial_results.kept_cuts(path, fingerprint) or self.records.partial_results.keep_cuts(
                        path, fingerprint, CUTS
                    )
            jobs = []
            for planned in Planner(self.source, self.records, missing, RATES, 60.0):
                assert isinstance(planned, Planned)
                for each in planned.recordings if redo or retry_failed else ():
                    self.records.forgive(each.recording.path)
                made = Job(slices=planned.slices(), options=OPTIONS, formats=FORMATS, redo=run if redo else None)
                jobs.append(made.to_message())
            sent.write_text("\n".join(jobs))

        if not done(do, self.dest, killed_at):
            return False
        bodies = sent.read_text().splitlines()
        self.messages += [Delivery(f"message {next(self._ids)}", body, "handle", 1) for body in bodies]
        return True

    def work(self, *, killed_at: int = NEVER) -> bool:
        """A worker does the first message, or is killed and the message comes back; whether it was done."""
        first = self.messages.pop(0)

        def do() -> None:
            worker = Worker(
                name=process_name(os.getpid()),
                queue=List(),  # type: ignore[arg-type]
                source=self.source,
                records=self.records,
                transcriber_for=lambda _: Reading(self.source, self.spoilt),  # type: ignore[arg-type,return-value]
                diarizer=lambda: Diarizer(Path()),
                settings=Settings(),
            )
            with patch.object(transcribe, "WindowReader", Deaf), patch.object(transcribe, "ahead", iter):
                worker._handle(first, worker.clock())

        if done(do, self.dest, killed_at):
            return True
        self.messages.append(replace(first, receive_count=2))
        return False

    def finish(self) -> None:
        """A run to its end."""
        self.direct(retry_failed=True)
        while self.messages:
            self.work()

    def texts(self) -> dict[str, bytes]:
        """What a reader sees."""
        files = (path for path in self.dest.rglob("*") if path.is_file() and not TEMPORARY.match(path.name))
        return {name: path.read_bytes() for path in files if not (name := self._key(path)).startswith(".nightscribe/")}

    def temporary(self) -> list[str]:
        """Files that were begun and not finished, in whatever folder, once that is looked at."""
        for folder in [path for path in self.dest.rglob("*") if path.is_dir()]:
            self.records.store.names(f"{self._key(folder)}/")
        return [self._key(path) for path in self.dest.rglob("*") if TEMPORARY.match(path.name)]

    def _key(self, path: Path) -> str:
        return path.relative_to(self.dest).as_posix()

    def results(self) -> dict[str, dict[str, bytes | None]]:
        """The texts of each recording that is finished."""
        found = {}
        for folder in self.source.folders():
            for recording in folder.recordings:
                made = self.records.provenance(recording.path)
                if made and made.fingerprint == self.source.fingerprint(recording):
                    found[recording.path] = {fmt: self.records.store.get(f"{made.stem}.{fmt}") for fmt in FORMATS}
        return found


def undisturbed(folder: Path, source: Path) -> dict[str, dict[str, bytes | None]]:
    """What a run makes of the same recordings that nobody disturbs."""
    place = Location(folder, source)
    place.finish()
    return place.results()


# Each moment of a run


@pytest.mark.parametrize("what", ["directing", "working", "working on a redo"])
def test_a_run_that_is_killed_at_any_file_operation_ends_in_the_same_files(tmp_path: Path, what: str) -> None:
    """The first, the second, and so on to the last, with a second run after each."""
    source = tmp_path / "source"
    for name, content in (("long.mp3", b"long"), ("2012/a.mp3", b"short")):
        file(source / name, content)
    expected = undisturbed(tmp_path / "undisturbed", source)
    assert len(expected) == 2
    for at in count():
        place = Location(tmp_path / str(at), source)
        if what == "working on a redo":
            place.finish()
        if what == "directing":
            came_to_its_end = place.direct(killed_at=at)
        else:
            place.direct(redo=what == "working on a redo")
            # The slice that comes last is the one that puts the recording together.
            while len(place.messages) > 2:
                place.work()
            place.messages.reverse()
            came_to_its_end = place.work(killed_at=at)
        whole_ones = {fmt: {render(whole(content), fmt) for content in (b"long", b"short")} for fmt in FORMATS}
        for name, content in place.texts().items():
            assert content in whole_ones[name.rpartition(".")[2]], (at, name)  # type: ignore[index]
        for texts in place.results().values():
            assert None not in texts.values(), at
        place.messages.clear()  # a run has a queue of its own
        place.finish()
        assert place.results() == expected, at
        assert len(place.texts()) == 4, at
        assert place.temporary() == [], at
        if came_to_its_end:
            break
    assert at > 5


def test_a_director_that_is_killed_while_it_follows_a_rename_leaves_it_to_the_next(tmp_path: Path) -> None:
    """The texts are under the new name in the end, and nothing is left under the old one."""
    content = b"short" * 2**15  # so long that its fingerprint alone proves nothing
    for at in count():
        source = tmp_path / f"source {at}"
        file(source / "a.mp3", content)
        place = Location(tmp_path / str(at), source)
        place.finish()
        (source / "a.mp3").rename(source / "b.mp3")
        came_to_its_end = place.direct(killed_at=at)
        assert set(place.texts().values()) <= {render(whole(content), fmt) for fmt in FORMATS}, at
        assert list(place.records.store.walk(".nightscribe/transcripts/")), at
        place.finish()
        assert place.results() == {"b.mp3": {fmt: render(whole(content), fmt) for fmt in FORMATS}}, at
        assert place.texts().keys() == {"b.txt", "b.srt"}, at
        kept = [".nightscribe/hashes/b.mp3.json", ".nightscribe/transcripts/b.mp3.json"]
        assert list(place.records.store.walk(".nightscribe/")) == kept, at
        if came_to_its_end:
            break
    assert at > 5


def test_a_recording_that_has_its_old_name_again_keeps_what_a_killed_director_left_there(tmp_path: Path) -> None:
    """Somebody copies it back before the next run, which must not end the rename then."""
    for at in count():
        source = tmp_path / f"source {at}"
        file(source / "a.mp3", b"short")
        place = Location(tmp_path / str(at), source)
        place.finish()
        (source / "a.mp3").rename(source / "b.mp3")
        came_to_its_end = place.direct(killed_at=at)
        left = place.texts().keys() & {"a.txt", "a.srt"}
        file(source / "a.mp3", b"short")
        if came_to_its_end:
            break
        assert place.direct()
        assert left <= place.texts().keys(), at
        place.finish()
        texts = {fmt: render(whole(b"short"), fmt) for fmt in FORMATS}
        assert place.results() == {"a.mp3": texts, "b.mp3": texts}, at
        assert list(place.records.store.walk(".nightscribe/parts/")) == [], at
    assert at > 5


def test_a_text_that_somebody_puts_there_meanwhile_is_kept_whenever_the_worker_is_killed(tmp_path: Path) -> None:
    """Under its own name, or beside ours."""
    source = tmp_path / "source"
    file(source / "a.mp3", b"short")
    for at in count():
        place = Location(tmp_path / str(at), source)
        place.direct()
        (place.dest / "a.srt").write_bytes(b"my own notes")
        came_to_its_end = place.work(killed_at=at)
        assert b"my own notes" in place.texts().values(), at
        place.finish()
        made = {fmt: render(whole(b"short"), fmt) for fmt in ("txt", "srt")}
        assert place.texts() in (
            {"a.txt": made["txt"], "a.srt": made["srt"], "a (kept).srt": b"my own notes"},
            {"a.mp3.txt": made["txt"], "a.mp3.srt": made["srt"], "a.srt": b"my own notes"},
        ), at
        assert place.temporary() == []
        if came_to_its_end:
            break
    assert at > 5


# Any order of things


class Interleaved(RuleBasedStateMachine):
    """Runs, workers, kills, and what people do to their recordings meanwhile."""

    moments = st.one_of(st.just(NEVER), st.integers(0, 40))
    moments_of_a_director = st.one_of(st.just(NEVER), st.integers(0, 12))

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="states-"))
        self.source = self.folder / "source"
        self.now: dict[str, bytes] = {}
        for name, content in (("long.mp3", b"long"), ("2012/a.mp3", b"a"), ("2012/a.wav", b"b"), ("c.mp3", b"c")):
            self.write(name, content)
        self.place = Location(self.folder / "place", self.source)
        self.fingerprints: dict[bytes, str] = {}
        self.seen = set(self.now.values())
        self.former: set[str] = set()
        self.finished: set[bytes] = set()
        self.lacking: set[str] = set()
        self.numbers = count()

    def teardown(self) -> None:
        try:
            self.place.spoilt.clear()
            self.place.finish()
            self.everything_is_whole()
            results = self.place.results()
            assert results == undisturbed(self.folder / "undisturbed", self.source)
            assert results.keys() == self.now.keys()
            # Nothing else is left, but for what recordings said that have other names now.
            stems = {done.stem for path in self.now if (done := self.place.records.provenance(path))}
            others = {name.rpartition(".")[0] for name in self.place.texts()} - stems
            former = {stem for path in self.former for stem in (path, path.rpartition(".")[0])}
            assert others <= former
            assert self.place.temporary() == []
        finally:
            shutil.rmtree(self.folder)

    def write(self, path: str, content: bytes) -> None:
        file(self.source / path, content)
        self.now[path] = content

    @initialize(n_jobs=st.integers(0, 6), killed_at=moments)
    def begin(self, n_jobs: int, killed_at: int) -> None:
        """Something is done already, and something half."""
        self.place.direct()
        for _ in range(min(n_jobs, len(self.place.messages))):
            self.place.work()
        if self.place.messages:
            self.place.work(killed_at=killed_at)

    @rule(killed_at=moments_of_a_director, redo=st.booleans(), retry_failed=st.booleans())
    def direct(self, killed_at: int, redo: bool, retry_failed: bool) -> None:
        """A run begins."""
        if self.place.direct(killed_at=killed_at, redo=redo, retry_failed=retry_failed) and not redo:
            self.lacking.clear()

    @precondition(lambda self: self.place.messages)
    @rule(killed_at=moments)
    def work(self, killed_at: int) -> None:
        """A worker takes a job."""
        self.place.work(killed_at=killed_at)

    @rule()
    def lose_the_queue(self) -> None:
        """Its server is killed, and its messages with it."""
        self.place.messages.clear()

    @precondition(lambda self: len(self.place.messages) > 1)
    @rule()
    def mix_the_queue(self) -> None:
        """SQS keeps no order between groups."""
        self.place.messages.append(self.place.messages.pop(0))

    @rule(data=st.data())
    def spoil(self, data: st.DataObject) -> None:
        """It cannot be read."""
        self.place.spoilt.add(data.draw(st.sampled_from(sorted(self.now.values()))))

    @rule()
    def mend(self) -> None:
        """All can be read."""
        self.place.spoilt.clear()

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        """Somebody records something else."""
        path = data.draw(st.sampled_from(sorted(self.now)))
        kind = "long" if is_long(self.now[path]) else "short"
        self.write(path, f"{kind} {next(self.numbers)}".encode())
        self.seen.add(self.now[path])

    @rule(data=st.data())
    def rename(self, data: st.DataObject) -> None:
        """To a name that no recording ever had."""
        path = data.draw(st.sampled_from(sorted(self.now)))
        new = f"{data.draw(st.sampled_from(['', '2012/', 'new/']))}{next(self.numbers)}.mp3"
        (self.source / new).parent.mkdir(exist_ok=True)
        (self.source / path).rename(self.source / new)
        self.now[new] = self.now.pop(path)
        self.former.add(path)

    @precondition(lambda self: self.place.texts())
    @rule(data=st.data())
    def delete_a_text(self, data: st.DataObject) -> None:
        """Somebody does."""
        name = data.draw(st.sampled_from(sorted(self.place.texts())))
        (self.place.dest / name).unlink()
        self.lacking.add(name)

    @invariant()
    def everything_is_whole(self) -> None:
        """What a reader finds at this moment."""
        wholes = {fmt: {render(whole(content), fmt) for content in self.seen} for fmt in FORMATS}
        texts = self.place.texts()
        for name, text in texts.items():
            assert text in wholes[name.rpartition(".")[2]], name  # type: ignore[index]
        for path, of_formats in self.place.results().items():
            done = self.place.records.provenance(path)
            assert done
            self.finished.add(self.now[path])
            for fmt, text in of_formats.items():
                wanted = render(whole(self.now[path]), fmt)  # type: ignore[arg-type]
                assert text == wanted or (text is None and f"{done.stem}.{fmt}" in self.lacking), (path, fmt)

    @invariant()
    def nothing_that_was_finished_is_lost(self) -> None:
        """As long as its recording is there, under whatever name, and however often it is done again."""
        store = self.place.records.store
        transcripts = [self.place.records.orphan(key) for key in store.walk(".nightscribe/transcripts/")]
        assert None not in transcripts
        said = {tuple(segment.text for segment in each.segments) for each in transcripts if each}
        for content in self.finished & set(self.now.values()):
            assert tuple(segment.text for segment in whole(content).segments) in said, content


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(
    max_examples=30,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a few steps are short enough to be read as they are
)
