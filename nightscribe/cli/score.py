"""Define the command `nightscribe score`."""

from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location


@click.command()
@folders("dest")
@setting("log_level", default="warning")
@click.option("--text-column", metavar="COLUMN", default="", help="Column with what was truly said.  [default: found]")
@click.option("--worst", type=click.IntRange(min=0), default=10, show_default=True, help="Number of rows to show.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def score(dest: "Location", text_column: str, worst: int, as_json: bool, **given: Any) -> None:
    """Compare the texts of a table in DEST with what was truly said.

    \b
    Examples:
      nightscribe score texts
      nightscribe score texts --text-column reference --worst 50
      nightscribe score texts --json

    For a DEST of a `run` whose SOURCE is a table with a column such as sentence or text. Prints the word and character
    error rates of each language and of all rows, and the worst rows. Case, punctuation and signs do not count; in
    languages without spaces between words, each character counts as a word. Exit code: 0, 2 wrong use.
    """
    from nightscribe.log import configure_logging
    from nightscribe.services.score import as_json as to_json
    from nightscribe.services.score import score as service
    from nightscribe.views.score import score_lines

    settings = load_settings(**({"log_level": "warning"} | {k: v for k, v in given.items() if v is not None}))
    configure_logging(settings.log_level)
    storage = settings.storage
    dest.check_records(storage)
    found = service(dest, storage, column=text_column, worst=worst)
    for line in [to_json(found)] if as_json else score_lines(found):
        click.echo(line)
