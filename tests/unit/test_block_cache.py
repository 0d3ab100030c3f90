"""Pieces of recordings on this machine's disk: never more than allowed, not gone while in use, gone in the end."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from nightscribe.shared.process.scratch import LOCK, sweep_scratch
from nightscribe.shared.storage.s3.block_cache import BLOCK_BYTES, KEPT_FREE_BYTES, Blocks

SIZE = 1000


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nobody else's are, on a disk with room: that of the machine may have none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**11))
    return tmp_path


def kept(folder: Path) -> list[Path]:
    """What is on the disk."""
    return [path for path in folder.glob("nightscribe-cache-*/*") if path.name != LOCK]


def block(number: int) -> bytes:
    """One that is unlike the others."""
    return bytes([number]) * SIZE


class Server:
    """Where they come from, and which were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def slice_(self, number: int) -> Callable[[], bytes]:
        """Gives that one."""

        def fetch() -> bytes:
            self.asked.append(number)
            return block(number)

        return fetch


def test_a_block_is_fetched_once(own_folder: Path) -> None:
    blocks, server = Blocks(10 * SIZE), Server()
    for _ in range(3):
        assert blocks.get("a", server.slice_(1)) == block(1)
    assert Blocks(10 * SIZE).get("a", server.slice_(1)) == block(1)
    assert server.asked == [1]


def test_there_are_never_more_than_allowed_and_the_last_used_stay(own_folder: Path) -> None:
    blocks, server = Blocks(3 * SIZE), Server()
    for number in range(10):
        assert blocks.get(str(number), server.slice_(number)) == block(number)
        for path in kept(own_folder):  # the clock of a file system may be slow
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 1))
        blocks.get("0", server.slice_(0))
        assert sum(path.stat().st_size for path in kept(own_folder)) <= 3 * SIZE
    assert server.asked == list(range(10))
    blocks.get("8", server.slice_(8))
    blocks.get("1", server.slice_(1))
    assert server.asked[10:] == [1]


def test_what_is_in_use_is_not_removed_by_this_process_or_another(own_folder: Path) -> None:
    blocks, server = Blocks(2 * SIZE), Server()
    with blocks.pinned("1", server.slice_(1)) as (_, first), blocks.pinned("2", server.slice_(2)) as (_, second):
        assert first
        assert second
        assert Blocks(2 * SIZE).get("3", server.slice_(3)) == block(3)
        with blocks.pinned("4", server.slice_(4)) as (content, path):
            assert (content, path) == (block(4), None)
        assert (first.read_bytes(), second.read_bytes()) == (block(1), block(2))
    with blocks.pinned("3", server.slice_(3)) as (_, third):
        assert third


@pytest.mark.parametrize("limit", [0, SIZE - 1])
def test_without_room_for_one_nothing_is_kept(own_folder: Path, limit: int) -> None:
    blocks, server = Blocks(limit), Server()
    for _ in range(2):
        assert blocks.get("1", server.slice_(1)) == block(1)
    assert server.asked == [1, 1]
    assert kept(own_folder) == []


def test_a_disk_that_is_nearly_full_is_left_alone(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, server = Blocks(BLOCK_BYTES), Server()
    blocks.get("1", server.slice_(1))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=KEPT_FREE_BYTES // 2))
    assert blocks.get("2", server.slice_(2)) == block(2)
    assert kept(own_folder) == []


def test_a_folder_that_cannot_be_made_costs_only_fetching_again(own_folder: Path) -> None:
    (own_folder / f"nightscribe-cache-{os.geteuid()}").write_text("somebody else's")
    blocks, server = Blocks(10 * SIZE), Server()
    for _ in range(2):
        assert blocks.get("1", server.slice_(1)) == block(1)
    assert server.asked == [1, 1]


PROCESS = """
import os, shutil, signal, sys, tempfile
from types import SimpleNamespace
from nightscribe.shared.storage.s3.block_cache import Blocks
tempfile.tempdir = sys.argv[1]
shutil.disk_usage = lambda _: SimpleNamespace(free=10**11)
blocks = Blocks(10_000)
blocks.get("theirs", lambda: b"theirs")
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_the_last_process_leaves_nothing_behind(own_folder: Path, how: str) -> None:
    """Or the next one removes it, if that one was killed."""
    command = [sys.executable, "-c", PROCESS, str(own_folder), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
        blocks = Blocks(10_000)
        assert blocks.get("theirs", lambda: b"fetched again") == b"theirs"
        del blocks
        assert len(kept(own_folder)) == 1, "it is still in use there"
        sweep_scratch()
        assert len(kept(own_folder)) == 1
        other.stdin.write("\n")
        other.stdin.flush()
        other.wait()
    assert bool(kept(own_folder)) == (how == "killed")
    sweep_scratch()
    assert kept(own_folder) == []


def test_many_clips_are_not_all_looked_at_for_each_new_one(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of forty thousand that takes longer than to decode one; they stay below the limit all the same."""
    looks: list[object] = []

    def looked(folder: Path) -> object:
        looks.append(folder)
        return real(folder)

    real = os.scandir
    many, few, server = Blocks(100_000 * SIZE), Blocks(100 * SIZE), Server()
    monkeypatch.setattr("nightscribe.shared.storage.s3.block_cache.os.scandir", looked)
    for number in range(300):
        many.get(str(number), server.slice_(number % 256))
    assert len(looks) <= 2  # the folder is looked into when it is made, too
    for number in range(300, 600):
        few.get(str(number), server.slice_(number % 256))
        assert sum(path.stat().st_size for path in kept(own_folder)) <= 100 * SIZE


def test_a_clip_keeps_the_end_of_its_name(own_folder: Path) -> None:
    blocks, server = Blocks(10 * SIZE), Server()
    with blocks.pinned("a", server.slice_(1), suffix=".gsm") as (_, file):
        assert file
        assert file.suffix == ".gsm"


def test_a_large_block_among_many_clips_removes_few_of_them(own_folder: Path) -> None:
    blocks, server = Blocks(100 * SIZE), Server()
    for number in range(100):
        blocks.get(str(number), server.slice_(number))
    assert blocks.get("large", lambda: bytes(20 * SIZE)) == bytes(20 * SIZE)
    assert len(kept(own_folder)) > 60
