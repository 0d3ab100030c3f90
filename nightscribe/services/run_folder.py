"""Where the lock and the logs of a `run` lie."""

from pathlib import Path
from urllib.parse import quote

from nightscribe.shared.destination.keys import with_suffix
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.settings import cache_folder
from nightscribe.shared.storage.base import LOGS, Location


def run_folder(dest: Location) -> Path:
    """Return the folder of this machine for the lock and the logs of a run into a destination; both exist.

    It is in the destination itself where that is a folder, and otherwise in this user's cache.
    Raises: SetupError: if it cannot be made.
    """
    if dest.local_path is not None:
        return dest.local_path / RECORDS_FOLDER  # made by `check_dest`
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
