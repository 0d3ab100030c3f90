"""A format of somebody else's, written and installed as docs/adding-a-format.md says, is asked for like the others."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.transcript import Segment, Transcript, utc_now
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/adding-a-format.md").read_text()


def block(language: str) -> str:
    """Return the only block of this language on the page."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder of installed packages that holds the page's example, laid out as pip does it."""
    project = tomllib.loads(block("toml"))["project"]
    folder = tmp_path / "site"
    info = folder / f"toy_format-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {value}\n" for name, value in project["entry-points"]["nightscribe.formats"].items()]
    (info / "entry_points.txt").write_text("[nightscribe.formats]\n" + "".join(lines))
    (folder / "toy_format.py").write_text(block("python"))
    return folder


def nightscribe(site: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "nightscribe", *words], env=environment, capture_output=True, text=True, check=False
    )


def finished(source: Path, dest: Path) -> None:
    """Finish a recording, whose sound nobody could transcribe again."""
    source.mkdir()
    dest.mkdir()
    (source / "talk.mp3").write_bytes(b"this is not sound")
    os.utime(source / "talk.mp3", (1e9, 1e9))
    folder = FolderSource(source)
    seen = folder.stat("talk.mp3")
    made = Transcript(
        recording=seen.path,
        fingerprint=folder.fingerprint(seen),
        size=seen.size,
        mtime_ns=seen.mtime_ns,
        stem="talk",
        formats=("txt",),
        options=Options(engine="faster-whisper", model="base"),
        engine="faster-whisper",
        decoded_s=2,
        processing_s=1,
        finished_at=utc_now(),
        segments=(
            Segment(
                start_s=0,
                end_s=2,
                text="Four words and more.",
                average_log_probability=-0.1,
                no_speech_probability=0,
                compression_ratio=1,
            ),
        ),
    )
    Records(FolderStore(dest)).finish(made, made.formats)


def test_a_finished_destination_gets_the_new_format_without_transcribing(site: Path, tmp_path: Path) -> None:
    source, dest = tmp_path / "in", tmp_path / "out"
    finished(source, dest)
    done = nightscribe(site, "run", str(source), str(dest), "--formats", "txt,toy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (dest / "talk.toy.txt").read_text() == "4 words\nFour words and more.\n"
    assert (dest / "talk.txt").read_text() == "Four words and more.\n"
    assert {path.name for path in dest.iterdir()} == {".nightscribe", "talk.txt", "talk.toy.txt"}


def test_the_help_lists_it_and_without_the_package_it_is_unknown(site: Path, tmp_path: Path) -> None:
    assert "docx, pdf, whisper-json, toy." in " ".join(nightscribe(site, "run", "--help").stdout.split())
    (tmp_path / "in").mkdir()
    refused = nightscribe(tmp_path, "run", str(tmp_path / "in"), str(tmp_path / "out"), "--formats", "toy")
    assert refused.returncode == 2
    assert "Unknown format 'toy'. Choose from: txt, vtt, srt, json, tsv, ass, lrc, rttm, " in refused.stderr
