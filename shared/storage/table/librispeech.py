"""Make a table of a corpus that lies on disk like LibriSpeech: each folder has a list of what is said in its files."""

import posixpath

from nightscribe.shared.errors import SetupError
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.storage.table.table import Table, read_table

LIST = ".trans.txt"
COLUMNS = ("path", "text")


def librispeech_table(place: RecordingSource) -> Table:
    """Return the table of all utterances. Raises: SetupError: if there are none."""
    rows = []
    for folder in place.folders():
        names = {each.path.rpartition("/")[2] for each in folder.recordings}
        by_id = {posixpath.splitext(name)[0]: name for name in sorted(names) if not name.endswith(LIST)}
        for name in sorted(name for name in names if name.endswith(LIST)):
            with place.local(folder.path + name) as file, file.open("rb") as opened:
                lines = opened.read().decode("utf-8", "replace").splitlines()
            for line in lines:
                utterance, _, text = line.strip().partition(" ")
                if utterance:
                    rows.append((folder.path + by_id.get(utterance, f"{utterance}.flac"), text.strip()))
    if not rows:
        raise SetupError(
            "SOURCE does not have the layout of LibriSpeech: no folder has a file whose name ends in .trans.txt."
        )
    lines = [",".join(map(_quoted, row)) for row in (COLUMNS, *rows)]
    return read_table("librispeech.csv", "".join(f"{line}\n" for line in lines).encode())


def _quoted(cell: str) -> str:
    doubled = cell.replace('"', '""')
    return f'"{doubled}"'
