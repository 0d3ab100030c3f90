"""Documents that people read: how they are arranged, and what other programs see in the files."""

import html
import io
import json
import re
import shutil
import subprocess
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import docx
import pypdf
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import OPTIONS, segment, transcript
from markdown import Markdown
from markdown_it import MarkdownIt
from support.reading import text_in

from nightscribe.director.scan.text_stems import stems
from nightscribe.services.correct import correct
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import FormatError, SetupError
from nightscribe.shared.formats import format as format_module
from nightscribe.shared.formats import html_file
from nightscribe.shared.formats.document import FEWEST_COLUMNS, MOST_COLUMNS, Document, document_of
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.formats.pdf_file import MISSING
from nightscribe.shared.formats.registry import check_formats, is_same, render, suffix_of
from nightscribe.shared.model.jobs import Layout
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Correction, Flag, Segment, Transcript, Word, utc_now
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore

DOCUMENTS = ("paragraphs", "md", "html", "docx", "pdf", "whisper-json")
SEALED = ("html", "docx", "pdf")
LABELLED = OPTIONS.model_copy(update={"speakers": "auto"})
LEAP_DAY_NS = 1_709_208_000 * 10**9


def interview(**changes: Any) -> Transcript:
    """Two people, of whom one has a name, and what a page may take for markup."""
    said = (
        segment(0, 2, "Good evening.", speaker="a"),
        segment(2, 4.5, "Tell us <how> it *began*.", speaker="a"),
        segment(5, 8, "It began with a letter & a stamp.", speaker="b", confidence=0.4),
    )
    speakers = (Speaker(label="a", clean_s=9, name="Anna Müller"), Speaker(label="b", clean_s=9))
    values = {
        "recording": "2012/the talk.mp3", "stem": "2012/the talk", "options": LABELLED, "speakers": speakers,
        "mtime_ns": LEAP_DAY_NS, "decoded_s": 3725.0, "flags": (Flag.TRUNCATED,),
    }  # fmt: skip
    return transcript(*said, **(values | changes))


def paragraphs(*segments: Segment, **changes: Any) -> list[str]:
    return [each.text for each in document_of(transcript(*segments, **changes)).paragraphs]


# How they are arranged


def test_a_paragraph_ends_with_a_long_pause_after_a_sentence() -> None:
    said = (segment(0, 1, "One."), segment(1.5, 2, "Two."), segment(4.5, 5, "Three,"), segment(7.5, 8, "and four."))
    assert paragraphs(*said) == ["One. Two.", "Three, and four."]


def test_a_very_long_pause_ends_a_paragraph_within_a_sentence() -> None:
    assert paragraphs(segment(0, 1, "He went,"), segment(9, 10, "and came back.")) == ["He went,", "and came back."]


def test_without_pauses_a_paragraph_ends_with_a_sentence_before_it_is_too_long() -> None:
    sentence = "This sentence is about fifty characters long, I say."
    said = [segment(n, n + 0.9 - (n % 7 == 6) * 0.5, sentence) for n in range(60)]
    made = paragraphs(*said)
    assert all(FEWEST_COLUMNS <= len(each) <= MOST_COLUMNS + 60 for each in made)
    assert " ".join(made) == " ".join([sentence] * 60)
    assert all(len(each) % (7 * (len(sentence) + 1)) == 7 * (len(sentence) + 1) - 1 for each in made[:-1])


def test_a_paragraph_has_one_speaker_who_is_named_where_he_begins() -> None:
    made = document_of(interview()).paragraphs
    assert [(each.speaker, each.start_s) for each in made] == [("Anna Müller", 0), ("B", 5)]


def test_a_document_states_the_facts() -> None:
    made = document_of(interview())
    assert made.title == "the talk"
    assert made.facts_line == "the talk.mp3 · 2024-02-29 · 1:02:05 · English · Anna Müller, B"
    assert made.doubts == ("Truncated: less sound could be decoded than the file says it holds.",)


def test_a_document_says_from_what_it_was_translated() -> None:
    made = document_of(interview(language="ar", options=LABELLED.model_copy(update={"task": "translate"})))
    assert "translated from Arabic" in made.facts
    assert (made.language, made.is_right_to_left) == ("en", False)


@settings(max_examples=30)
@given(st.lists(st.builds(segment, st.floats(0, 60), st.floats(0, 60), st.text(max_size=30)), max_size=6))
def test_every_word_is_in_a_paragraph_once(said: list[Segment]) -> None:
    ordered = sorted(said, key=lambda each: (each.start_s, each.end_s))
    made = "".join(paragraphs(*said)).replace(" ", "")
    assert made == "".join(one_line(each.text) for each in ordered).replace(" ", "")


# What other programs see


@pytest.mark.parametrize("fmt", DOCUMENTS)
def test_a_person_sees_words_names_and_facts(fmt: str) -> None:
    text = text_in(fmt, render(interview(), fmt))
    text = html.unescape(text) if fmt in ("html", "md") else text
    assert "It began with a letter & a stamp." in text.replace("\\", "")
    assert "Anna Müller" in text
    if fmt not in ("paragraphs", "whisper-json"):
        assert "1:02:05" in text
        assert "less sound could be decoded" in text


@pytest.mark.parametrize("fmt", DOCUMENTS)
def test_corrections_flow_into_documents(fmt: str) -> None:
    before, after = "It began with a letter & a stamp.", "It began with a telegram."
    fixed = Correction(by="Berta", at=utc_now(), start_s=5, end_s=8, before=before, after=after)
    assert "telegram" in text_in(fmt, render(interview(corrections=(fixed,)), fmt))


@pytest.mark.parametrize("fmt", DOCUMENTS)
def test_the_same_transcript_gives_the_same_bytes(fmt: str) -> None:
    copy = Transcript.model_validate_json(interview().model_dump_json())
    assert render(interview(), fmt) == render(copy, fmt)
    assert is_same(render(interview(), fmt), copy, fmt)


@pytest.mark.parametrize("fmt", DOCUMENTS)
@pytest.mark.parametrize("empty", [(), (segment(text=" \n"),)])
def test_a_recording_in_which_nobody_speaks_has_documents(fmt: str, empty: tuple[Segment, ...]) -> None:
    text_in(fmt, render(transcript(*empty), fmt))


def test_paragraphs_are_plain_text_and_nothing_else() -> None:
    assert render(interview(), "paragraphs").decode() == (
        "Anna Müller: Good evening. Tell us <how> it *began*.\n\nB: It began with a letter & a stamp.\n"
    )


NASTY = (
    "# no",
    "- a",
    "+ b",
    "1. c",
    "> d",
    "_e_",
    "`f`",
    "[g](h)",
    "<b>i</b>",
    "&amp;",
    "---",
    "= =",
    "~~~",
    "$$",
    "|j|",
)


@pytest.mark.parametrize("text", NASTY)
def test_no_text_is_markup_in_markdown(text: str) -> None:
    whole = interview().model_copy(update={"segments": (segment(0, 1, text, speaker="a"), segment(1, 2, speaker="b"))})
    for read in (MarkdownIt("gfm-like", {"linkify": False}).render, Markdown(extensions=["extra"]).convert):
        page = read(render(whole, "md").decode())
        assert text in [html.unescape(each) for each in re.findall(r"<p>([^<]*)</p>", page)]


def test_a_docx_has_styles_that_a_person_can_change() -> None:
    made = docx.Document(io.BytesIO(render(interview(), "docx")))
    assert made.core_properties.title == "the talk"
    assert [each.style.name for each in made.paragraphs[:3] if each.style] == ["Title", "Facts", "Please check"]
    [name] = [run for each in made.paragraphs for run in each.runs if run.text == "Anna Müller"]
    assert name.style.name == "Speaker"


def test_a_docx_in_arabic_runs_from_right_to_left() -> None:
    whole = interview(language="ar").model_copy(update={"segments": (segment(text="مرحبا بالعالم"),)})
    with zipfile.ZipFile(io.BytesIO(render(whole, "docx"))) as archive:
        body = archive.read("word/document.xml").decode()
    assert "<w:bidi/>" in body
    assert "<w:rtl/>" in body


def test_a_pdf_has_a_title_tags_and_the_letters_of_europe() -> None:
    text = "Tiếng Việt có dấu nghiêng. Привет! Ελληνικά. Łódź."
    content = render(interview(language="vi").model_copy(update={"segments": (segment(text=text),)}), "pdf")
    made = pypdf.PdfReader(io.BytesIO(content))
    assert made.metadata is not None
    assert made.metadata.title == "the talk"
    assert "/StructTreeRoot" in made.trailer["/Root"]
    assert text in re.sub(r"\s+", " ", text_in("pdf", content))


def test_a_pdf_is_refused_where_no_font_has_the_characters() -> None:
    """No font may have private characters, so this holds on every machine."""
    with pytest.raises(FormatError, match=r"No font on this machine has the characters “U\+F1234”.*docx or html"):
        render(transcript(segment(text="Look: \U000f1234!")), "pdf")
    assert MISSING.findall('error: the text `"ab"` could not be displayed with font `"X"`') == ["ab"]


def test_readers_of_whispers_results_take_the_json() -> None:
    spoken = segment(1, 2, "Hello there.", words=(Word(1, 1.5, " Hello"), Word(1.5, 2, " there.")))
    whole = transcript(spoken, segment(3, 4, "Bye."), layout=Layout(words=True))
    result = json.loads(render(whole, "whisper-json"))
    assert result["text"] == " Hello there. Bye."
    assert result["language"] == "en"
    assert [(each["start"], each["end"], each["plaintext"]) for each in _events(result)] == [
        (1000, 2000, "Hello there."), (3000, 4000, "Bye."),
    ]  # fmt: skip
    assert [word["word"] for each in result["segments"] for word in each["words"]] == [" Hello", " there.", " Bye."]


def _events(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"start": each.start, "end": each.end, "plaintext": each.plaintext.strip()}
        for each in pysubs2.load_from_whisper(result)
    ]


@pytest.mark.skipif(not shutil.which("soffice"), reason="LibreOffice is not installed (soffice)")
def test_libreoffice_opens_the_docx(tmp_path: Path) -> None:
    (tmp_path / "talk.docx").write_bytes(render(interview(), "docx"))
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    subprocess.run(
        ["soffice", profile, "--headless", "--convert-to", "pdf", "--outdir", tmp_path, tmp_path / "talk.docx"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    text = text_in("pdf", (tmp_path / "talk.pdf").read_bytes())
    assert "Anna Müller" in text
    assert "It began with a letter & a stamp." in text


# The page


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(whole: Transcript) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(render(whole, "html").decode())
    return parser.found


def test_a_page_requests_only_the_recording_beside_it() -> None:
    found = tags(interview())
    assert [(tag, each["data-src"]) for tag, each in found if tag in ("audio", "video")] == [
        ("audio", "the%20talk.mp3")
    ]
    assert not [each for _, each in found if "src" in each or (each.get("href") or "#")[0] != "#" or "onclick" in each]
    [policy] = [each["content"] for _, each in found if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_a_page_shows_a_film_and_what_is_doubtful() -> None:
    found = tags(interview(recording="film.MP4", stem="film"))
    assert [tag for tag, _ in found if tag in ("audio", "video")] == ["video"]
    assert [each["data-s"] for _, each in found if "doubtful" in (each.get("class") or "")] == ["5"]


def test_a_page_knows_when_each_word_is_said() -> None:
    words = (Word(1, 1.5, " It's"), Word(1.5, 1.75, " 👋"), Word(2.0, 3, " fine."))
    [said] = [each for _, each in tags(transcript(segment(1, 3, "It's 👋 fine.", words=words))) if "data-w" in each]
    assert (said["data-s"], said["data-e"], said["data-w"]) == ("1", "3", "4,0 3,50 6,100")
    unlike = segment(1, 3, "It is fine.", words=words)
    assert not [each for _, each in tags(transcript(unlike)) if "data-w" in each]


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", '" onload="x'])
def test_nothing_that_is_said_or_named_becomes_part_of_the_page(text: str) -> None:
    plain, odd = tags(interview()), interview(recording=f"{text.replace('/', '')}.mp3", stem="x")
    odd = odd.model_copy(
        update={
            "segments": tuple(each.model_copy(update={"text": text}) for each in odd.segments),
            "speakers": tuple(each.model_copy(update={"name": text}) for each in odd.speakers),
        }
    )
    assert {(tag, frozenset(each)) for tag, each in tags(odd)} <= {(tag, frozenset(each)) for tag, each in plain}


# A person's work


@pytest.mark.parametrize("fmt", SEALED)
def test_a_document_that_another_release_has_drawn_is_ours(fmt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later release may change the page, and another machine may have other fonts."""
    content = render(interview(), fmt)
    monkeypatch.setattr(html_file, "_page", lambda _: "<!doctype html>")
    assert is_same(content, interview(), fmt)
    assert not is_same(content, interview(flags=()), fmt)


@pytest.mark.parametrize("fmt", SEALED)
def test_a_document_that_a_program_has_saved_is_somebodys(fmt: str) -> None:
    content = render(interview(), fmt)
    assert not is_same(content[:-1], interview(), fmt)
    assert not is_same(content.replace(b"e", b"E", 1), interview(), fmt)
    assert not is_same(b"", interview(), fmt)
    saved = io.BytesIO()
    if fmt == "docx":
        docx.Document(io.BytesIO(content)).save(saved)
    elif fmt == "pdf":
        pypdf.PdfWriter(clone_from=io.BytesIO(content)).write(saved)
    assert not is_same(saved.getvalue(), interview(), fmt)


def test_edits_of_documents_are_never_lost_and_those_of_plain_text_are_corrections(tmp_path: Path) -> None:
    records = Records(FolderStore(tmp_path))
    records.finish(interview(formats=("paragraphs", "html", "docx")), ("paragraphs", "html", "docx"))
    page, word, plain = (tmp_path / f"2012/the talk{each}" for each in (".html", ".docx", ".paragraphs.txt"))
    annotated = docx.Document(str(word))
    annotated.add_paragraph("My notes.")
    annotated.save(str(word))
    mine = word.read_bytes()
    plain.write_text(plain.read_text().replace("letter", "telegram").replace("evening. Tell", "evening.\nTell"))
    done = correct(FolderLocation(tmp_path), by="Berta")
    assert [(each.before, each.after) for each in done.recordings[0].corrections] == [("letter", "telegram")]
    assert done.recordings[0].left == ("2012/the talk.docx",)
    assert word.read_bytes() == mine
    assert "a telegram" in page.read_text()
    assert "evening.\nTell" in plain.read_text()
    records.finish(interview(redo="1"), ("docx",))
    assert (tmp_path / "2012/the talk (kept).docx").read_bytes() == mine
    assert "telegram" in text_in("docx", word.read_bytes())


def test_a_renamed_recording_is_named_in_its_documents(tmp_path: Path) -> None:
    records = Records(FolderStore(tmp_path))
    records.finish(interview(formats=("md",)), ("md",))
    done = records.transcript("2012/the talk.mp3")
    assert done is not None
    records.rename(done, "2012/the talk.wav", 1, "2012/the talk", ("md",))
    assert "the talk.wav" in (tmp_path / "2012/the talk.md").read_text()
    [name] = (tmp_path / "2012").iterdir()
    assert name.name == "the talk.md"


# Names and packages


def test_a_recording_never_has_the_files_of_another_recordings_formats() -> None:
    assert stems(["talk.mp3", "talk.whisper.mp3", "talk.Paragraphs.wav"]) == {
        "talk.mp3": "talk", "talk.whisper.mp3": "talk.whisper.mp3", "talk.Paragraphs.wav": "talk.Paragraphs.wav",
    }  # fmt: skip
    assert len({suffix_of(fmt) for fmt in ("json", "whisper-json", "txt", "paragraphs")}) == 4


@pytest.mark.parametrize("fmt", ["docx", "pdf"])
def test_without_its_package_a_document_is_refused_before_any_work(fmt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = render(interview(), fmt)
    monkeypatch.setattr(format_module, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match=r"needs packages.*pip install 'nightscribe\[documents\]'"):
        check_formats(f"txt,{fmt}")
    with pytest.raises(FormatError, match="documents"):
        render(interview(), fmt)
    assert is_same(content, interview(), fmt)


def test_a_correction_reaches_other_texts_where_a_document_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(FolderStore(tmp_path))
    records.finish(interview(formats=("txt", "md", "docx")), ("txt", "md", "docx"))
    plain = tmp_path / "2012/the talk.txt"
    plain.write_text(plain.read_text().replace("letter", "telegram"))
    monkeypatch.setattr(format_module, "find_spec", lambda _: None)
    done = correct(FolderLocation(tmp_path), by="Berta")
    assert done.recordings[0].left == ("2012/the talk.docx",)
    assert "telegram" in (tmp_path / "2012/the talk.md").read_text()


def test_a_document_without_facts_is_one() -> None:
    made = Document("t", "t.mp3", None, "0:01", None, None, (), (), ())
    assert made.facts == ("t.mp3", "0:01")
