"""A worker that is suspended between the last look at its lease and the rename changes nothing when it wakes up."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.workplace import Dictated, Workplace, received

from nightscribe.shared.errors import LeaseLost
from nightscribe.shared.storage.base import Fence
from nightscribe.shared.storage.folder import store as folder_store
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker.fenced_store import fence_token

OURS, THEIRS = fence_token("a", "message"), fence_token("b", "message")


class Successor(Dictated):
    """An engine that hears other words."""

    TEXT = "It was the worst of times."


@pytest.mark.parametrize("name", ["a.txt", "a.vtt", "a.wav.json"])
def test_a_worker_that_sleeps_before_the_rename_overwrites_nothing_of_its_successor(
    workplace: Workplace, clips: list[Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It sleeps for an hour with the file written and the lease checked; another worker does the job meanwhile."""
    shutil.copy(clips[0], workplace.source / "a.wav")
    workplace.queue.send([workplace.job("a.wav")], "run")
    slept: list[Path] = []
    now_s = 1000.0

    def sleep_before(temporary: Path, target: Path, name_it: Callable[[Path, Path], bool]) -> bool:
        nonlocal now_s
        if target.name == name and not slept:
            slept.append(target)
            now_s += 3600
            workplace.queue.change_visibility(delivery, 0)
            successor = workplace.worker(Successor(), name="successor")
            successor._handle(received(workplace.queue), successor.clock())
            assert workplace.is_empty()
        return name_it(temporary, target)

    for naming in ("_moved", "_linked"):
        monkeypatch.setattr(folder_store, naming, partial(sleep_before, name_it=getattr(folder_store, naming)))
    worker = workplace.worker(Dictated(), name="sleeper", clock=lambda: now_s)
    delivery = received(workplace.queue)
    with capture_logs() as logs:
        worker._handle(delivery, now_s)
    assert slept
    assert "job.abandoned" in [entry["event"] for entry in logs]
    assert Successor.TEXT in (workplace.dest / "a.txt").read_text()
    assert Successor.TEXT in (workplace.dest / "a.vtt").read_text()
    made = workplace.records.transcript("a.wav")
    assert made is not None
    assert [segment.text.strip() for segment in made.segments] == [Successor.TEXT]
    assert workplace.temporary == []


def test_a_file_whose_writer_may_not_write_any_more_is_left_out(tmp_path: Path) -> None:
    """The check comes when everything is written, and nothing of it stays."""
    store = FolderStore(tmp_path)
    store.put("x/a.txt", b"before")
    written: list[bytes] = []

    def refuse() -> None:
        written.extend(path.read_bytes() for path in (tmp_path / "x").glob(".nightscribe-*.tmp"))
        raise LeaseLost("The lease ran out.")

    for is_new, key in ((False, "x/a.txt"), (True, "x/b.txt")):
        with pytest.raises(LeaseLost):
            store.put_fenced(key, b"after", Fence(OURS, refuse), is_new=is_new, durable=True)
    assert written == [b"after"] * 2
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a.txt"]
    assert store.get("x/a.txt") == b"before"


@pytest.mark.parametrize(("token", "n_checks"), [(OURS, 2), (THEIRS, 1)])
def test_only_the_writes_of_the_writer_that_is_revoked_begin_again(tmp_path: Path, token: str, n_checks: int) -> None:
    """And are checked again, so that one who may still write loses nothing."""
    store = FolderStore(tmp_path)
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        if len(checks) == 1:
            store.revoke(token, ["", "not-there/"])

    assert store.put_fenced("a.txt", b"words", Fence(OURS, check), is_new=False, durable=True)
    assert len(checks) == n_checks
    assert store.get("a.txt") == b"words"
