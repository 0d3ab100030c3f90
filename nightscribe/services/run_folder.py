"""Locate the lock and the logs of a `run`."""

from pathlib import Path
from urllib.parse import quote

from nightscribe.shared.destination.keys import with_suffix
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.settings import cache_folder
from nightscribe.shared.storage.base import LOGS, Location


def run_folder(dest: Location) -> Path:
    """Return this machine's folder for the lock and the logs of a run, created if necessary.

    It is in the destination if that is a folder, otherwise in this user's cache.
    Raises: SetupError: if it cannot be created.
    """
    if dest.local_path is not None:
        return dest.local_path / RECORDS_FOLDER  # created by `check_dest`
    name = quote(str(dest).removeprefix("s3://"), safe="")
    folder = cache_folder() / "runs" / with_suffix(name, "")
    try:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"The folder for the logs of a run into {dest} cannot be created ({error.strerror}: {error.filename}); set "
            "XDG_CACHE_HOME to a writable folder."
        ) from None
    return folder
