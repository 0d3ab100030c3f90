"""Storage of another package, made as docs/adding-a-storage.md says, is SOURCE and DEST like any other."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from making import transcript
from support import recordings

from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import SetupError, ValueRefused
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage import registry
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.fingerprint import FINGERPRINT_BYTES, fingerprint
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.registry import parse_location, register_storage, storages

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-storage.md"
SQLITE = GUIDE.read_text().partition("```python\n")[2].partition("```")[0]

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution with one module and entry points for storage, as pip leaves them; gives its folder."""
    site = tmp_path / "site-packages"

    def install(module: str, source: str, **schemes: str) -> Path:
        info = site / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        entries = "".join(f"{scheme} = {value}\n" for scheme, value in schemes.items())
        (info / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\n{entries}")
        return site

    monkeypatch.syspath_prepend(str(site))
    return install


@pytest.fixture
def database(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database with two recordings, for this process and those that it starts."""
    site = install("night_sqlite", SQLITE, sqlite="night_sqlite:Database.parse")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(site), os.environ.get("PYTHONPATH", ""))))
    url = f"sqlite://{tmp_path / 'night.db'}"
    source = parse_location(url).open_source(Settings().storage)
    for name in ("a.wav", "b.wav"):
        content = recordings.silence(tmp_path / name, 0.1 if name == "a.wav" else 0.2).read_bytes()
        source.put(name, content)  # type: ignore[attr-defined]
    return url


def nightscribe(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "nightscribe", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def finish(place: Location, name: str) -> None:
    """Do what a worker does once a recording is transcribed, without listening to it."""
    source, seen = place.open_source(Settings().storage), place.open_source(Settings().storage).stat(name)
    made = transcript(
        recording=name, stem=name[:-4], fingerprint=source.fingerprint(seen), size=seen.size, mtime_ns=seen.mtime_ns
    )
    Records(place.open_store(Settings().storage)).finish(made, ("txt",))


def test_a_director_scans_storage_of_another_package_and_finds_what_is_finished_there(database: str) -> None:
    looked = nightscribe("run", database, database, "--dry-run")
    assert "Would transcribe 2 recordings" in looked.stdout, looked.stderr
    finish(parse_location(database), "a.wav")
    looked = nightscribe("run", database, database, "--dry-run")
    assert "Would transcribe 1 recording," in looked.stdout, looked.stderr
    assert "  b.wav" in looked.stdout
    status = nightscribe("status", database)
    assert database in status.stdout, status.stderr


def test_storage_of_another_package_is_checked_before_any_work(database: str, tmp_path: Path) -> None:
    place = parse_location(database)
    place.check_source(Settings().storage)
    with pytest.raises(SetupError, match="holds no records of nightscribe"):
        place.check_records(Settings().storage)
    place.check_dest(Settings().storage, create=True)
    assert list(place.open_store(Settings().storage).walk("")) == []
    assert place.lack_of_room() is None
    with pytest.raises(SetupError, match=r"write sqlite://FILE\.db"):
        parse_location(f"sqlite://{tmp_path}/night.txt")


def test_storage_that_cannot_be_loaded_is_named_with_its_reason_and_harms_nothing_else(
    install: Install, tmp_path: Path
) -> None:
    install("night_broken", "import no_such_module", broken="night_broken:parse")
    install("night_sqlite", SQLITE, sqlite="night_sqlite:Database.parse")
    reason = r"package night_broken, cannot be loaded \(ModuleNotFoundError: No module named 'no_such_module'\)"
    with pytest.raises(SetupError, match=reason):
        parse_location("broken://anything")
    found = {each.scheme: each for each in storages()}
    assert list(found) == ["broken", "s3", "sqlite"]
    assert (found["s3"].problem, found["sqlite"].problem) == (None, None)
    assert (found["s3"].provider, found["sqlite"].provider) == ("nightscribe", "night_sqlite")
    assert "no_such_module" in (found["broken"].problem or "")
    assert parse_location(f"sqlite://{tmp_path}/x.db").absolute() == parse_location(f"sqlite://{tmp_path}/x.db")
    assert parse_location("s3://bucket/a").local_path is None


def test_an_unknown_scheme_is_answered_with_all_that_there_are(install: Install) -> None:
    install("night_broken", "import no_such_module", broken="night_broken:parse")
    install("night_sqlite", SQLITE, sqlite="night_sqlite:Database.parse")
    with pytest.raises(SetupError) as refused:
        parse_location("gs://bucket/a")
    said = str(refused.value)
    assert (
        "'gs://bucket/a' is not a place that nightscribe knows; give a folder, s3://bucket/prefix, sqlite://…" in said
    )
    assert "broken://…" not in said
    assert "no_such_module" in said


def test_storage_is_imported_only_when_it_is_named() -> None:
    code = (
        "import sys; from nightscribe.shared.storage.registry import parse_location; parse_location('talks');"
        "sys.exit(any(name.startswith(('boto', 'nightscribe.shared.storage.s3')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_storage_can_be_registered_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})

    def parse(text: str) -> Location:
        return FolderLocation(Path(text.removeprefix("mount://")))

    register_storage("mount", parse)
    register_storage("mount", parse)
    assert parse_location("mount:///talks") == FolderLocation(Path("/talks"))
    assert "mount" in [each.scheme for each in storages()]
    for scheme in ("mount", "s3"):
        with pytest.raises(ValueRefused, match="There is another storage"):
            register_storage(scheme, FolderLocation.parse)
    with pytest.raises(ValueRefused, match="is not a URL scheme"):
        register_storage("My Disk", parse)


@pytest.mark.parametrize("size", [0, 1, FINGERPRINT_BYTES, FINGERPRINT_BYTES + 1, 3 * FINGERPRINT_BYTES])
def test_a_fingerprint_depends_on_both_ends_and_the_size(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)

    def of(content: bytes) -> str:
        return fingerprint(len(content), lambda first, n: content[first : first + n])

    whole = of(content[:size])
    assert whole.startswith(f"{size}-")
    assert len({whole, of(content[: size + 1]), of(b"x" + content[1 : size + 1] if size else b"x")}) == 3
