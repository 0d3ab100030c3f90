"""Two who come to the same place in the same moment, and names that are too long for it: in folders and in buckets."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.buckets import TestBucket
from support.waiting import wait_until
from support.workplace import FORMATS, Dictated, Workplace, WrappedStore, received, working

from director.backlog import Settled
from director.scan import Scanner
from shared.places import open_store
from shared.records import Records
from shared.settings import Settings
from shared.sources import Unreadable
from shared.store import TranscriptStore
from shared.transcript import Part

Bed = Callable[[str], TranscriptStore]


@pytest.fixture(params=["folder", "bucket"])
def opened(request: pytest.FixtureRequest, workplace: Workplace) -> Bed:
    """A destination below a name that the test gives."""

    def in_folder(name: str) -> TranscriptStore:
        (workplace.dest / name).mkdir(parents=True, exist_ok=True)
        return open_store(workplace.dest / name, Settings())

    if request.param == "folder":
        return in_folder
    bucket: TestBucket = request.getfixturevalue("bucket")
    return lambda name: open_store(bucket.at(f"{name}/"), Settings())


def test_a_slice_that_two_workers_begin_in_the_same_moment_is_done_by_one(
    workplace: Workplace, clips: list[Path], opened: Bed
) -> None:
    """Their jobs overlap, and when they looked, nobody had begun anything."""
    for n, clip in enumerate(clips[:3]):
        shutil.copy(clip, workplace.source / f"{n}.wav")
    store, both, met = opened("out"), threading.Barrier(2), threading.local()

    def meet(key: str) -> None:
        if key.endswith(".begun") and not getattr(met, "yet", False):
            met.yet = True
            both.wait(60)

    engine = Dictated()
    workplace.queue.send([workplace.job("1.wav", "0.wav"), workplace.job("1.wav", "2.wav")], "run")
    with working(*(workplace.worker(engine, name=name, store=WrappedStore(store, meet)) for name in "ab")):
        wait_until(workplace.is_empty, what="both jobs to be done")
    assert engine.n_calls == 3
    assert sorted(store.names("")) == sorted(f"{n}.{fmt}" for n in range(3) for fmt in FORMATS)


def test_a_text_of_somebody_else_that_comes_while_its_recording_is_transcribed_stays(
    workplace: Workplace, clips: list[Path], opened: Bed
) -> None:
    """The director had found that name free. What is tried again gets another one, the others of the job theirs."""
    for n, name in enumerate(("talk", "other")):
        shutil.copy(clips[n], workplace.source / f"{name}.wav")
    store = opened("out")
    records = Records(store)
    workplace.queue.send([workplace.job("talk.wav", "other.wav")], "run")
    worker = workplace.worker(Dictated(before=lambda: store.put("talk.vtt", b"my own notes")), store=store)
    worker._handle(received(workplace.queue), worker.clock())
    assert store.get("talk.vtt") == b"my own notes"
    assert sorted(store.names("")) == ["other.srt", "other.txt", "other.vtt", "talk.vtt"]
    failure = records.failure("talk.wav")
    assert failure is not None
    assert failure.reason.startswith("'talk.vtt', which is not nightscribe's, came")
    assert workplace.is_empty()

    source = worker.source
    missing = Scanner(source, records, FORMATS, settle_s=0, retry_failed=True).scan().missing
    assert [each.stem for each in missing] == ["talk.wav"]
    again = workplace.slice_of("talk.wav", stem="talk.wav")
    workplace.queue.send([workplace.job(again)], "retry")
    worker._handle(received(workplace.queue), worker.clock())
    assert store.get("talk.vtt") == b"my own notes"
    assert sorted(store.names(""))[3:] == ["talk.vtt", "talk.wav.srt", "talk.wav.txt", "talk.wav.vtt"]
    assert records.failure("talk.wav") is None


def test_texts_that_an_interrupted_try_has_left_are_written_over(
    workplace: Workplace, clips: list[Path], opened: Bed
) -> None:
    """They are known as ours by the note that it left, though nothing else tells of them."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    store = opened("out")
    job = workplace.job("a.wav")
    Records(store).parts.begin(job, job.slices[0], worker="dead", message="dead")
    store.put("a.txt", b"as another engine heard it")
    workplace.queue.send([job], "run")
    worker = workplace.worker(Dictated(), store=store)
    worker._handle(received(workplace.queue), worker.clock())
    assert store.get("a.txt") == f"{Dictated.TEXT}\n".encode()
    assert not list(store.walk(".nightscribe/parts/"))


def test_a_text_of_somebody_else_stays_where_only_the_putting_together_is_left(
    workplace: Workplace, clips: list[Path], opened: Bed
) -> None:
    """And keeps the others of the job from nothing."""
    for n, name in enumerate(("talk", "other")):
        shutil.copy(clips[n], workplace.source / f"{name}.wav")
    store, engine = opened("out"), Dictated()
    job = workplace.job("talk.wav", "other.wav")
    heard = Part(
        segments=(), engine="earlier 1", language="en", container_s=3.0, decoded_s=3.0, processing_s=1.0, flags=()
    )
    Records(store).parts.put(job, job.slices[0], heard)
    store.put("talk.srt", b"my own notes")
    workplace.queue.send([job], "run")
    worker = workplace.worker(engine, store=store)
    worker._handle(received(workplace.queue), worker.clock())
    assert workplace.is_empty()
    assert engine.n_calls == 1
    assert store.get("talk.srt") == b"my own notes"
    assert sorted(store.names("")) == ["other.srt", "other.txt", "other.vtt", "talk.srt"]
    failure = Records(store).failure("talk.wav")
    assert failure is not None
    assert failure.reason.startswith("'talk.srt', which is not nightscribe's")


# Names

LONG = "x" * 200


@pytest.fixture
def narrow(opened: Bed, request: pytest.FixtureRequest, workplace: Workplace) -> TranscriptStore:
    """A destination with so long a name that a long one below it is too long."""
    longest = 1024 if "bucket" in request.node.callspec.params.values() else 4096 - len(str(workplace.dest))
    n, rest = divmod(longest - 150, len(LONG) + 1)
    return opened("/".join([LONG] * n + ["y" * max(1, rest)]))


def test_a_recording_with_too_long_a_name_is_refused_by_the_director_and_no_other(
    workplace: Workplace, clips: list[Path], narrow: TranscriptStore
) -> None:
    for name in ("a.wav", f"{LONG}.wav"):
        shutil.copy(clips[0], workplace.source / name)
    director = replace(workplace.director(), records=Records(narrow))
    scan = Scanner(director.source, director.records, FORMATS, settle_s=0).scan()
    settled = [event for event in director.direct(scan.missing, follow=False) if isinstance(event, Settled)]
    assert [each.missing.recording.path for each in settled] == [f"{LONG}.wav"]
    assert isinstance(settled[0].result, Unreadable)
    assert settled[0].result.reason.startswith("Its name is too long")
    assert director.outstanding == {"a.wav"}


def test_a_recording_with_too_long_a_name_ends_neither_a_worker_nor_the_others_of_its_job(
    workplace: Workplace, clips: list[Path], narrow: TranscriptStore
) -> None:
    """As a director of before may have queued it. Not even its failure can be written down: its letter tells."""
    for name in ("a.wav", f"{LONG}.wav", "b.wav"):
        shutil.copy(clips[0], workplace.source / name)
    workplace.queue.send([workplace.job("a.wav", f"{LONG}.wav", "b.wav")], "run")
    worker = workplace.worker(Dictated(), store=narrow)
    worker._handle(received(workplace.queue), worker.clock())
    assert sorted(narrow.names("")) == sorted(f"{name}.{fmt}" for name in "ab" for fmt in FORMATS)
    # The director that finds the letter tells of it, and goes on.
    director = replace(workplace.director(), records=Records(narrow))
    director.record_dead_letters()
    [failure] = director._letters.unsaved.values()
    assert failure.recording == f"{LONG}.wav"
    assert "would have a longer name" in failure.reason
