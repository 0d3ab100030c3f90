"""Find the columns of a table by their names. Pure."""

from collections.abc import Collection, Iterable, Sequence

from nightscribe.shared.errors import SetupError

AUDIO = (
    *("audio_filepath", "audio_path", "audio_file", "audio_filename", "filename", "file_name", "file", "filepath"),
    *("file_path", "path", "audio", "wav", "clip", "recording", "media", "source", "url", "uri"),
)
TEXT = (
    *("sentence", "text", "transcript", "transcription", "reference", "raw_transcription", "normalized_text"),
    *("normalized_transcription", "ground_truth", "label"),
)
NEW = ("generated_text", "language", "confidence", "flags", "duration")


def audio_column(columns: Sequence[str], wanted: str, name: str) -> str:
    """Return the column that names the recordings. Raises: SetupError: if there is none."""
    if wanted:
        if (found := _named(columns, [wanted])) is None:
            raise SetupError(f"The table {name!r} has no column {wanted!r}. It has {_listed(columns)}.")
        return found
    if (found := _named(columns, AUDIO)) is None:
        raise SetupError(
            f"The table {name!r} has no column that names the recordings, such as filename or path. It has "
            f"{_listed(columns)}; name the right one with --audio-column."
        )
    return found


def text_column(columns: Sequence[str], wanted: str = "") -> str | None:
    """Return the column with what was truly said, or None. Raises: SetupError: if the one wanted does not exist."""
    found = _named(columns, [wanted] if wanted else TEXT)
    if wanted and found is None:
        raise SetupError(f"There is no column {wanted!r} with what was said. There are {_listed(columns)}.")
    return found


def new_columns(columns: Collection[str]) -> tuple[str, ...]:
    """Return the names of the columns to add, in the order of `NEW`, other than those that there are."""
    taken = {each.casefold() for each in columns}
    found = []
    for name in NEW:
        other = name if name.startswith("generated_") else f"generated_{name}"
        tries = (name, other, *(f"{other}_{n}" for n in range(2, 1000)))
        found.append(next(each for each in tries if each.casefold() not in taken))
        taken.add(found[-1].casefold())
    return tuple(found)


def _named(columns: Sequence[str], names: Iterable[str]) -> str | None:
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    return next((by_name[name.casefold()] for name in names if name.casefold() in by_name), None)


def _listed(columns: Sequence[str]) -> str:
    some = ", ".join(repr(each) for each in columns[:12])
    return f"{some} and {len(columns) - 12} more" if len(columns) > 12 else some or "none"
