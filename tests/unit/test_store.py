"""A destination in which a file is whole or not there, whatever happens in the middle of a write."""

import errno
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import cycle
from pathlib import Path
from typing import NoReturn

import pytest

from nightscribe.shared.errors import RetryableError
from nightscribe.shared.process import identity
from nightscribe.shared.process.identity import machine_id
from nightscribe.shared.storage.folder import store as folder_store
from nightscribe.shared.storage.folder.store import STALE_AFTER_S, TEMPORARY, TEMPORARY_BYTES, FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An empty destination."""
    return FolderStore(tmp_path)


def all_files(root: Path) -> set[str]:
    """Every file, hidden ones included."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def temporary_name(pid: int, host: str | None = None) -> str:
    """As a writer of that process would call its file."""
    name = f".nightscribe-{host or FolderStore(Path())._host}-{pid}-0.tmp"
    assert TEMPORARY.match(name)
    return name


def dead_pid() -> int:
    """The id of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


# Whole files


def test_a_put_leaves_nothing_else_behind(store: FolderStore) -> None:
    for _ in range(3):
        store.put("2012/a.txt", b"words\n")
    assert all_files(store.root) == {"2012/a.txt"}


def test_a_reader_sees_only_whole_versions(store: FolderStore) -> None:
    versions = [bytes([number]) * 50_000 for number in range(200)]
    store.put("a.txt", versions[0])
    seen: set[bytes | None] = set()
    n_reads = 0
    writing = threading.Event()
    writing.set()

    def read() -> None:
        nonlocal n_reads
        while writing.is_set():
            seen.add((store.root / "a.txt").read_bytes())
            n_reads += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in cycle(versions):
            store.put("a.txt", version, durable=False)
            if n_reads > 100 and len(seen) > 20:
                break
    finally:
        writing.clear()
        reader.join()
    assert seen <= set(versions)


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_whole_before_it_has_its_name(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    """One so small that it would wait in a buffer until it is closed, too."""
    replace = Path.replace
    seen: list[bytes] = []

    def look(path: Path, target: Path) -> Path:
        seen.append(path.read_bytes())
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", look)
    store.put("a.txt", b"few words", durable=durable)
    assert seen == [b"few words"]


FAILING_WRITER = """
import resource, signal, sys
from pathlib import Path
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.storage.folder.store import FolderStore

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    FolderStore(Path(sys.argv[1])).put(sys.argv[2], b"n" * 100_000)
except RetryableError as error:
    print(error)
"""


@pytest.mark.parametrize("key", ["a.txt", "new/b.txt"])
def test_a_write_that_fails_half_way_changes_nothing(store: FolderStore, key: str) -> None:
    """A limit on the size of files stands for a full disk: both fail after some of the bytes."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] in (resource.RLIM_INFINITY, -1)
    assert signal.SIGXFSZ
    store.put("a.txt", b"old")
    done = subprocess.run(
        [sys.executable, "-c", FAILING_WRITER, str(store.root), key], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"Cannot write {key!r} in {str(store.root)!r}: File too large.\n"
    assert all_files(store.root) == {"a.txt"}
    assert store.get("a.txt") == b"old"


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from nightscribe.shared.storage.folder.store import FolderStore

Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
FolderStore(Path(sys.argv[1])).put("a.txt", b"new")
"""


def test_a_writer_killed_before_the_rename_changes_nothing_and_is_cleaned_up_after(store: FolderStore) -> None:
    store.put("a.txt", b"old")
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(store.root)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(all_files(store.root)) == 2
    assert store.names("") == ["a.txt"]
    assert store.get("a.txt") == b"old"
    assert all_files(store.root) == {"a.txt"}


# Left by others


def test_temporary_files_of_the_living_are_left_alone_and_not_shown(store: FolderStore) -> None:
    name = temporary_name(os.getppid())
    (store.root / name).write_bytes(b"half")
    assert store.names("") == []
    assert all_files(store.root) == {name}


def test_temporary_files_of_the_dead_are_swept(store: FolderStore) -> None:
    (store.root / temporary_name(dead_pid())).write_bytes(b"half")
    assert store.names("") == []
    assert all_files(store.root) == set()


def test_of_another_host_only_what_is_old_is_swept(store: FolderStore) -> None:
    """Whether its writer lives cannot be known here; its id may even be somebody's here."""
    for folder, age_s in (("fresh", 60), ("old", STALE_AFTER_S + 60)):
        path = store.root / folder / temporary_name(dead_pid(), "another.host-1")
        path.parent.mkdir()
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_s,) * 2)
        store.names(folder + "/")
    assert len(all_files(store.root)) == 1
    assert "fresh/" in all_files(store.root).pop()


def test_a_host_may_be_called_anything(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a/b-7-8.tmp\n" + "x" * 300)
    other = FolderStore(store.root)
    other.put("a.txt", b"words")
    (store.root / temporary_name(dead_pid(), other._host)).write_bytes(b"half")
    assert other.names("") == ["a.txt"]
    assert all_files(store.root) == {"a.txt"}


def test_a_file_left_by_a_dead_writer_with_our_process_id_is_no_obstacle(store: FolderStore) -> None:
    """In a container every worker has the same id, and may have the same host name."""
    (store.root / temporary_name(os.getpid())).write_bytes(b"half")
    store.put("a.txt", b"words")
    assert store.get("a.txt") == b"words"


def stray(folder: Path, host: str, *, age_s: float = 0.0, pid: int | None = None) -> Path:
    """Make a temporary file as a writer on that host would, which has ended unless its process is given."""
    path = folder / temporary_name(dead_pid() if pid is None else pid, host)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_machine_with_the_same_name_does_not_remove_the_file_of_a_live_writer(store: FolderStore) -> None:
    """Two machines made from one image; the process that writes on the other has a number that is free here."""
    other = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())
    of_older_release = stray(store.root, other)
    live = stray(store.root, f"{other}.0123456789ab")
    assert store.names("") == []
    assert all_files(store.root) == {of_older_release.name, live.name}


@pytest.mark.parametrize("ahead_s", [2 * 3600, 30 * STALE_AFTER_S])
def test_a_clock_that_is_ahead_removes_nobody_s_file(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    path = stray(store.root, "another.host-1")
    real = time.time
    monkeypatch.setattr(folder_store.time, "time", lambda: real() + ahead_s)
    assert store.names("") == []
    assert all_files(store.root) == {path.name}


def test_a_share_whose_clock_is_behind_loses_no_file(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of files there come from the server, whose clock is a year behind ours."""
    year_s = 365 * STALE_AFTER_S
    path = stray(store.root, "another.host-1", age_s=year_s)
    monkeypatch.setattr(FolderStore, "_now", lambda *_: time.time() - year_s)
    assert store.names("") == []
    assert all_files(store.root) == {path.name}


def test_the_clock_of_a_folder_leaves_nothing_behind(store: FolderStore) -> None:
    assert abs(store._now(store.root) - time.time()) < 60
    assert all_files(store.root) == set()


def test_a_file_whose_writer_holds_its_lock_is_never_swept(store: FolderStore) -> None:
    """However old it is, and whatever its name says: a container may have been asleep for days."""
    paths = [
        stray(store.root, "another.host-1", age_s=9 * STALE_AFTER_S),
        stray(store.root, store._host, age_s=9 * STALE_AFTER_S),
    ]
    writers = [path.open("r+b") for path in paths]
    for writer in writers:
        fcntl.flock(writer, fcntl.LOCK_EX)
    assert store.names("") == []
    assert all_files(store.root) == {path.name for path in paths}
    for writer in writers:
        writer.close()
    assert store.names("") == []
    assert all_files(store.root) == set()


def test_a_writer_holds_the_lock_until_its_file_has_its_name(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody sweeps at that moment, to whom the file looks like one left by a dead process long ago."""
    replace = Path.replace
    sweeper = FolderStore(store.root)

    def swept(path: Path, target: Path) -> Path:
        monkeypatch.setattr(folder_store, "is_alive", lambda _: False)
        os.utime(path, (0, 0))
        assert sweeper.names("") == []
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", swept)
    store.put("a.txt", b"words")
    assert all_files(store.root) == {"a.txt"}


def test_where_there_are_no_locks_writers_ask_once(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(*_: object) -> NoReturn:
        asked.append(1)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_store.fcntl, "flock", refuse)
    for number in range(3):
        store.put(f"{number}.txt", b"words")
    assert len(asked) == 1
    stray(store.root, store._host)
    assert len(store.names("")) == 3
    assert len(all_files(store.root)) == 3


@pytest.mark.parametrize("how_often", [1, 3])
def test_a_writer_whose_temporary_file_is_removed_writes_again(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, how_often: int
) -> None:
    """By an older release on a machine with another clock, say, or by someone who tidies up."""
    replace, link = Path.replace, os.link
    left = [how_often]

    def remove(path: Path) -> None:
        if left[0]:
            left[0] -= 1
            path.unlink()

    def replaced(path: Path, target: Path) -> Path:
        remove(path)
        return replace(path, target)

    def linked(path: Path, target: Path) -> None:
        remove(path)
        link(path, target)

    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(os, "link", linked)
    store.put("new/a.txt", b"words")
    assert store.get("new/a.txt") == b"words"
    left[0] = how_often
    assert store.put_new("new/b.txt", b"words")
    left[0] = how_often
    assert not store.put_new("new/b.txt", b"others")
    assert store.get("new/b.txt") == b"words"
    assert all_files(store.root) == {"new/a.txt", "new/b.txt"}


def test_a_writer_whose_temporary_files_are_always_removed_gives_up(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "replace", lambda path, _: path.unlink() or path.stat())
    with pytest.raises(RetryableError, match=r"Cannot write 'a\.txt'"):
        store.put("a.txt", b"words")
    assert all_files(store.root) == set()


def test_containers_on_one_kernel_and_machines_of_one_image_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(boot: str, space: str) -> str:
        (tmp_path / "boot").write_text(boot)
        (tmp_path / "pid").unlink(missing_ok=True)
        (tmp_path / "pid").symlink_to(space)
        machine_id.cache_clear()
        return machine_id()

    monkeypatch.setattr(identity, "BOOT_ID", tmp_path / "boot")
    monkeypatch.setattr(identity, "PROCESS_IDS", tmp_path / "pid")
    one = seen("a\n", "pid:[1]")
    assert seen("a\n", "pid:[1]") == one
    assert len({one, seen("a\n", "pid:[2]"), seen("b\n", "pid:[1]")}) == 3
    (tmp_path / "boot").unlink()
    machine_id.cache_clear()
    assert machine_id() != one
    machine_id.cache_clear()


def test_temporary_names_are_those_of_older_releases_too_and_no_longer(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TEMPORARY.match(".nightscribe-my.host-1234-0123abcd.tmp")
    monkeypatch.setattr(socket, "gethostname", lambda: "x" * 300)
    name = FolderStore(store.root)._temporary(store.root).name
    assert TEMPORARY.match(name)
    assert len(name) - len(str(os.getpid())) + 7 < TEMPORARY_BYTES


def test_files_of_others_are_not_swept(store: FolderStore) -> None:
    others = {".nightscribe-notes.tmp", "nightscribe-host-1-0.tmp", ".DS_Store", "a.tmp"}
    for name in others:
        (store.root / name).write_bytes(b"")
        os.utime(store.root / name, (0, 0))
    assert set(store.names("")) == others
    assert all_files(store.root) == others


# Listing and deleting


def test_a_link_to_itself_does_not_keep_a_folder_from_being_listed(store: FolderStore) -> None:
    """The destination may be the source, where anything may lie."""
    store.put("a.txt", b"")
    (store.root / "loop").symlink_to(store.root / "loop")
    assert "a.txt" in store.names("")


def test_a_walk_meets_every_file_below_in_order(store: FolderStore) -> None:
    keys = ["2012/b.txt", "2012/more/c.txt", "2013/a.txt"]
    for key in ["z.txt", *reversed(keys)]:
        store.put(key, b"")
    (store.root / "2012" / temporary_name(os.getppid())).write_bytes(b"")
    assert list(store.walk("")) == ["z.txt", *keys]
    assert list(store.walk("2012/")) == keys[:2]
    assert list(store.walk("nowhere/")) == []


def test_the_ends_of_a_file_are_read_and_no_more(store: FolderStore) -> None:
    store.put("long.json", b"begin" + bytes(10_000) + b"end")
    assert store.ends("long.json", 5, 3) == (b"begin", b"end")
    store.put("short.json", b"ab")
    assert store.ends("short.json", 5, 3) == (b"ab", b"ab")
    assert store.ends("nowhere.json", 5, 3) is None
    assert store.ends("short.json/a.json", 5, 3) is None
    (store.root / "folder").mkdir()
    with pytest.raises(RetryableError, match="Cannot read 'folder'"):
        store.ends("folder", 5, 3)


def test_folders_of_ours_that_become_empty_go_too(store: FolderStore) -> None:
    for key in (".nightscribe/parts/2012/a.mp3/0.json", ".nightscribe/parts/2012/b.mp3/0.json"):
        store.put(key, b"{}")
    store.delete(".nightscribe/parts/2012/a.mp3/0.json")
    assert sorted(p.name for p in (store.root / ".nightscribe" / "parts" / "2012").iterdir()) == ["b.mp3"]
    store.delete(".nightscribe/parts/2012/b.mp3/0.json")
    assert not (store.root / ".nightscribe" / "parts" / "2012").exists()
    assert (store.root / ".nightscribe").is_dir()


def test_folders_of_the_user_stay_even_when_empty(store: FolderStore) -> None:
    store.put("2012/interviews/a.txt", b"")
    store.delete("2012/interviews/a.txt")
    assert (store.root / "2012" / "interviews").is_dir()


# A place that does not answer


def test_a_destination_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """Under the place where a share should be mounted, a night's work would be lost."""
    store = FolderStore(tmp_path / "share")
    store.root.mkdir()
    store.put("a.txt", b"")
    shutil.rmtree(store.root)
    with pytest.raises(RetryableError, match=r"Cannot write 'a\.txt'.*is gone"):
        store.put("a.txt", b"words")
    assert not store.root.exists()


def test_a_place_taken_by_a_folder_is_said_to_be_so(store: FolderStore) -> None:
    (store.root / "a.txt").mkdir()
    with pytest.raises(RetryableError, match=r"Cannot write 'a\.txt' in .*: Is a directory\."):
        store.put("a.txt", b"words")
    with pytest.raises(RetryableError, match=r"Cannot read 'a\.txt' in .*: Is a directory\."):
        store.get("a.txt")
    assert all_files(store.root) == set()


def test_a_folder_taken_by_a_file_is_said_to_be_so(store: FolderStore) -> None:
    store.put("2012", b"")
    with pytest.raises(RetryableError, match=r"Cannot write '2012/a\.txt'"):
        store.put("2012/a.txt", b"words")


def test_a_suspended_process_holds_up_an_exchange_for_a_limited_time(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was suspended while it compared; nobody else would ever compare again."""
    store.put("a.txt", b"one")
    assert store.put_if_same("a.txt", b"two", b"one")
    monkeypatch.setattr(folder_store, "EXCHANGED_WITHIN_S", 0.1)
    with (store.root / ".nightscribe" / "exchange.lock").open("ab") as suspended:
        fcntl.flock(suspended, fcntl.LOCK_EX)
        with pytest.raises(RetryableError, match="may be suspended"):
            store.put_if_same("a.txt", b"three", b"two")
        assert store.get("a.txt") == b"two"
    assert store.put_if_same("a.txt", b"three", b"two")
    assert [path.name for path in store.root.iterdir() if path.suffix == ".tmp"] == []
