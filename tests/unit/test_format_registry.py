"""Check that formats are found by name, and that one that does not work harms no other."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from making import file, job, segment, transcript

from nightscribe.director.scan.scanner import Scanner
from nightscribe.shared.destination.keys import output_key, transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import FormatError, JobError, SetupError
from nightscribe.shared.formats import registry
from nightscribe.shared.formats.format import Format, same_bytes
from nightscribe.shared.formats.registry import (
    BUILT_IN,
    check_formats,
    content_type_of,
    format_names,
    get_format,
    is_same,
    is_subtitle,
    register_format,
    render,
    suffix_of,
)
from nightscribe.shared.model.jobs import Job
from nightscribe.shared.model.transcript import Transcript
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore

DONE = transcript(segment(text="As it was said."))


def shout(transcript: Transcript) -> bytes:
    return b"\x00" + "".join(each.text for each in transcript.segments).upper().encode()


def toy(name: str = "toy", suffix: str = ".toy.bin", render: Callable[[Transcript], bytes] = shout) -> Format:
    return Format(name, suffix, "application/x-toy", render, same_bytes(render))


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a test registers."""
    monkeypatch.setattr(registry, "_loaded", {})
    monkeypatch.setattr(registry, "_unusable", {})


@pytest.fixture
def records(tmp_path: Path) -> Records:
    (tmp_path / "out").mkdir()
    return Records(FolderStore(tmp_path / "out"))


def broken(_: Transcript) -> bytes:
    raise LookupError("no such table")


# The table


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_format_is_called_as_it_is_listed(name: str) -> None:
    found = get_format(name)
    assert found is not None
    assert found.name == name
    assert found.suffix == {"paragraphs": ".paragraphs.txt", "whisper-json": ".whisper.json"}.get(name, f".{name}")
    assert found.is_same(found.render(DONE), DONE)


def test_players_show_these() -> None:
    assert {name for name in BUILT_IN if is_subtitle(name)} == {"vtt", "srt", "ass", "lrc"}


def test_no_format_is_imported_before_it_is_used() -> None:
    program = (
        "import sys; from nightscribe.shared.formats import registry; registry.format_names();"
        "print(*(name for name in sys.modules if name.endswith(('formats.ass', 'formats.vtt'))));"
        "registry.get_format('vtt');"
        "print(*(name for name in sys.modules if name.endswith(('formats.ass', 'formats.vtt'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "nightscribe.shared.formats.vtt"]


# Registered in this process


def test_a_registered_format_is_one_like_the_others(records: Records, tmp_path: Path) -> None:
    register_format(toy())
    assert "toy" in format_names()
    assert check_formats("txt,toy") == ("txt", "toy")
    assert output_key("2012/talk", "toy") == "2012/talk.toy.bin"
    assert content_type_of("2012/talk.toy.bin") == "application/x-toy"
    records.finish(DONE.model_copy(update={"formats": ("toy",)}), ("toy",))
    assert (tmp_path / "out/talk.toy.bin").read_bytes() == shout(DONE)
    provenance = records.provenance("talk.mp3")
    assert provenance is not None
    assert provenance.formats == ("toy",)


@pytest.mark.parametrize(
    ("format_", "why"),
    [
        (toy("txt"), "built-in"),
        (toy(suffix=".srt"), "belongs to the format srt"),
        (toy(suffix=".mp3"), "belongs to recordings"),
        (toy(suffix=".toy.mp3"), "belongs to recordings"),
    ],
)
def test_a_format_never_takes_the_files_of_another_or_of_a_recording(format_: Format, why: str) -> None:
    with pytest.raises(SetupError, match=why):
        register_format(format_)
    assert "toy" not in format_names()


def test_a_notebook_may_register_a_format_again() -> None:
    register_format(toy())
    register_format(toy(suffix=".other"))
    assert suffix_of("toy") == ".other"


@pytest.mark.parametrize(
    ("name", "suffix"), [("Toy", ".toy"), ("a/b", ".toy"), ("", ".toy"), ("toy", "toy"), ("toy", "./x")]
)
def test_a_name_that_no_option_or_file_can_have_is_refused(name: str, suffix: str) -> None:
    with pytest.raises(ValueError, match=r"the (name|suffix) "):
        toy(name, suffix)


def test_a_file_of_no_format_has_no_content_type() -> None:
    assert content_type_of("talk.txt") == "text/plain; charset=utf-8"
    assert content_type_of(".nightscribe/run.json") == "application/json"
    assert content_type_of("talk.bin") is None


# A worker that does not have what the director asked for, or whose format fails


@pytest.mark.parametrize("fails", [False, True])
def test_a_format_that_cannot_be_written_loses_no_transcription(records: Records, tmp_path: Path, fails: bool) -> None:
    """The next look at the destination writes it, on a machine where it works."""
    if fails:
        register_format(toy(render=broken))
    formats = ("txt", "toy", "srt")
    records.finish(DONE.model_copy(update={"formats": formats}), formats)
    assert set(records.store.names("")) == {"talk.txt", "talk.srt"}
    finished = records.transcript("talk.mp3")
    assert finished is not None
    assert finished.formats == ("txt", "srt")
    register_format(toy())
    records.texts.put_missing(finished, ("toy",))
    assert (tmp_path / "out/talk.toy.bin").read_bytes() == shout(DONE)


def test_a_missing_format_that_cannot_be_written_is_said_once_the_others_are(records: Records) -> None:
    register_format(toy(render=broken))
    with pytest.raises(FormatError, match=r"'toy' could not write .*LookupError: no such table"):
        records.texts.put_missing(DONE, ("toy", "srt"))
    assert records.store.names("") == ["talk.srt"]


def test_what_a_format_cannot_read_is_somebodys(records: Records) -> None:
    register_format(Format("toy", ".toy", "text/plain", shout, lambda content, _: content[1000] > 0))
    records.store.put("talk.toy", b"mine")
    assert not is_same(b"mine", DONE, "toy")
    records.finish(DONE, ("toy",))
    assert records.store.get("talk (kept).toy") == b"mine"


def test_a_text_that_states_the_name_of_its_recording_is_written_anew_after_a_rename(records: Records) -> None:
    """The formats that are not asked for any more as well; corrected ones go along as they are."""
    records.finish(DONE, ("ass", "lrc", "json"))
    records.store.put("talk.lrc", b"[00:00.00]corrected\n")
    records.rename(DONE, "new.mp3", 7, "new", ("json",))
    renamed = records.transcript("new.mp3")
    assert renamed is not None
    assert records.store.get("new.ass") == render(renamed, "ass")
    assert b"Title: new\n" in render(renamed, "ass")
    assert records.store.get("new.json") == render(renamed, "json")
    assert set(records.store.names("")) == {"new.ass", "new.json", "talk.lrc"}
    assert records.store.get(transcript_key("talk.mp3")) is None


def test_a_job_may_ask_for_a_format_that_this_machine_does_not_have() -> None:
    """The recording is transcribed all the same."""
    asked = job(formats=("txt", "toy"))
    assert Job.from_message(asked.to_message()) == asked


@pytest.mark.parametrize("name", ["../x", "a.b", "", "TXT", "x" * 33])
def test_a_job_names_formats_that_can_be_part_of_a_file_name(name: str) -> None:
    with pytest.raises(JobError, match=r"formats\.0"):
        Job.from_message(job().to_message().replace('"txt"', f'"{name}"'))


def test_texts_beside_the_recordings_are_not_searched_for_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one folder as source and destination, each text would cost a process at every scan."""
    monkeypatch.setattr("nightscribe.director.scan.discover.probe", lambda _: pytest.fail("ffmpeg was started"))
    register_format(toy())
    file(tmp_path / "talk.toy.bin")
    scanner = Scanner(FolderSource(tmp_path), Records(FolderStore(tmp_path)), ("toy",), settle_s=0)
    assert not scanner.scan().missing


# Installed packages


def installed(site: Path, name: str, module: str, program: str) -> None:
    """Lay out an installed package with one entry point, as pip does."""
    package = module.partition(":")[0]
    (site / f"{package}-1.0.dist-info").mkdir(parents=True)
    (site / f"{package}-1.0.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (site / f"{package}-1.0.dist-info/entry_points.txt").write_text(f"[nightscribe.formats]\n{name} = {module}\n")
    (site / f"{package}.py").write_text(program)


WORKING = """
from nightscribe.shared.formats.format import Format, same_bytes

def render(transcript):
    return "".join(each.text for each in transcript.segments).upper().encode()

SHOUT = Format("shout", ".loud", "text/plain; charset=utf-8", render, same_bytes(render))
OTHER = Format("other", ".txt", "text/plain; charset=utf-8", render, same_bytes(render))
"""


def refused(site: Path, formats: str) -> str:
    """Return what is said when these formats are asked for, with the packages of a folder installed."""
    program = (
        "import sys\nfrom nightscribe.shared.formats.registry import check_formats\n"
        "from nightscribe.shared.errors import SetupError\n"
        "try: print(*check_formats(sys.argv[1]))\nexcept SetupError as error: print(error)"
    )
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{Path(__file__).parents[2]}"}
    done = subprocess.run(
        [sys.executable, "-c", program, formats], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_package_that_cannot_be_imported_is_named_and_the_others_work(tmp_path: Path) -> None:
    installed(tmp_path, "epub", "epub_format:EPUB", "import no_such_library")
    installed(tmp_path, "shout", "shout_format:SHOUT", WORKING)
    assert refused(tmp_path, "txt,shout") == "txt shout"
    why = "ModuleNotFoundError: No module named 'no_such_library'"
    assert refused(tmp_path, "epub") == (
        f"Format 'epub' cannot be used ({why}). Repair the package that provides it, or leave the format out."
    )
    assert refused(tmp_path, "odt") == (
        "Unknown format 'odt'. Choose from: txt, vtt, srt, json, tsv, ass, lrc, rttm, paragraphs, md, html, "
        "docx, pdf, whisper-json, shout. "
        f"Installed but not usable: epub ({why})."
    )


@pytest.mark.parametrize(
    ("name", "module", "why"),
    [
        ("shout", "shout_format:render", "is not a nightscribe Format"),
        ("shout", "shout_format:MISSING", "no attribute 'MISSING'"),
        ("loud", "shout_format:SHOUT", "its entry point is called 'loud', and the format itself 'shout'"),
        ("other", "shout_format:OTHER", "its suffix .txt belongs to the format txt"),
    ],
)
def test_a_package_that_brings_no_proper_format_is_told_so(tmp_path: Path, name: str, module: str, why: str) -> None:
    installed(tmp_path, name, module, WORKING)
    assert why in refused(tmp_path, name)
    assert refused(tmp_path, "srt") == "srt"


def test_no_package_takes_the_place_of_a_built_in_format(tmp_path: Path) -> None:
    installed(tmp_path, "txt", "shout_format:SHOUT", WORKING)
    assert refused(tmp_path, "txt") == "txt"
    assert refused(tmp_path, "odt").count(" txt") == 1
