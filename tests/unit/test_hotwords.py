"""Words to listen for: lists that people write, folders that have some, and when a text with them is believed."""

from pathlib import Path

import pytest
from making import file, recording

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.folder_hotwords import FolderHotwords
from nightscribe.director.plan.bundles import bundles
from nightscribe.director.plan.estimate import Rates
from nightscribe.director.scan.scanner import Scanner
from nightscribe.services.request import Request
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import SetupError, ValueRefused
from nightscribe.shared.model.hotwords import FILE, parse_hotwords, read_hotwords
from nightscribe.shared.settings import load_settings
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker.engines.whisper.hints import echoes, is_supported, likely
from nightscribe.worker.engines.whisper.runtime import Decoded
from nightscribe.worker.engines.whisper.similar_sound import folded, similarity


def test_a_list_is_given_as_words_or_as_a_file(tmp_path: Path) -> None:
    assert parse_hotwords(" Nguyễn ,, São  Paulo, Nguyễn") == ("Nguyễn", "São Paulo")
    listed = file(tmp_path / "names.txt", "\ufeff# people\nNguyễn\n\n São Paulo, Al-Fayoum\r\n".encode())
    assert parse_hotwords(f"@{listed}") == ("Nguyễn", "São Paulo", "Al-Fayoum")
    assert load_settings(hotwords=f"@{listed}").hotwords == ("Nguyễn", "São Paulo", "Al-Fayoum")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("@/no/such/list", "cannot be read"),
        ("x" * 200, "longer than 100 characters"),
        (",".join(f"w{n}" for n in range(501)), "too many"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_a_sentence(value: str, why: str) -> None:
    with pytest.raises(SetupError, match=f"--hotwords.*{why}"):
        load_settings(hotwords=value)
    with pytest.raises(SetupError, match=r"--prompt.*characters"):
        load_settings(prompt="x" * 501)
    with pytest.raises(ValueRefused, match="UTF-8"):
        read_hotwords("Müller".encode("cp1252"))


def test_a_folder_lists_words_for_what_lies_in_it(tmp_path: Path) -> None:
    """They are in the jobs, which hold recordings with the same words only, and a changed list is known."""
    for name in ("in/a.mp3", "in/2012/b.mp3", "in/2012/deep/c.mp3", "in/2013/d.mp3"):
        file(tmp_path / name)
    file(tmp_path / "in" / FILE, b"Tilney\n")
    file(tmp_path / "in/2012" / FILE, b"Morland\nTilney\n")
    file(tmp_path / "in/2013" / FILE, "Müller".encode("cp1252"))
    (tmp_path / "out").mkdir()
    request = Request(
        FolderLocation(tmp_path / "in"), FolderLocation(tmp_path / "out"), load_settings(hotwords="Udolpho")
    )
    scan = request.scanner(settle_s=0).scan()
    of = request.hotwords.of
    assert of("a.mp3") == ("Udolpho", "Tilney")
    assert of("2012/b.mp3") == of("2012/deep/c.mp3") == ("Udolpho", "Tilney", "Morland")
    assert [(each.path, "UTF-8" in each.reason) for each in scan.unreadable] == [(f"2013/{FILE}", True)]
    jobs = [[each.recording.path for each in job] for job in bundles(scan.missing, Rates(), 600, of)]
    assert jobs == [["a.mp3"], ["2012/b.mp3", "2012/deep/c.mp3"], ["2013/d.mp3"]]
    (tmp_path / "in/2012" / FILE).unlink()
    request.scanner(settle_s=0).scan()
    assert of("2012/b.mp3") == ("Udolpho", "Tilney")


def test_without_lists_jobs_are_as_they_were(tmp_path: Path) -> None:
    missing = Backlog(Missing(recording(f"{n:03}.mp3"), f"{n:03}") for n in range(50))
    words = FolderHotwords(FolderSource(tmp_path), ("Tilney",))
    assert [*bundles(missing, Rates(), 600)] == [*bundles(missing, Rates(), 600, words.of)]
    scanner = Scanner(FolderSource(tmp_path), Records(FolderStore(tmp_path)), ("txt",), settle_s=0)
    assert not scanner.scan().unreadable


@pytest.mark.parametrize(
    ("said", "word"),
    [("Emax", "Emacs"), ("monara", "monaural"), ("Casper Sky", "Kaspersky"), ("Alphoyum", "Al-Fayoum"),
     ("Ehrich", "Erich"), ("Carolyn", "Caroline"), ("Ruthweight", "Ruthwaite")],
)  # fmt: skip
def test_words_that_sound_alike_are_similar(said: str, word: str) -> None:
    assert similarity(folded(said), folded(word)) >= 0.62
    assert similarity(folded(word), folded(word)) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("desert", "Kubernetes"), ("the", "Tilney"), ("boy", "Al-Fayoum"), ("", "x")]
)
def test_others_are_not(one: str, other: str) -> None:
    assert similarity(folded(one), folded(other)) < 0.62


def test_only_words_like_something_in_the_text_are_listened_for() -> None:
    words = ("Kubernetes", "Emacs", "Tilney")
    assert likely("I use the mark ring in EMAX to jump.", words, "en") == ("Emacs",)
    assert likely("Nothing of that kind was said.", words, "en") == ()
    assert likely("", words, "en") == ()
    assert likely("I use Emacs.", words, "en") == ()
    assert likely("我在北京", ("背景", "上海"), "zh") == ("背景", "上海")


def decoded(text: str, log_probability: float = -0.3) -> Decoded:
    return Decoded(tuple(range(len(text) // 4)), text, log_probability, 0.0)


@pytest.mark.parametrize(
    ("heard", "is_believed"),
    [
        (decoded("I use the Mark Ring in Emacs to jump."), True),
        (decoded("I use the mark ring in EMAX to jump, Emacs."), False),
        (decoded("Emacs Emacs Emacs Emacs Emacs Emacs Emacs Emacs Emacs."), False),
        (decoded("Emacs."), False),
        (decoded("I use the mark Emacs in EMAX to jump."), False),
        (decoded("I use the mark ring in Emacs to jump.", -0.9), False),
        (decoded("Somebody else goes by another road to Emacs today."), False),
        (decoded("I use the mark ring in EMAX to jump."), False),
    ],
)
def test_a_text_is_believed_if_the_word_stands_where_one_like_it_was_heard(heard: Decoded, is_believed: bool) -> None:
    plain = decoded("I use the mark ring in EMAX to jump.")
    assert is_supported(heard, plain, ("Emacs",), "en") is is_believed


def test_a_text_that_repeats_the_prompt_is_noticed() -> None:
    before = "An interview with Catherine Morland on Northanger Abbey."
    assert echoes("interview with Catherine Morland", before)
    assert echoes("Northanger Abbey", before)
    assert not echoes("Catherine went to the abbey.", before)
    assert not echoes("", before)
