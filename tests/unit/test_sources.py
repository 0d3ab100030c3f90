"""A folder of recordings as people leave it: links, odd names, things that cannot be read."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from making import file
from support import recordings

from nightscribe.shared.audio.probe import probe
from nightscribe.shared.errors import PermanentError, RetryableError
from nightscribe.shared.model.recording import Recording, Unreadable
from nightscribe.shared.storage.folder.source import LEADS_NOWHERE, FolderSource

NOBODY = 65_534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, for whom nothing is unreadable."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that nobody can reach: those of pytest are for their owner alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def paths(root: Path, leave_out: Path | None = None) -> list[str]:
    """What is found, all of which must be readable."""
    found = list(FolderSource(root, leave_out=leave_out).folders())
    assert not [item for folder in found for item in folder.unreadable]
    return [item.path for folder in found for item in folder.recordings]


def listed(root: Path) -> list[Recording | Unreadable]:
    """Everything that is found or said to be unreadable."""
    return [item for folder in FolderSource(root).folders() for item in (*folder.recordings, *folder.unreadable)]


def fingerprint(path: Path) -> str:
    source = FolderSource(path.parent)
    return source.fingerprint(source.stat(path.name))


# What is found


def test_files_are_found_with_size_and_time_folder_by_folder(tmp_path: Path) -> None:
    for name in ("b/2.mp3", "b/c/3.mp3", "a/1.mp3", "z.mp3", "b/1.mp3"):
        file(tmp_path / name)
    assert paths(tmp_path) == ["z.mp3", "a/1.mp3", "b/1.mp3", "b/2.mp3", "b/c/3.mp3"]
    seen = listed(tmp_path)[0]
    stat = (tmp_path / "z.mp3").stat()
    assert seen == Recording("z.mp3", stat.st_size, stat.st_mtime_ns)


def test_every_folder_is_told_with_those_below_it_even_if_nothing_is_in_it(tmp_path: Path) -> None:
    for name in ("b", "a/deep", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
    found = {folder.path: folder.below for folder in FolderSource(tmp_path).folders()}
    assert found == {"": ["a", "b"], "a/": ["deep"], "a/deep/": [], "b/": []}


def test_a_destination_in_the_source_is_not_entered_by_a_link_either(tmp_path: Path) -> None:
    source, dest = tmp_path / "in", tmp_path / "out"
    file(source / "a.mp3")
    file(dest / "a.txt")
    (source / "texts").symlink_to(dest)
    (tmp_path / "other name of out").symlink_to(dest)
    assert paths(source, leave_out=tmp_path / "other name of out") == ["a.mp3"]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A source with links to a folder and to a file beside it, and to others within it."""
    file(tmp_path / "elsewhere" / "1.mp3")
    file(tmp_path / "2.mp3", b"longer than the link")
    source = tmp_path / "in"
    file(source / "own" / "3.mp3")
    (source / "folder").symlink_to(tmp_path / "elsewhere")
    (source / "file.mp3").symlink_to(tmp_path / "2.mp3")
    (source / "inner.mp3").symlink_to(source / "own" / "3.mp3")
    return source


def read(source: FolderSource, path: str) -> str:
    """What is there, as a worker comes to it."""
    source.fingerprint(source.stat(path))
    with source.local(path) as file:
        return file.read_bytes().decode()


def test_links_within_the_source_are_followed(linked: Path) -> None:
    assert read(FolderSource(linked), "inner.mp3") == read(FolderSource(linked), "own/3.mp3")


@pytest.mark.parametrize("path", ["file.mp3", "folder/1.mp3"])
def test_what_a_link_out_of_the_source_leads_to_is_not_read(linked: Path, path: str) -> None:
    """A message may name anything; it must not be a way to files that nobody gave to be transcribed."""
    source = FolderSource(linked)
    with pytest.raises(PermanentError, match="leads out of the source"):
        source.fingerprint(source.stat(path))
    with pytest.raises(PermanentError, match="leads out of the source"), source.local(path):
        pass
    assert read(FolderSource(linked, follow_links=True), path)


def test_a_folder_out_of_the_source_is_named_and_entered_only_when_that_is_allowed(linked: Path) -> None:
    found = {item.path: item for item in listed(linked)}
    assert set(found) == {"file.mp3", "folder", "inner.mp3", "own/3.mp3"}
    assert isinstance(found["folder"], Unreadable)
    assert "--follow-links" in found["folder"].reason
    allowed = [item for each in FolderSource(linked, follow_links=True).folders() for item in each.recordings]
    assert [item.path for item in allowed] == ["file.mp3", "inner.mp3", "folder/1.mp3", "own/3.mp3"]
    assert next(item.size for item in allowed if item.path == "file.mp3") == len(b"longer than the link")


def test_a_source_that_is_a_link_is_the_folder_it_leads_to(tmp_path: Path) -> None:
    file(tmp_path / "real" / "a.mp3")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert paths(tmp_path / "link") == ["a.mp3"]


def test_a_loop_of_links_is_walked_once(tmp_path: Path) -> None:
    file(tmp_path / "a" / "1.mp3")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    found = paths(tmp_path)
    assert len(found) == 1
    assert found[0].endswith("/1.mp3")


@pytest.mark.parametrize("to", ["nowhere.mp3", "link.mp3"])
def test_a_link_that_leads_nowhere_is_named_and_ends_nothing(tmp_path: Path, to: str) -> None:
    """The disk with the recording may not be mounted; or it leads to itself."""
    file(tmp_path / "a.mp3")
    (tmp_path / "link.mp3").symlink_to(tmp_path / to)
    (tmp_path / "notes.txt").symlink_to(tmp_path / "nowhere")
    found = {item.path: item for item in listed(tmp_path)}
    assert found.keys() == {"a.mp3", "link.mp3"}
    assert isinstance(found["a.mp3"], Recording)
    assert found["link.mp3"] == Unreadable("link.mp3", LEADS_NOWHERE)


def test_a_link_to_a_folder_that_is_away_is_named(tmp_path: Path) -> None:
    """Its recordings are not gone: their transcripts are not to be given to others."""
    (tmp_path / "2012").symlink_to(tmp_path / "mnt" / "2012")
    assert list(listed(tmp_path)) == [Unreadable("2012", LEADS_NOWHERE)]


def test_pipes_and_sockets_are_no_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening one would wait for ever."""
    os.mkfifo(tmp_path / "pipe.mp3")
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.mp3")
        assert paths(tmp_path) == []


# fmt: off
ODD_NAMES = [
    "two words.mp3", " leading and trailing .mp3", "it's.mp3", 'say "hi".mp3', "$(reboot).mp3", "`ls`.mp3",
    "a;b&c|d.mp3", "🎤 räksmörgås 日本.mp3", "-rf.mp3", "--help.mp3", "100%20sure.mp3", "%d.mp3",
    "line\nbreak.mp3", "b\\s.mp3",
    "a" * 246 + ".mp3", "日" * 83 + ".mp3", "e\u0301.mp3", "é.mp3", "http:%2f%2fx.mp3", "concat:a|b.mp3", "*?[a].mp3",
    "no extension", "CON.mp3", "a..mp3", "~.mp3", "#1.mp3",
]
# fmt: on


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_a_file_of_any_name_is_found_read_and_opened_by_ffmpeg(tmp_path: Path, speechless: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(speechless, folder / name)
    source = FolderSource(folder)
    [found] = listed(folder)
    assert isinstance(found, Recording)
    assert found.path == name
    assert source.fingerprint(found) == fingerprint(speechless)
    with source.local(found.path) as path:
        assert probe(path).duration_s == pytest.approx(0.1)


@pytest.fixture(scope="session")
def speechless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tenth of a second of silence."""
    return recordings.silence(tmp_path_factory.mktemp("silence") / "silence.wav", 0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are no text")
def test_a_name_that_is_not_utf_8_is_shown_and_said_to_be_renamed(tmp_path: Path) -> None:
    for name in (b"caf\xe9.mp3", b"fol\xffder/a.mp3"):
        file(tmp_path / os.fsdecode(name))
    file(tmp_path / "good.mp3")
    found = listed(tmp_path)
    assert [item.path for item in found] == ["good.mp3", "caf\\xe9.mp3", "fol\\xffder/a.mp3"]
    bad = [item for item in found if isinstance(item, Unreadable)]
    assert [item.reason for item in bad] == ["Its name is not valid UTF-8; rename it."] * 2
    assert all(item.path.isascii() for item in bad)


# What cannot be read


def test_a_folder_that_may_not_be_read_is_said_to_be_so_and_the_rest_goes_on(open_folder: Path) -> None:
    file(open_folder / "locked" / "a.mp3")
    file(open_folder / "open" / "b.mp3")
    (open_folder / "locked").chmod(0)
    with as_nobody():
        found = {item.path: item for item in listed(open_folder)}
    assert set(found) == {"locked", "open/b.mp3"}
    locked = found["locked"]
    assert isinstance(locked, Unreadable)
    assert locked.reason == "It cannot be read (Permission denied); give this user permission to read it."


def test_a_file_that_may_not_be_read_will_not_be_readable_later(open_folder: Path) -> None:
    file(open_folder / "a.mp3").chmod(0)
    source = FolderSource(open_folder)
    with as_nobody():
        [found] = listed(open_folder)
        assert isinstance(found, Recording)
        with pytest.raises(PermanentError, match=r"'a\.mp3' may not be read by this user"):
            source.fingerprint(found)


def test_a_source_that_may_not_be_read_for_a_while_says_nothing_about_its_recordings(open_folder: Path) -> None:
    """A share that comes back with other rights must not make every recording of the night a failure."""
    source = FolderSource(file(open_folder / "in" / "a.mp3").parent)
    (open_folder / "in").chmod(0)
    try:
        with as_nobody(), pytest.raises(RetryableError, match="cannot be read now"):
            source.fingerprint(Recording("a.mp3", 1, 1))
    finally:
        (open_folder / "in").chmod(0o755)


def test_a_recording_that_is_gone_is_gone(tmp_path: Path) -> None:
    source = FolderSource(tmp_path)
    with pytest.raises(PermanentError, match=r"'a\.mp3' is no longer in the source"):
        source.stat("a.mp3")
    with pytest.raises(PermanentError, match=r"'a\.mp3' is no longer in the source"):
        source.fingerprint(Recording("a.mp3", 1, 1))


def test_a_source_that_is_not_mounted_says_nothing_about_its_recordings(tmp_path: Path) -> None:
    """Else a share that drops out for a minute would make every recording of the night a failure."""
    file(tmp_path / "in" / "a.mp3")
    source = FolderSource(tmp_path / "in")
    shutil.rmtree(tmp_path / "in")
    for ask in (lambda: source.stat("a.mp3"), lambda: source.fingerprint(Recording("a.mp3", 1, 1))):
        with pytest.raises(RetryableError, match="does not exist now"):
            ask()


def test_a_recording_that_vanishes_while_it_is_worked_on_is_said_to_be_gone(tmp_path: Path) -> None:
    source = FolderSource(file(tmp_path / "a.mp3").parent)
    with pytest.raises(PermanentError, match="no longer in the source"), source.local("a.mp3") as path:
        path.unlink()
        path.read_bytes()
