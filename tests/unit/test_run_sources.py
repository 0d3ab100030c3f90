"""What the words of `run SOURCE… [DEST]` mean, and what is downloaded from addresses."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightscribe.services.download import download, sentence
from nightscribe.services.run_record import chosen
from nightscribe.services.sources import resolve
from nightscribe.shared.errors import SetupError
from nightscribe.shared.storage.base import StorageOptions
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.views.cli_hints import run_again


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recordings, which is the working directory."""
    for name in ("talk.mp3", "2012/a.mp3", "2012/b.wav", "2013/c.ogg", "notes.txt", "out/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(words: str, *, piped: str = "") -> tuple[list[str], str]:
    """The recordings that the words mean, and the destination."""
    sources = resolve(words.split(), names=lambda: piped)
    folders = sources.source.open_source(StorageOptions(), leave_out=sources.dest).folders()
    return [each.path for folder in folders for each in folder.recordings], str(sources.dest)


@pytest.mark.parametrize(
    ("words", "recordings", "dest"),
    [
        ("talk.mp3", ["talk.mp3"], "{home}"),
        ("talk.mp3 out", ["talk.mp3"], "out"),
        ("talk.mp3 new", ["talk.mp3"], "new"),
        ("talk.mp3 2012/a.mp3", ["talk.mp3", "2012/a.mp3"], "{home}"),
        ("2012/a.mp3 2012/b.wav", ["a.mp3", "b.wav"], "{home}/2012"),
        ("2012/a.mp3 2013/c.ogg out", ["2012/a.mp3", "2013/c.ogg"], "out"),
        ("2012 2013 out", ["2012/a.mp3", "2012/b.wav", "2013/c.ogg"], "out"),
        ("2012 2012/a.mp3 talk.mp3 out", ["talk.mp3", "2012/a.mp3", "2012/b.wav"], "out"),
        ("2012", ["a.mp3", "b.wav"], "2012"),
        ("2012 2013", ["a.mp3", "b.wav"], "2013"),
        ("2012 s3://texts/2012", ["a.mp3", "b.wav"], "s3://texts/2012"),
    ],
)
def test_words_mean_what_a_person_expects(home: Path, words: str, recordings: list[str], dest: str) -> None:
    assert found(words) == (recordings, dest.format(home=home))


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("piped", ["2012/a.mp3\n2013/c.ogg\n\n", "2012/a.mp3\0002013/c.ogg\0"])
def test_names_come_from_a_pipe(piped: str) -> None:
    assert found("- out", piped=piped) == (["2012/a.mp3", "2013/c.ogg"], "out")


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("talk.mp3 tlak.mp3", "'tlak.mp3' does not exist"),
        ("nothing talk.mp3", "'nothing' does not exist"),
        ("-", "The pipe holds no names"),
        ("https://example.org/a.mp3", "Give DEST after the addresses"),
        ("https://example.org/a.mp3 talk.mp3 out", "'talk.mp3' is no address"),
        ("https://example.org/a.mp3 s3://texts/2012", "is no folder of this machine"),
        ("s3://a/b talk.mp3", "cannot be combined"),
    ],
)
def test_words_that_contradict_each_other_are_a_sentence(words: str, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        found(words)


def test_the_command_to_repeat_names_the_same_files(home: Path) -> None:
    """Not the folder that holds them, for it may hold thousands of others."""
    source = resolve(["2012/a.mp3", "talk.mp3"]).source
    assert chosen(source) == {"sources": (str(home / "2012/a.mp3"), str(home / "talk.mp3"))}
    assert chosen(FolderLocation(home)) == {}
    typed = run_again("run", source.absolute(), FolderLocation(home / "out"), {})
    assert typed.endswith(f" run {home}/2012/a.mp3 {home}/talk.mp3 {home}/out")


# Downloads


FEED = """<?xml version="1.0"?><rss version="2.0"><channel><title>Tales</title>{items}</channel></rss>"""
ITEM = """<item><title>{title}</title><guid>{title}</guid><enclosure url="{url}/{name}" type="audio/mpeg"/></item>"""


@pytest.fixture
def site(tmp_path: Path, speech: Path, sockets: None) -> Iterator[tuple[str, Path]]:
    """A server with a recording, its address and its folder."""
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(speech, folder / "one.wav")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self.send_error(403) if "private" in self.path else super().do_GET()

        def do_HEAD(self) -> None:
            self.send_error(403) if "private" in self.path else super().do_HEAD()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder
        server.shutdown()


def test_recordings_are_downloaded_once_and_new_episodes_of_a_feed_follow(
    site: tuple[str, Path], tmp_path: Path
) -> None:
    address, folder = site
    dest = tmp_path / "dest"

    def feed(*titles: str) -> None:
        for title in titles:
            shutil.copy(folder / "one.wav", folder / f"{title}.wav")
        items = "".join(ITEM.format(title=title, url=address, name=f"{title}.wav") for title in titles)
        (folder / "feed.xml").write_text(FEED.format(items=items))

    feed("ep1")
    done = download([f"{address}/one.wav", f"{address}/feed.xml"], dest)
    assert (done.n_new, done.failures) == (2, [])
    names = {path.name for path in dest.iterdir() if path.is_file()}
    assert {name[:3] for name in names} == {"one", "ep1"}
    assert (dest / min(names)).read_bytes() == (folder / "one.wav").read_bytes()
    next(dest.glob("one*")).unlink()  # somebody has moved it away
    feed("ep3", "ep2", "ep1")
    done = download([f"{address}/one.wav", f"{address}/feed.xml"], dest, newest=1)
    assert (done.n_new, done.failures) == (1, [])
    assert {path.name[:3] for path in dest.iterdir() if path.is_file()} == {"ep1", "ep3"}


def test_what_cannot_be_downloaded_is_a_sentence_each_and_stops_nothing(site: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = site
    (folder / "page.html").write_text("<html><body>Hello</body></html>")
    wanted = {
        f"{address}/private.mp3": "needs a login; download it in a browser.",
        f"{address}/gone.mp3": "does not exist.",
        f"{address}/page.html": "holds no recording that could be found.",
        "http://127.0.0.1:9/feed.xml": "cannot be reached now; the next run tries it again.",
    }
    done = download([*wanted, f"{address}/one.wav"], tmp_path / "dest")
    assert done.failures == [f"{each} {said}" for each, said in wanted.items()]
    assert done.n_new == 1
    assert sentence("Something new; please report it") == "could not be downloaded (Something new)."
