"""Use a table, or a corpus of speech as it lies on disk, as SOURCE."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from nightscribe.shared.errors import NightscribeError, RetryableError, SetupError
from nightscribe.shared.model.paths import suffix
from nightscribe.shared.storage.base import Location, RecordingSource, StorageOptions, TranscriptStore
from nightscribe.shared.storage.table.columns import audio_column, text_column
from nightscribe.shared.storage.table.librispeech import librispeech_table
from nightscribe.shared.storage.table.source import Listing, TableSource, entries_of, named_recording
from nightscribe.shared.storage.table.table import SUFFIXES, read_table

COMMON_VOICE, LIBRISPEECH, AUTO = "common-voice", "librispeech", "auto"
COMMON_VOICE_CLIPS = "clips/"
COMMON_VOICE_TABLES = ("validated.tsv", "other.tsv", "train.tsv", "test.tsv", "dev.tsv")


def is_table(name: str) -> bool:
    """Return whether a name is that of a table."""
    return suffix(name) in SUFFIXES


@dataclass(frozen=True)
class TableLocation(Location):
    """A table in a folder or a bucket."""

    place: Location
    name: str
    """Name of the table in its place. Of a corpus without a table, the name of the table to write."""
    has_table: bool = True

    def __str__(self) -> str:
        return self.place.display(self.name) if self.has_table else str(self.place)

    def absolute(self) -> Location:
        """See `Location.absolute`."""
        return replace(self, place=self.place.absolute()) if self.has_table else self.place.absolute()

    def open_source(self, options: StorageOptions, *, leave_out: Location | None = None) -> TableSource:
        """See `Location.open_source`."""
        from nightscribe.shared.storage.registry import parse_location

        place = self.place.open_source(options, leave_out=leave_out)
        return TableSource(
            place, lambda: self._listing(place, options), lambda url: parse_location(url).open_source(options)
        )

    def _listing(self, place: RecordingSource, options: StorageOptions) -> Listing:
        root = str(self.place.local_path.absolute()) if self.place.local_path else ""
        if not self.has_table:
            table = librispeech_table(place)
            column, prefix = "path", ""
        else:
            table = read_table(self.name, self._content(place))
            column = audio_column(table.columns, options.audio_column, self.name)
            prefix = _prefix(place, [row.text(column) for row in table.rows[:20]], table.columns, options.layout)
        entries, remote = entries_of(table, column, lambda value: named_recording(value, root, prefix))
        return Listing(self.name, table, entries, column, text_column(table.columns), remote)

    def _content(self, place: RecordingSource) -> bytes:
        try:
            with place.local(self.name) as file, file.open("rb") as opened:
                return opened.read()
        except RetryableError:
            raise
        except NightscribeError as error:
            raise SetupError(f"The table {str(self)!r} cannot be read. {error}") from None

    def open_store(self, options: StorageOptions) -> TranscriptStore:  # noqa: ARG002  none concerns it
        """See `Location.open_store`. Raises: SetupError: always."""
        raise SetupError(f"DEST {str(self)!r} is a table; give a folder or a bucket for the transcripts.")

    @property
    def poll_s(self) -> float:  # type: ignore[override]
        """See `Location.poll_s`."""
        return self.place.poll_s

    def check_source(self, options: StorageOptions) -> None:
        """See `Location.check_source`; it reads the table."""
        self.place.check_source(options)
        self.open_source(options).listing()

    def check_dest(self, options: StorageOptions, *, create: bool) -> None:
        """See `Location.check_dest`."""
        del create
        self.open_store(options)

    def check_records(self, options: StorageOptions) -> None:
        """See `Location.check_records`."""
        self.open_store(options)


def _prefix(place: RecordingSource, names: list[str], columns: tuple[str, ...], layout: str) -> str:
    """Return the folder below that of the table to which its names are relative."""
    if layout == COMMON_VOICE:
        return COMMON_VOICE_CLIPS
    if layout == AUTO and "client_id" in columns and not any(_exists(place, name) for name in names):
        return COMMON_VOICE_CLIPS if any(_exists(place, COMMON_VOICE_CLIPS + name) for name in names) else ""
    return ""


def _exists(place: RecordingSource, path: str) -> bool:
    with suppress(NightscribeError, OSError, ValueError):
        place.stat(path)
        return True
    return False


def with_layout(source: Location, options: StorageOptions) -> Location:
    """Return a source with the layout of a corpus that the user named; other sources as they are.

    Raises: SetupError: if the source does not have that layout.
    """
    if options.layout == AUTO or isinstance(source, TableLocation):
        return source
    if options.layout == LIBRISPEECH:
        name = Path(str(source.absolute()).rstrip("/")).name or LIBRISPEECH
        return TableLocation(source, f"{name}.csv", has_table=False)
    place = source.open_source(options)
    for name in COMMON_VOICE_TABLES:
        if _exists(place, name):
            return TableLocation(source, name)
    raise SetupError(
        f"SOURCE {str(source)!r} does not have the layout of Common Voice: it has no {COMMON_VOICE_TABLES[0]}. Give "
        "the folder of one language, or one of the tables in it."
    )
