"""The Python interface with real weights and real speech, as docs/python.md and the README show it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import recordings

import nightscribe
from nightscribe.shared.errors import UNKNOWN
from nightscribe.shared.model.failure_codes import SENTENCES
from nightscribe.worker.pipeline.models import Models

ROOT = Path(__file__).parents[2]


def examples(document: str) -> str:
    """The Python examples of a page, one after the other, with the model that the tests have."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    assert blocks
    return "\n".join(blocks).replace('"base"', '"tiny.en"')


@pytest.fixture
def talk(tmp_path: Path, speech: Path) -> Path:
    """A folder with a recording, a folder of recordings, and a file that is none."""
    recordings.cut(speech, tmp_path / "talk.mp3", 0, 12)
    (tmp_path / "recordings").mkdir()
    shutil.copy(tmp_path / "talk.mp3", tmp_path / "recordings")
    (tmp_path / "recordings/notes.mp3").write_text("It was the best of times.")
    (tmp_path / "notes.mp3").write_text("It was the best of times.")
    return tmp_path


@pytest.mark.parametrize("document", ["docs/python.md", "README.md"])
def test_the_examples_do_what_they_say(document: str, talk: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", examples(document)],
        env=environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        cwd=talk, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "It was the best of times" in done.stdout
    if document == "docs/python.md":
        assert "1 of 2" in done.stdout
        assert "1 done, 12 s of sound" in done.stdout
        assert re.search(r"^notes\.mp3 \w+ It holds text, not sound", done.stdout, re.MULTILINE)
        assert "00:00:00," in done.stdout
        assert (talk / "talk.vtt").read_text().startswith("WEBVTT")
        assert (talk / "transcripts/report.html").exists()
        assert (talk / "transcripts/talk.srt").exists()


def test_a_recording_is_transcribed_as_the_command_does_it(
    talk: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the second one without loading the model again."""
    loaded: list[str] = []
    init = Models.__init__
    monkeypatch.setattr(Models, "__init__", lambda *args, **more: (loaded.append("once"), init(*args, **more))[1])
    heard: list[float] = []
    first = nightscribe.transcribe(talk / "talk.mp3", "tiny.en", models_dir=weights, progress=heard.append)
    again = nightscribe.transcribe(talk / "talk.mp3", "tiny.en", models_dir=weights, word_timestamps=True)
    assert heard[-1] == pytest.approx(12, abs=0.5)
    assert again.text == first.text == str(first)
    assert (first.recording, first.language, len(loaded)) == ("talk.mp3", "en", 1)
    assert " ".join(word.text.strip() for word in again.words).split() == first.text.split()
    assert first.to("txt").splitlines() == [segment.text.strip() for segment in first.segments]
    with pytest.raises(nightscribe.ValueRefused, match="Unknown format 'odt'"):
        first.to("odt")


def test_a_file_that_is_no_recording_raises_the_sentence_of_the_command(talk: Path, weights: Path) -> None:
    result = nightscribe.transcribe_folder(talk / "recordings", talk / "out", "tiny.en", models_dir=weights, workers=1)
    [failed] = result.failures
    with pytest.raises(nightscribe.AudioError) as caught:
        nightscribe.transcribe(talk / "notes.mp3", "tiny.en", models_dir=weights)
    assert str(caught.value) == failed.reason
    assert caught.value.code in SENTENCES
    assert caught.value.code != UNKNOWN
    assert not result.is_complete
    destination = nightscribe.open_destination(talk / "out")
    assert len(destination) == len(list(destination)) == result.n_done == 1
    assert [each.recording for each in destination.failures()] == ["notes.mp3"]
    assert destination.transcript("nowhere.mp3") is None


def test_a_run_in_a_thread_is_stopped_by_its_progress(talk: Path, weights: Path) -> None:
    """There no signal handler can be set."""
    from concurrent.futures import ThreadPoolExecutor

    def stop(_progress: nightscribe.Progress) -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(
            nightscribe.transcribe_folder,
            talk / "recordings", talk / "out", "tiny.en", models_dir=weights, workers=1, progress=stop,
        ).result()  # fmt: skip
    assert (result.interrupted, result.is_complete) == (True, False)
    assert result.n_left > 0
