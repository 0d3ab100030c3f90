"""Say where the database of a server lies if it is a file. This module loads no database."""

import os
from pathlib import Path
from urllib.parse import quote

from nightscribe.search.place import is_shared
from nightscribe.shared.destination.keys import with_suffix
from nightscribe.shared.model.jobs import RECORDS_FOLDER
from nightscribe.shared.storage.base import Location

FILE = "server.sqlite"


def state_folder() -> Path:
    """Return the folder for what this machine keeps for this user and cannot make again."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "nightscribe"


def default_path(dest: Location) -> Path:
    """Return the file of the database: in DEST if that is a folder of this machine, else in this user's state folder.

    SQLite's locks do not work between machines, so it never lies on a share.
    """
    folder = dest.local_path
    if folder is not None:
        inside = folder.absolute() / RECORDS_FOLDER / "server"
        if not is_shared(inside.parent if inside.parent.is_dir() else folder.absolute()):
            return inside / FILE
    name = quote(str(dest.absolute()), safe="")
    return state_folder() / with_suffix(name, "") / FILE
