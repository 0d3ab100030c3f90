"""Download repositories of the Hugging Face hub, with their revision pinned and every file checked.

The files go to the library's own cache, where other programs find them too. Which commit it was, and the SHA-256 of
each file, is kept in a folder of ours, so that a later run on this machine uses the same files even if the repository
changes.
"""

import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.process.liveness import report_alive
from nightscribe.worker.weights import hub
from nightscribe.worker.weights.download_process import fetched

FOLDER = "hub"
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository, and what the hub announces about it."""

    size: int
    sha256: str | None
    """Of a large file. None: see `git_sha1`."""
    git_sha1: str | None
    """Of a small file, as git names its content."""

    @property
    def blob(self) -> str | None:
        """Return the name of the content in the library's cache."""
        return self.sha256 or self.git_sha1


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit."""

    repo_id: str
    revision: str
    """The commit."""
    files: Mapping[str, RemoteFile]
    languages: tuple[str, ...]
    """As the model card states them."""
    licence: str | None


@dataclass(frozen=True)
class PinnedFile:
    """A file on this machine."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Pinned:
    """What was downloaded of a repository."""

    repo_id: str
    revision: str
    files: Mapping[str, PinnedFile]
    languages: tuple[str, ...] = ()
    licence: str | None = None
    pulled_at: str = ""

    @property
    def folder(self) -> Path:
        """Return the folder of the files."""
        return hub.cache_folder(self.repo_id) / "snapshots" / self.revision

    def is_here(self) -> bool:
        """Return whether all files are still there, judging by their sizes."""
        try:
            return all((self.folder / name).stat().st_size == file.size for name, file in self.files.items())
        except OSError:
            return False


def read_pinned(models_dir: Path, repo_id: str, revision: str | None = None) -> Pinned | None:
    """Return what was downloaded of a repository, or None if nothing was or files are gone."""
    try:
        found = json.loads(_record(models_dir, repo_id, revision).read_text())
        files = {name: PinnedFile(**each) for name, each in found.pop("files").items()}
        pinned = Pinned(files=files, **{**found, "languages": tuple(found.get("languages", ()))})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return pinned if pinned.is_here() else None


def listing(repo_id: str, revision: str | None = None) -> Listing:
    """Return the files of a repository at a branch, tag or commit, by default at the newest commit.

    Raises: WeightsError: if the hub does not respond within seconds, or has no such repository.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise WeightsError("the Python package huggingface_hub is not installed") from error
    if switch := hub.offline_switch():
        raise WeightsError(f"{switch} is set, so the network was not used")
    found: list[Any] = []

    def ask() -> None:
        api = huggingface_hub.HfApi()
        found.append(api.model_info(repo_id, revision=revision, files_metadata=True, timeout=hub.RESPONSE_TIMEOUT_S))

    hub.probe(hub.host(), ask)
    [info] = found
    files = {
        each.rfilename: RemoteFile(each.size or 0, each.lfs.sha256 if each.lfs else None, each.blob_id)
        for each in info.siblings or ()
    }
    card = info.card_data
    languages = getattr(card, "language", None) or ()
    return Listing(
        repo_id,
        info.sha or revision or "main",
        files,
        tuple([languages] if isinstance(languages, str) else languages),
        getattr(card, "license", None),
    )


def fetch(found: Listing, names: Sequence[str], models_dir: Path | None, revision: str | None = None) -> Path:
    """Download files of a repository, check them, and return their folder.

    An interrupted download is continued. `models_dir`: where to note what was downloaded; None: nowhere. `revision`:
    what the user asked for, if that was not the newest commit.

    Raises: WeightsError: if the disk is too small, the download fails, or a file is not what the hub announced.
    """
    missing = [name for name in names if name not in found.files]
    if missing:
        raise WeightsError(f"{found.repo_id} at {hub.host()} has no {' and no '.join(missing)}")
    _check_disk(found, names)
    # In the patterns of the library, these characters have a meaning.
    patterns = [re.sub(r"([*?[])", r"[\1]", name) for name in names]
    command = [sys.executable, "-P", "-m", "nightscribe.worker.weights.hub_download", found.repo_id, found.revision]
    done = fetched([*command, *patterns], into=hub.cache_folder(found.repo_id), stdout=subprocess.PIPE, stderr=None)
    output = done.stdout.splitlines() or [f"it ended with exit code {done.returncode}"]
    if done.returncode != 0:
        raise WeightsError(f"the download of {found.repo_id} from {hub.host()} failed: {output[0].rstrip('.')}")
    folder = Path(output[-1])
    hashes = {name: _checked(folder / name, found.files[name], found.repo_id) for name in names}
    if revision is None:
        # The library notes only branches that it was asked for by name; other programs look for this one.
        (reference := hub.cache_folder(found.repo_id) / "refs" / "main").parent.mkdir(exist_ok=True)
        reference.write_text(found.revision)
    if models_dir is not None:
        files = {name: PinnedFile((folder / name).stat().st_size, hashes[name]) for name in names}
        before = read_pinned(models_dir, found.repo_id, revision)
        if before and before.revision == found.revision:
            files = {**before.files, **files}
        _write(
            _record(models_dir, found.repo_id, revision),
            Pinned(found.repo_id, found.revision, files, found.languages, found.licence, _now()),
        )
    return folder


def matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that fit one of the patterns."""
    return [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def forget(models_dir: Path, repo_id: str) -> list[Path]:
    """Delete the notes on what was downloaded of a repository, and return the folders whose content they describe."""
    found = []
    for record in (models_dir / FOLDER).glob(f"{_name(repo_id)}*.json"):
        if record.stem.partition("@")[0] == _name(repo_id):
            record.unlink(missing_ok=True)
            found.append(record)
    return found


def all_pinned(models_dir: Path) -> list[Pinned]:
    """Return everything that was downloaded and is still there."""
    found = []
    for record in sorted((models_dir / FOLDER).glob("*.json")):
        name, _, revision = record.stem.partition("@")
        if pinned := read_pinned(models_dir, name.replace("--", "/", 1), revision or None):
            found.append(pinned)
    return found


def _name(repo_id: str) -> str:
    return repo_id.replace("/", "--")


def _record(models_dir: Path, repo_id: str, revision: str | None) -> Path:
    asked = "@" + re.sub(r"[^\w.-]", "_", revision) if revision else ""
    return models_dir / FOLDER / f"{_name(repo_id)}{asked}.json"


def _write(path: Path, pinned: Pinned) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(asdict(pinned), indent=1))
    scratch.replace(path)


def _check_disk(found: Listing, names: Sequence[str]) -> None:
    """Raise WeightsError if the files that are not in the cache yet do not fit on its disk."""
    cache = hub.cache_folder(found.repo_id)
    new = [found.files[name] for name in names if not (cache / "blobs" / (found.files[name].blob or "-")).exists()]
    needed = sum(file.size for file in new)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if needed > (free := shutil.disk_usage(existing).free):
        raise WeightsError(
            f"{found.repo_id} needs {needed / 2**20:.0f} MiB, and {existing} has only {free / 2**20:.0f} MiB free. "
            "Free some space, or set HF_HOME to a folder on another disk"
        )


def _checked(path: Path, announced: RemoteFile, repo_id: str) -> str:
    """Return the SHA-256 of a downloaded file. Raises: WeightsError: if it is not the announced file; it is deleted."""
    sha256 = hashlib.sha256()
    size = path.stat().st_size
    sha1 = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # source: git, "Git Objects"
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            sha1.update(chunk)
            report_alive()
    right = sha256.hexdigest() == announced.sha256 if announced.sha256 else sha1.hexdigest() == announced.git_sha1
    if not right:
        blob = path.resolve()
        path.unlink()
        blob.unlink(missing_ok=True)
        raise WeightsError(
            f"{path.name} of {repo_id} from {hub.host()} does not have the announced SHA-256, so it was deleted"
        )
    return sha256.hexdigest()


def _now() -> str:
    return datetime.now(UTC).replace(microsecond=0).isoformat()
