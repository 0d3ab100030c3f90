"""What can be known before any work is wasted."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from nightscribe.location import Location
from nightscribe.services import bucket_check
from nightscribe.shared.audio.probe import ffmpeg_path
from nightscribe.shared.destination.keys import with_suffix
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.settings import Settings, cache_folder
from nightscribe.shared.storage.s3.client import Bucket
from nightscribe.views.humanize import printable
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.weights.catalogue import is_english_only

LOGS = "logs"
MIN_FREE_BYTES = 64 * 2**20  # transcripts are small; a disk with less will be full before morning


def check_source(source: Location, settings: Settings) -> None:
    """Raises: SetupError: unless it is a folder or a bucket that can be read. RetryableError: if no bucket answers."""
    if isinstance(source, Bucket):
        bucket_check.check_readable(source, settings)
        return
    if printable(source.absolute()) != str(source.absolute()):
        raise SetupError(
            f"The path of SOURCE {str(source)!r} is not valid UTF-8, as ffmpeg needs it; rename that folder."
        )
    with _looking_at("SOURCE", source):
        is_file, is_folder = source.is_file(), source.is_dir()
    if is_file:
        raise SetupError(f"SOURCE {str(source)!r} is a file; give the folder that holds it.")
    if not is_folder:
        raise SetupError(f"SOURCE {str(source)!r} does not exist; give the folder that holds your recordings.")
    if not os.access(source, os.R_OK | os.X_OK):
        raise SetupError(f"SOURCE {str(source)!r} may not be read by this user; change its permissions.")


def check_dest(dest: Location, settings: Settings, *, create: bool) -> None:
    """Raises: SetupError: unless transcripts can be written there (or the folder made). RetryableError: as above."""
    if isinstance(dest, Bucket):
        bucket_check.check_writable(dest, settings) if create else bucket_check.check_listed(dest)
        return
    with _looking_at("DEST", dest):
        is_other = dest.exists() and not dest.is_dir()
    if is_other:
        raise SetupError(f"DEST {str(dest)!r} is a file; give a folder.")
    if not create:
        return
    try:
        logs = dest / RECORDS_FOLDER / LOGS
        logs.mkdir(parents=True, exist_ok=True)
        for folder in (dest, dest / RECORDS_FOLDER, logs):
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise SetupError(
            f"DEST {str(dest)!r} cannot be written ({error.strerror}: {error.filename}); choose another folder or "
            "change its permissions."
        ) from None
    if lack := lack_of_room(dest):
        raise SetupError(f"{lack}; make room (64 MB at least) or choose another.")


def lack_of_room(dest: Location) -> str | None:
    """The beginning of a sentence on a disk that is full or soon will be: how little is left of it."""
    if isinstance(dest, Bucket):  # which is never full
        return None
    with suppress(OSError):  # a share that is away is noticed by whoever writes to it
        free = shutil.disk_usage(dest).free
        if free < MIN_FREE_BYTES:
            return f"DEST {str(dest)!r} has only {free // 2**20} MB free"
    return None


def folder_of_run(dest: Location) -> Path:
    """Where the lock and the logs of a `run` into a destination are, on this machine; it is there.

    Raises: SetupError: if it cannot be made.
    """
    if isinstance(dest, Path):
        return dest / RECORDS_FOLDER  # made by `check_dest`
    name = quote(str(dest).removeprefix("s3://"), safe="")
    folder = cache_folder() / "runs" / with_suffix(name, "")
    try:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"There is no place for the logs of a run into {dest} ({error.strerror}: {error.filename}); set "
            "XDG_CACHE_HOME to a folder that can be written."
        ) from None
    return folder


def check_records(dest: Location) -> None:
    """Raises: SetupError: unless it is a destination that a run or a director has worked into."""
    if isinstance(dest, Bucket):
        bucket_check.check_records(dest)
        return
    with _looking_at("DEST", dest):
        is_folder, has_records = dest.is_dir(), (dest / RECORDS_FOLDER).is_dir()
    if not is_folder:
        raise SetupError(f"DEST {str(dest)!r} does not exist; give the folder of your transcripts.")
    if not has_records:
        raise SetupError(
            f"DEST {str(dest)!r} holds no records of nightscribe (no folder {RECORDS_FOLDER} in it); "
            "give the folder that `run` or `director` was given as DEST."
        )


@contextmanager
def _looking_at(what: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"{what} {str(folder)!r} cannot be looked at ({error.strerror}: {error.filename}); give another folder, or "
            "change the permissions of it and of those above it."
        ) from None


def check_options(settings: Settings) -> None:
    """Raise SetupError if the engine, the model, the language and the task do not go together."""
    engines.check(settings.engine, settings.model, language=settings.language, task=settings.task)
    if not is_english_only(settings.model):
        return
    if settings.language not in ("auto", "en"):
        raise SetupError(
            f"The model {settings.model} knows only English, and the language is {settings.language}. "
            f"Take --model {settings.model.removesuffix('.en')}."
        )
    if settings.task == "translate":
        raise SetupError(
            f"The model {settings.model} knows only English and cannot translate. "
            f"Take --model {settings.model.removesuffix('.en')}."
        )


def check_engine(settings: Settings) -> str:
    """Return the engine that will be used.

    Raises: SetupError: if it or ffmpeg is missing, or it cannot do what the settings ask.
    """
    engine = engines.choose(settings.engine)
    engines.check(engine, settings.model, language=settings.language, task=settings.task)
    ffmpeg_path()
    return engine
