"""The note of a destination about the table that is written into it."""

from pydantic import Field

from nightscribe.shared.model.versioned import Stored


class TableRecord(Stored):
    """Which table a run has read, and which it has written."""

    source: str = Field(description="The table or corpus that was read.")
    name: str = Field(description="Name of that table.")
    key: str = Field(description="Name of the table in the destination.")
    hashes: tuple[str, ...] = Field(
        description="SHA-256 of what was written last and before that, to notice what people change."
    )
    audio_column: str
    text_column: str | None = Field(default=None, description="Column with what was truly said, if there is one.")
    columns: tuple[str, ...] = Field(
        description="Names of the columns that were added: text, language, confidence, flags, duration."
    )
