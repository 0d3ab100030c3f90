"""A folder and a bucket are the same to whoever reads recordings from them or puts transcripts into them."""

import base64
import hashlib
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import recordings
from support.buckets import TestBucket, in_pages

from nightscribe.director.scan.scanner import Scanner
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.probe import probe
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import AudioError, NameTooLong, PermanentError, RetryableError, SetupError
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import Transcript, utc_now
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Intake, Location, RecordingSource, Revisions, TranscriptStore
from nightscribe.shared.storage.content import content_sha256
from nightscribe.shared.storage.fingerprint import FINGERPRINT_BYTES
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.shared.storage.registry import parse_location
from nightscribe.shared.storage.s3.block_cache import BLOCK_BYTES, Blocks
from nightscribe.shared.storage.s3.location import BucketLocation
from nightscribe.shared.storage.s3.source import BucketSource
from nightscribe.shared.storage.s3.store import BucketStore


class Pile:
    """A source in either, and how files get there."""

    def __init__(self, folder: Path, bucket: TestBucket | None) -> None:
        self._folder = folder
        self._bucket = bucket

    def put(self, name: str, content: bytes = b"sound") -> None:
        """As the world outside does it."""
        if self._bucket:
            self._bucket.put(f"pile/{name}", content)
            return
        (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_bytes(content)

    def delete(self, name: str) -> None:
        """As well."""
        if self._bucket:
            self._bucket.client.delete_object(Bucket=self._bucket.name, Key=f"pile/{name}")
        else:
            (self._folder / name).unlink()

    def source(self, leave_out: str | None = None) -> RecordingSource:
        """As the program sees it; `leave_out` is a folder in it."""
        others = None if leave_out is None else self._at(leave_out)
        return self._at("").open_source(Settings().storage, leave_out=others)

    def _at(self, folder: str) -> Location:
        if self._bucket:
            return self._bucket.at(f"pile/{folder and folder + '/'}")
        return FolderLocation(self._folder / folder)

    def paths(self, leave_out: str | None = None) -> list[str]:
        """What is found, all of which must be readable."""
        found = list(self.source(leave_out).folders())
        assert not [item for folder in found for item in folder.unreadable]
        return [item.path for folder in found for item in folder.recordings]

    def fingerprint(self, name: str) -> str:
        """Of a file that is there."""
        source = self.source()
        return source.fingerprint(source.stat(name))


@pytest.fixture(params=["folder", "bucket"])
def pile(request: pytest.FixtureRequest, tmp_path: Path) -> Pile:
    """An empty source."""
    (tmp_path / "pile").mkdir()
    return Pile(tmp_path / "pile", request.getfixturevalue("bucket") if request.param == "bucket" else None)


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TranscriptStore:
    """An empty destination."""
    if request.param == "folder":
        return FolderStore(tmp_path)
    return request.getfixturevalue("bucket").at("texts/").open_store(Settings().storage)


@pytest.fixture(scope="session")
def speechless(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tenth of a second of silence."""
    return recordings.silence(tmp_path_factory.mktemp("silence") / "silence.wav", 0.1).read_bytes()


# What is found in a source


def test_files_are_found_with_their_size_folder_by_folder(pile: Pile) -> None:
    for name in ("b/2.mp3", "b/c/3.mp3", "a/1.mp3", "z.mp3", "b/1.mp3"):
        pile.put(name)
    assert pile.paths() == ["z.mp3", "a/1.mp3", "b/1.mp3", "b/2.mp3", "b/c/3.mp3"]
    found = {folder.path: folder for folder in pile.source().folders()}
    assert {path: folder.below for path, folder in found.items()} == {"": ["a", "b"], "a/": [], "b/": ["c"], "b/c/": []}
    assert found["b/"].recordings[0].size == len(b"sound")


def test_a_file_is_the_same_whether_listed_or_asked_for(pile: Pile) -> None:
    """Or what is looked at again a moment later would seem to have changed."""
    pile.put("a/1.mp3")
    source = pile.source()
    listed = [item for folder in source.folders() for item in folder.recordings]
    assert [source.stat("a/1.mp3")] == listed
    assert listed[0].mtime_ns


def test_hidden_files_and_folders_are_left_out(pile: Pile) -> None:
    for name in (".hidden.mp3", ".nightscribe/parts/a.mp3", ".trash/b.mp3", "._a.mp3", "a.mp3"):
        pile.put(name)
    assert pile.paths() == ["a.mp3"]


def test_an_empty_source_has_nothing(pile: Pile) -> None:
    assert pile.paths() == []


def test_a_destination_in_the_source_is_not_entered(pile: Pile) -> None:
    for name in ("a.mp3", "out/a.txt", "outer/b.mp3"):
        pile.put(name)
    assert pile.paths(leave_out="out") == ["a.mp3", "outer/b.mp3"]


def test_a_destination_that_is_the_source_is_looked_through(pile: Pile) -> None:
    for name in ("a.mp3", ".nightscribe/transcripts/a.mp3.json"):
        pile.put(name)
    assert pile.paths(leave_out="") == ["a.mp3"]


# fmt: off
ODD_NAMES = [
    "two words.mp3", " leading and trailing .mp3", "it's.mp3", 'say "hi".mp3', "$(reboot).mp3", "`ls`.mp3",
    "a;b&c|d.mp3", "🎤 räksmörgås 日本.mp3", "-rf.mp3", "--help.mp3", "100%20sure.mp3", "%d.mp3",
    "line\nbreak.mp3", "b\\s.mp3",
    "a" * 246 + ".mp3", "日" * 83 + ".mp3", "e\u0301.mp3", "é.mp3", "http:%2f%2fx.mp3", "concat:a|b.mp3", "*?[a].mp3",
    "no extension", "CON.mp3", "a..mp3", "~.mp3", "#1.mp3", "a+b.mp3",
]
# fmt: on


def test_a_file_of_any_name_is_found_and_read(pile: Pile, speechless: bytes) -> None:
    for name in ODD_NAMES:
        pile.put(f"in/{name}", speechless)
    source = pile.source()
    found = [item for folder in source.folders() for item in folder.recordings]
    assert sorted(item.path for item in found) == sorted(f"in/{name}" for name in ODD_NAMES)
    assert len({source.fingerprint(recording) for recording in found}) == 1


@pytest.mark.parametrize("name", ["a b#c?d%20.e f", "räksmörgås.日本", 'a".m"p', "http:%2f%2fx.mp3", "a.m3u8"])
def test_a_file_of_any_name_is_opened_by_ffmpeg_from_a_bucket(bucket: TestBucket, sounds: Path, name: str) -> None:
    bucket.put(name, (sounds / "long.mov").read_bytes())
    with bucket.at().open_source(Settings().storage).local(name) as opened:
        assert probe(opened).duration_s == pytest.approx(60, abs=0.1)


def test_a_recording_that_is_gone_is_gone(pile: Pile) -> None:
    pile.put("a.mp3")
    source = pile.source()
    pile.delete("a.mp3")
    asked: list[Callable[[], object]] = [
        lambda: source.stat("a.mp3"),
        lambda: source.fingerprint(Recording("a.mp3", 1, 1)),
        lambda: probe(source.local("a.mp3").__enter__()),
    ]
    for ask in asked[:2] if isinstance(source, FolderSource) else asked:
        with pytest.raises(PermanentError, match=r"'a\.mp3' is no longer in the source"):
            ask()


# Fingerprints

LONG = bytes(range(256)) * (FINGERPRINT_BYTES // 64)  # 256 KiB


def test_a_recording_that_is_added_replaces_none_and_can_be_removed(pile: Pile, tmp_path: Path) -> None:
    source = pile.source()
    assert isinstance(source, Intake)

    def arrived(content: bytes) -> Path:
        file = (source.waiting_room() or tmp_path) / "arrived.wav"
        file.write_bytes(content)
        return file

    large = bytes(range(256)) * 40_000  # a bucket takes it in two parts
    first = arrived(large)
    assert source.add(first, "new/folder/a.wav")
    assert not first.exists()
    assert not source.add(arrived(b"other"), "new/folder/a.wav")
    assert source.stat("new/folder/a.wav").size == len(large)
    assert "new/folder/a.wav" in pile.paths()
    source.add(arrived(b"sound"), ".nightscribe-requests/1.wav")
    assert ".nightscribe-requests/1.wav" not in pile.paths()
    assert source.fingerprint(source.stat(".nightscribe-requests/1.wav")).startswith("5-")
    assert list(source.requests(-3600)) == [".nightscribe-requests/1.wav"]
    assert list(source.requests(3600)) == []
    for _ in range(2):
        source.remove("new/folder/a.wav")
    assert "new/folder/a.wav" not in pile.paths()


@pytest.mark.parametrize("content", [b"", b"short", bytes(FINGERPRINT_BYTES), bytes(FINGERPRINT_BYTES + 1), LONG])
def test_a_copy_under_another_name_has_the_same_fingerprint(pile: Pile, content: bytes) -> None:
    pile.put("a.mp3", content)
    pile.put("elsewhere/b.wav", content)
    assert pile.fingerprint("a.mp3") == pile.fingerprint("elsewhere/b.wav")


@pytest.mark.parametrize("content", [b"", b"short", bytes(FINGERPRINT_BYTES), bytes(FINGERPRINT_BYTES + 1), LONG])
def test_what_moves_from_a_folder_into_a_bucket_keeps_its_fingerprint(
    tmp_path: Path, bucket: TestBucket, content: bytes
) -> None:
    """And with it its transcript."""
    both = Pile(tmp_path, None), Pile(tmp_path, bucket)
    for pile in both:
        pile.put("a.mp3", content)
    assert both[0].fingerprint("a.mp3") == both[1].fingerprint("a.mp3")


@pytest.mark.parametrize("at", [0, 1, FINGERPRINT_BYTES - 1, -FINGERPRINT_BYTES, -1])
def test_a_change_at_the_beginning_or_the_end_shows(pile: Pile, at: int) -> None:
    changed = bytearray(LONG)
    changed[at] ^= 1
    pile.put("a", LONG)
    pile.put("b", bytes(changed))
    assert pile.fingerprint("a") != pile.fingerprint("b")


@pytest.mark.parametrize("size", [1, 100, FINGERPRINT_BYTES, FINGERPRINT_BYTES + 1, 2 * FINGERPRINT_BYTES])
def test_every_byte_of_a_short_file_counts(pile: Pile, size: int) -> None:
    pile.put("a", bytes(size))
    before = pile.fingerprint("a")
    for at in {0, size // 2, size - 1}:
        changed = bytearray(size)
        changed[at] = 1
        pile.put("a", bytes(changed))
        assert pile.fingerprint("a") != before


def test_another_size_shows_where_the_bytes_looked_at_are_the_same(pile: Pile) -> None:
    pile.put("a", bytes(200_000))
    pile.put("b", bytes(200_001))
    assert pile.fingerprint("a") != pile.fingerprint("b")
    assert pile.fingerprint("a").startswith("200000-")


@pytest.mark.parametrize("size", [0, 5, 3 * BLOCK_BYTES // 2])
def test_the_hash_of_the_whole_content_is_that_of_sha256sum(pile: Pile, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    pile.put("a.wav", content[:size])
    assert content_sha256(pile.source(), "a.wav") == hashlib.sha256(content[:size]).hexdigest()


def test_a_byte_in_the_middle_shows_in_the_hash_of_the_whole_content(pile: Pile) -> None:
    changed = bytearray(LONG)
    changed[len(LONG) // 2] ^= 1
    pile.put("a", LONG)
    pile.put("b", bytes(changed))
    assert pile.fingerprint("a") == pile.fingerprint("b")
    assert content_sha256(pile.source(), "a") != content_sha256(pile.source(), "b")


def test_a_scan_gives_a_transcript_to_a_renamed_recording_and_to_none_with_the_same_ends(
    pile: Pile, tmp_path: Path
) -> None:
    changed = bytearray(LONG)
    changed[len(LONG) // 2] ^= 1
    pile.put("new name.wav", LONG)
    pile.put("other.wav", bytes(changed))
    (tmp_path / "dest").mkdir()
    source, records = pile.source(), Records(FolderStore(tmp_path / "dest"))
    seen = source.stat("new name.wav")
    done = Transcript(
        recording="old.wav",
        fingerprint=source.fingerprint(seen),
        size=seen.size,
        mtime_ns=1,
        stem="old",
        formats=("txt",),
        options=Options(engine="faster-whisper", model="base"),
        engine="faster-whisper 1",
        decoded_s=1.0,
        processing_s=1.0,
        finished_at=utc_now(),
        segments=(),
    )
    records.finish(done, ("txt",), sha256=content_sha256(source, "new name.wav"))
    found = Scanner(source, records, ("txt",), settle_s=0).scan()
    assert found.renamed == [("old.wav", "new name.wav")]
    assert [each.recording.path for each in found.missing] == ["other.wav"]


@pytest.mark.parametrize("whole", [True, False], ids=["of the whole", "of its parts"])
def test_a_hash_that_the_server_states_is_believed_if_it_is_that_of_the_whole_object(
    tmp_path: Path, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    pile = Pile(tmp_path, bucket)
    pile.put("a.wav", LONG)
    source = pile.source()
    real = hashlib.sha256(LONG)
    stated = base64.b64encode(real.digest()).decode() + ("" if whole else "-2")
    objects = source._objects  # type: ignore[attr-defined]
    head = objects._client.head_object

    def asked(**arguments: Any) -> Any:
        return head(**arguments) | ({"ChecksumSHA256": stated} if arguments.get("ChecksumMode") == "ENABLED" else {})

    monkeypatch.setattr(objects._client, "head_object", asked)
    assert source.stated_sha256("a.wav") == (real.hexdigest() if whole else None)  # type: ignore[attr-defined]
    if whole:
        monkeypatch.setattr(objects, "read", lambda *_, **__: pytest.fail("it was read"))
    assert content_sha256(source, "a.wav") == real.hexdigest()


def test_a_fingerprint_is_the_same_in_every_release(pile: Pile) -> None:
    """Else every recording of the archive would be transcribed again."""
    pile.put("a", LONG)
    assert pile.fingerprint("a") == "262144-59f410ae5e17962412e2aed4f815918f"


# The sound of a recording


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that are one block in a bucket, and several."""
    folder = tmp_path_factory.mktemp("sounds")
    recordings.varied(folder / "long.wav", 60)
    recordings.cut(folder / "long.wav", folder / "long.mp3", 0, 60, "-b:a", "320k")
    recordings.cut(folder / "long.wav", folder / "short.m4a", 0, 5)
    # Its index is at the end, which ffmpeg reads first.
    recordings.cut(folder / "long.wav", folder / "long.mov", 0, 60, "-c:a", "pcm_s16le")
    recordings.text_named_mp3(folder / "text.mp3")
    (folder / "none.wav").write_bytes(b"")
    (folder / "zeros.wav").write_bytes(bytes(BLOCK_BYTES + 1))
    tag = b"ID3\x03\0\0\0\0\0\0"  # behind which ffmpeg looks for what it is
    (folder / "list.mp3").write_bytes(tag + b"#EXTM3U\n#EXTINF:5,\nftp://nowhere/a.wav\n" + bytes(BLOCK_BYTES))
    return folder


@pytest.mark.parametrize("name", ["long.wav", "long.mp3", "long.mov", "short.m4a"])
@pytest.mark.parametrize("cache_gb", [0, 1])
def test_a_slice_read_by_range_has_the_samples_of_one_read_from_a_file(
    bucket: TestBucket, sounds: Path, name: str, cache_gb: float
) -> None:
    bucket.put(name, (sounds / name).read_bytes())
    source = bucket.at().open_source(Settings(cache_gb=cache_gb).storage)
    end_s = 4.0 if name.startswith("short") else 40.0
    with source.local(name) as opened:
        assert probe(opened) == probe(sounds / name)
        from_bucket, from_file = (Decoder(place, end_s - 3, end_s) for place in (opened, sounds / name))
        sound = [b"".join(chunk.tobytes() for chunk in decoder) for decoder in (from_bucket, from_file)]
    assert sound[0] == sound[1]
    assert len(sound[0]) == 3 * 16_000 * 4
    assert from_bucket.container_s == from_file.container_s


@pytest.mark.parametrize("name", ["text.mp3", "none.wav", "zeros.wav", "list.mp3"])
def test_what_is_no_recording_is_said_in_the_same_words(bucket: TestBucket, sounds: Path, name: str) -> None:
    bucket.put(name, (sounds / name).read_bytes())
    said = []
    for source in (bucket.at().open_source(Settings().storage), FolderSource(sounds)):
        with source.local(name) as opened, pytest.raises(AudioError) as caught:
            list(Decoder(opened))
        said.append(str(caught.value))
    assert said[0] == said[1]


# A destination


def test_what_was_put_is_got(store: TranscriptStore) -> None:
    store.put("2012/a.txt", b"words\n")
    assert store.get("2012/a.txt") == b"words\n"
    store.put("2012/a.txt", b"other words\n", durable=False)
    assert store.get("2012/a.txt") == b"other words\n"


@pytest.mark.parametrize("key", ["a.txt", "folder/a.txt", "2012/a.txt/b.txt"])
def test_what_is_not_there_is_none(store: TranscriptStore, key: str) -> None:
    """Nor is anything below something that is a file."""
    store.put("2012/a.txt", b"")
    assert store.get(key) is None


def test_writers_in_many_threads_do_not_get_into_each_others_way(store: TranscriptStore) -> None:
    errors: list[Exception] = []

    def write(number: int) -> None:
        try:
            for _ in range(50 if isinstance(store, FolderStore) else 5):
                store.put("a.txt", bytes([number]) * 1000, durable=False)
                store.put(f".nightscribe/parts/{number}/0.json", b"{}", durable=False)
                store.delete(f".nightscribe/parts/{number}/0.json")
        except RetryableError as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    assert list(store.walk("")) == ["a.txt"]
    assert len(set(store.get("a.txt") or b"")) == 1


def test_a_new_file_is_put_only_where_there_is_none(store: TranscriptStore) -> None:
    """The same once more is what one does who has not heard of its success."""
    assert store.put_new("2012/a.txt", b"first")
    assert store.put_new("2012/a.txt", b"first")
    assert not store.put_new("2012/a.txt", b"second")
    assert store.get("2012/a.txt") == b"first"
    assert list(store.walk("")) == ["2012/a.txt"]


def test_of_several_who_put_a_new_file_at_once_one_succeeds(store: TranscriptStore) -> None:
    for n in range(5):
        together = threading.Barrier(4)

        def put(content: bytes, n: int = n, together: threading.Barrier = together) -> bool:
            together.wait(60)
            return store.put_new(f"{n}.txt", content)

        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(put, (b"0", b"1", b"2", b"3")))
        assert done.count(True) == 1
        assert store.get(f"{n}.txt") == str(done.index(True)).encode()
    assert len(store.names("")) == 5


def test_the_names_in_several_folders_are_those_of_each(store: TranscriptStore) -> None:
    """Whatever lies between them, before, behind and below."""
    keys = ["a.txt", "2012/a/1", "2012/b/1", "2012/b/2", "2012/b/c/3", "2012/c/1", "2012/c.d/1", "2012/d/1", "2013/a/1"]
    for key in keys:
        store.put(key, b"")
    folders = ["2012/b/", "2012/d/", "2012/nowhere/", "2012/c/"]
    found = store.names_in(folders)
    assert {folder: sorted(names) for folder, names in found.items()} == {
        folder: sorted(store.names(folder)) for folder in folders
    }
    assert sorted(found["2012/b/"]) == ["1", "2"]
    assert store.names_in(["2013/a/"]) == {"2013/a/": ["1"]}
    assert store.names_in(["2012/a/", "2013/a/"]) == {"2012/a/": ["1"], "2013/a/": ["1"]}
    assert store.names_in([]) == {}


def test_a_name_that_is_too_long_is_that_of_nothing_and_cannot_be_put(store: TranscriptStore) -> None:
    """Of the lengths that file systems and S3 take, four thousand bytes and one thousand, it is beyond both."""
    key = "/".join(["x" * 200] * 25) + "/a.txt"
    assert not store.takes(key)
    assert store.takes("2012/a.txt")
    for put in (store.put, store.put_new):
        with pytest.raises(NameTooLong, match="longer name"):
            put(key, b"words")
    folder = key.removesuffix("a.txt")
    assert store.get(key) is None
    assert store.ends(key, 1, 1) is None
    assert store.listing(folder) == ([], [])
    assert store.names_in([folder]) == {folder: []}
    store.delete(key)


def test_names_are_those_of_files_directly_in_the_folder(store: TranscriptStore) -> None:
    for key in ("a.txt", "2012/b.txt", "2012/more/c.txt"):
        store.put(key, b"")
    assert store.names("") == ["a.txt"]
    assert store.names("2012/") == ["b.txt"]
    assert store.names("2013/") == []
    assert store.names("a.txt/") == []


def test_a_walk_meets_every_file_below(store: TranscriptStore) -> None:
    keys = ["2012/b.txt", "2012/more/c.txt", "2013/a.txt", "z.txt"]
    for key in reversed(keys):
        store.put(key, b"")
    assert sorted(store.walk("")) == keys
    assert list(store.walk("2012/")) == keys[:2]
    assert list(store.walk("nowhere/")) == []


def test_a_listing_tells_files_from_folders(store: TranscriptStore) -> None:
    for key in ("2012/b.txt", "2012/more/c.txt", "2012/a.txt"):
        store.put(key, b"")
    files, folders = store.listing("2012/")
    assert (sorted(files), folders) == (["a.txt", "b.txt"], ["more"])
    assert store.listing("nowhere/") == store.listing("2012/a.txt/") == ([], [])


def test_the_ends_of_a_file_are_read(store: TranscriptStore) -> None:
    store.put("long.json", b"begin" + bytes(10_000) + b"end")
    assert store.ends("long.json", 5, 3) == (b"begin", b"end")
    assert store.ends("long.json", 5, 0) == (b"begin", b"")
    store.put("short.json", b"ab")
    assert store.ends("short.json", 5, 3) == (b"ab", b"ab")
    store.put("overlapping.json", b"abcd")
    assert store.ends("overlapping.json", 3, 2) == (b"abc", b"cd")
    store.put("none.json", b"")
    assert store.ends("none.json", 5, 3) == (b"", b"")
    assert store.ends("nowhere.json", 5, 3) is None
    assert store.ends("short.json/a.json", 5, 3) is None


def test_deleting_removes_the_file_and_again_is_no_error(store: TranscriptStore) -> None:
    for _ in range(2):
        store.delete("a.txt")
    store.put("a.txt", b"")
    store.delete("a.txt/b.txt")
    assert store.names("") == ["a.txt"]
    store.delete("a.txt")
    assert store.names("") == []


# A bucket alone


@pytest.fixture
def many(bucket: TestBucket) -> TestBucket:
    """Some objects and some folders in turn."""
    for n in range(25):
        bucket.put(f"pile/{n:04}.mp3" if n % 2 else f"pile/{n:04}/a.mp3")
    return bucket


@pytest.mark.parametrize("page", [1, 2, 7, 25, 1000])
def test_a_list_goes_on_for_as_many_pages_as_there_are(many: TestBucket, page: int) -> None:
    objects = in_pages(many.objects("pile/"), page)
    names, folders = BucketStore(objects).listing("")
    assert (len(names), len(folders)) == (12, 13)
    assert len(list(BucketStore(objects).walk(""))) == 25


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("pile/", None),
        ("pile/folder/", None),
        ("pile/../../etc/passwd.mp3", None),
        ("pile/./a.mp3", None),
        ("pile//a.mp3", "'/'"),
        ("pile/folder//a.mp3", "'folder//'"),
        ("/a.mp3", None),
        ("a.mp3", None),
        ("pilea.mp3", None),
    ],
)
def test_keys_that_are_no_paths_are_no_recordings(bucket: TestBucket, key: str, said: str | None) -> None:
    """None leads out of the prefix; of those that people may have meant as recordings it is said why not."""
    bucket.put(key, b"sound")
    found = list(Pile(Path(), bucket).source().folders())
    assert [item for folder in found for item in folder.recordings] == []
    assert [item.path for folder in found for item in folder.unreadable] == ([said] if said else [])


@pytest.mark.parametrize("path", ["../outside.mp3", "a/../../outside.mp3"])
def test_a_path_in_a_message_does_not_reach_out_of_the_prefix(bucket: TestBucket, path: str) -> None:
    """A key is no path: two dots in it lead nowhere."""
    bucket.put("outside.mp3", b"secret")
    source = Pile(Path(), bucket).source()
    with pytest.raises(PermanentError, match="no longer in the source"):
        source.stat(path)
    with pytest.raises(PermanentError, match="no longer in the source"):
        source.fingerprint(Recording(path, 6, 1))


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3:///prefix", "s3:/bucket/prefix", "s3://b", "s3://bucket//a", "s3://bucket/a/../b", "s3://bucket/./a",
        "S3://Bucket name/a", "gs://bucket/a", "https://bucket.s3.amazonaws.com/a", "s3://bucket@host/a",
    ],
)  # fmt: skip
def test_an_address_that_names_no_bucket_is_told_as_it_is_written(url: str) -> None:
    with pytest.raises(SetupError, match=r"s3://bucket/prefix|remove it"):
        parse_location(url)


def test_a_bucket_whose_lists_have_no_order_is_refused() -> None:
    """What comes behind something greater would be taken for told already."""
    with pytest.raises(SetupError, match="directory bucket"):
        parse_location("s3://recordings--use1-az4--x-s3/2012")


@pytest.mark.parametrize("text", ["recordings", "/a/b", "s3", "./s3:/odd", "a:b", "C:/x", "~/x"])
def test_what_is_no_address_is_a_folder(text: str) -> None:
    assert parse_location(text) == FolderLocation(Path(text))


@pytest.mark.parametrize(
    ("url", "name", "prefix"),
    [("s3://a.b-c/", "a.b-c", ""), ("s3://abc/x", "abc", "x/"), ("s3://abc/x y/z/", "abc", "x y/z/")],
)  # fmt: skip
def test_an_address_is_a_bucket_and_what_is_in_it(url: str, name: str, prefix: str) -> None:
    found = parse_location(url)
    assert found == BucketLocation(name, prefix)
    assert str(found) == url.removesuffix("/")


def test_what_says_how_a_transcript_is_encrypted_goes_with_it(bucket: TestBucket) -> None:
    bucket.at().open_store(Settings(s3_sse="AES256").storage).put("a.txt", b"words")
    assert bucket.client.head_object(Bucket=bucket.name, Key="a.txt")["ServerSideEncryption"] == "AES256"


def test_a_text_is_shown_by_a_browser(bucket: TestBucket) -> None:
    bucket.at().open_store(Settings().storage).put("a.txt", b"words")
    assert bucket.client.head_object(Bucket=bucket.name, Key="a.txt")["ContentType"] == "text/plain; charset=utf-8"


def test_who_pays_for_the_requests_is_said_with_each_that_reads(bucket: TestBucket) -> None:
    asked: list[object] = []
    objects = bucket.objects("pile/", payer=True)
    objects._client.meta.events.register(
        "before-call.s3", lambda params, **_: asked.append(params["headers"].get("x-amz-request-payer"))
    )
    bucket.put("pile/a.mp3", b"sound")
    source = BucketSource(objects, Blocks(0))
    for folder in source.folders():
        source.fingerprint(folder.recordings[0])
    source.stat("a.mp3")
    assert asked == ["requester"] * 3


# A playlist


@pytest.mark.parametrize("wanted", ["http", "tcp", "file", "concat:file", "beside"])
@pytest.mark.parametrize("as_id3", [False, True])
@pytest.mark.parametrize("n_more", [0, BLOCK_BYTES], ids=["clip", "long"])
def test_a_playlist_named_like_a_recording_leads_nowhere(
    bucket: TestBucket, tmp_path: Path, speechless: bytes, wanted: str, as_id3: bool, n_more: int
) -> None:
    """Neither to another machine nor to a file of this one; ffmpeg looks behind a tag for what it is."""
    (tmp_path / "secret.wav").write_bytes(speechless)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        address = f"127.0.0.1:{listener.getsockname()[1]}/a.wav"
        target = f"{wanted}://{address}" if wanted in ("http", "tcp") else f"{wanted}:{tmp_path}/secret.wav"
        if wanted == "beside":
            target = str(recordings.tone(tmp_path / "secret.mp3", 1.0))
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{target}\n#EXT-X-ENDLIST\n"
        head = b"ID3\x03\0\0\0\0\0\0" if as_id3 else b""
        bucket.put("list.mp3", head + playlist.encode() + b"#" * n_more)
        with bucket.at().open_source(Settings().storage).local("list.mp3") as opened:
            for look in (probe, lambda opened: list(Decoder(opened))):
                with pytest.raises(AudioError):
                    look(opened)
        with pytest.raises(TimeoutError):
            listener.accept()


# States of files, for the search index


def revisions_of(store: TranscriptStore, seen: dict[str, str]) -> dict[str, dict[str, str]]:
    """The files of every folder that may have changed; notes the states of all folders, and those that are gone."""
    assert isinstance(store, Revisions)
    found = list(store.revisions("top/", seen))
    seen.clear()
    seen.update({folder.path: folder.state for folder in found})
    return {folder.path: dict(folder.files) for folder in found if folder.files is not None}


def test_a_file_has_another_revision_when_it_is_written_again(store: TranscriptStore) -> None:
    for key in ("top/a.json", "top/b/1.json", "top/b/c/2.json", "top.json", "topmost/x.json"):
        store.put(key, b"1")
    seen: dict[str, str] = {}
    first = revisions_of(store, seen)
    assert {path: set(files) for path, files in first.items()} == {"": {"a.json"}, "b/": {"1.json"}, "b/c/": {"2.json"}}
    again = first | revisions_of(store, seen)
    assert again == first
    store.put("top/b/1.json", b"2")
    changed = first | revisions_of(store, seen)
    assert changed["b/"]["1.json"] != first["b/"]["1.json"]
    store.delete("top/b/c/2.json")
    left = revisions_of(store, seen)
    assert not left.get("b/c/")


def test_a_folder_whose_time_says_that_nothing_changed_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    for key in ("top/a.json", "top/b/1.json"):
        store.put(key, b"1")
    seen: dict[str, str] = {}
    with monkeypatch.context() as patched:
        patched.setattr("nightscribe.shared.storage.folder.store.SETTLED_S", 10**9)
        for _ in range(2):  # they are so new that another change might leave their times
            assert set(revisions_of(store, seen)) == {"", "b/"}
    for folder in ("top/b", "top"):
        os.utime(tmp_path / folder, (10**9, 10**9))
    assert set(revisions_of(store, seen)) == {"", "b/"}
    assert revisions_of(store, seen) == {}
    store.put("top/b/1.json", b"2")
    assert set(revisions_of(store, seen)) == {"b/"}
    assert set(seen) == {"", "b/"}
