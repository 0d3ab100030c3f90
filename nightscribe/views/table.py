"""Show what a run has written into its table, and how right the texts are."""

from nightscribe.services.events import TableWritten
from nightscribe.shared.storage.base import Location
from nightscribe.terminal import visible


def table_lines(written: TableWritten, dest: Location) -> list[str]:
    """Return the lines about a table."""
    head = f"Table: {dest.display(written.place)} ({written.n_texts:,} of {written.n_rows:,} rows have their text)"
    return [visible(head), *(visible(f"  {remark}") for remark in written.remarks)]
