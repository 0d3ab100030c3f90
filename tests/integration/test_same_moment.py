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

from nightscribe.director.backlog import Settled
from nightscribe.director.scan.scanner import Scanner
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.recording import Unreadable
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import TranscriptStore
from nightscribe.shared.storage.folder.store import FolderStore

Bed = Callable[[str], TranscriptStore]


@pytest.fixture(params=["folder", "bucket"])
def opened(request: pytest.FixtureRequest, workplace: Workplace) -> Bed:
    """A destination below a name that the test gives."""

    def in_folder(name: str) -> TranscriptStore:
        (workplace.dest / name).mkdir(parents=True, exist_ok=True)
        return FolderStore(workplace.dest / name)

    if request.param == "folder":
        return in_folder
    bucket: TestBucket = request.getfixturevalue("bucket")
    return lambda name: bucket.at(f"{name}/").open_store(Settings().storage)


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


def test_a_text_of_somebody_else_that_comes_while_its_recording_is_transcribed_is_kept(
    workplace: Workplace, clips: list[Path], opened: Bed
) -> None:
    """The director had found that name free."""
    shutil.copy(clips[0], workplace.source / "talk.wav")
    store = opened("out")
    workplace.queue.send([workplace.job("talk.wav")], "run")
    worker = workplace.worker(Dictated(before=lambda: store.put("talk.vtt", b"my own notes")), store=store)
    worker._handle(received(workplace.queue), worker.clock())
    assert workplace.is_empty()
    assert store.get("talk (kept).vtt") == b"my own notes"
    assert sorted(store.names("")) == ["talk (kept).vtt", "talk.srt", "talk.txt", "talk.vtt"]
    assert (store.get("talk.vtt") or b"").startswith(b"WEBVTT")
    assert not list(store.walk(".nightscribe/parts/"))


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
    """An older director may have queued it. Not even its failure can be recorded: its dead letter has the reason."""
    for name in ("a.wav", f"{LONG}.wav", "b.wav"):
        shutil.copy(clips[0], workplace.source / name)
    workplace.queue.send([workplace.job("a.wav", f"{LONG}.wav", "b.wav")], "run")
    worker = workplace.worker(Dictated(), store=narrow)
    worker._handle(received(workplace.queue), worker.clock())
    assert sorted(narrow.names("")) == sorted(f"{name}.{fmt}" for name in "ab" for fmt in FORMATS)
    # The director that finds the dead letter reports the failure, and goes on.
    director = replace(workplace.director(), records=Records(narrow))
    director.record_dead_letters()
    [failure] = director._dead_letters.unsaved.values()
    assert failure.recording == f"{LONG}.wav"
    assert "would have a longer name" in failure.reason
