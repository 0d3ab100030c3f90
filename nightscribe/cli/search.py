"""Define the command `nightscribe search`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location


@click.command()
@folders("dest")
@click.argument("words", nargs=-1, required=True)
@click.option("--speaker", default="", metavar="NAME", help="Only what this speaker says.")
@click.option("--language", "spoken", default="", metavar="CODE", help="Only recordings in this language, such as en.")
@click.option("--folder", default="", metavar="PATH", help="Only recordings in this folder below SOURCE, or this one.")
@click.option("--since", metavar="DATE", help="Only recordings from this year, month or day on: 2012, 2012-05-31.")
@click.option("--until", metavar="DATE", help="Only recordings until the end of this year, month or day.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Hits on a page.")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True, help="Number of the page.")
@click.option("--source", metavar="SOURCE", help="Where the recordings are, for the commands that play a hit.")
@click.option("--no-update", is_flag=True, help="Search what is in the index without looking for new transcripts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@setting("log_level", default="warning")
def search(
    dest: "Location",
    words: tuple[str, ...],
    *,
    speaker: str,
    spoken: str,
    folder: str,
    since: str | None,
    until: str | None,
    limit: int,
    page: int,
    source: str | None,
    no_update: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Search all transcripts in DEST.

    \b
    Examples:
      nightscribe search ~/transcripts budget meeting
      nightscribe search ~/transcripts budget --folder 2012 --speaker Anna --since 2012-05
      nightscribe search ~/transcripts budget --page 2 --json
      nightscribe search s3://transcripts/2012 Straße

    \b
    What you can search for, in quotes for your shell:
      'budget meeting'     both words in one passage of about a sentence
      '"budget meeting"'   these words in this order
      'budg*'              words that begin so
      'budget OR money'    one of them
      'budget NOT money'   the first without the second
      'budget NEAR/5 cut'  with at most five words between them

    Case and accents are ignored, and ß is ss. Chinese, Japanese, Korean and Thai are found from one character on. A
    date is when the recording was last changed. New transcripts are put into the index first. Exit code: 0 if
    something is found, 1 if not, 2 for wrong use.
    """
    from nightscribe.cli.signals import interruptible
    from nightscribe.log import configure_logging
    from nightscribe.search.dates import filters_from
    from nightscribe.services.search import search as service
    from nightscribe.views.progress import Display
    from nightscribe.views.search import as_object, lines

    settings = load_settings(**({"log_level": "warning"} | {k: v for k, v in given.items() if v is not None}))
    configure_logging(settings.log_level)
    dest.check_records(settings.storage)
    filters = filters_from(speaker=speaker, language=spoken, folder=folder, since=since, until=until)
    with interruptible(), Display() as display:
        found = service(
            dest,
            " ".join(words),
            filters,
            limit=limit,
            offset=(page - 1) * limit,
            fresh=not no_update,
            options=settings.storage,
            on_event=display.show,
        )
    is_terminal = sys.stdout.isatty()
    for line in [as_object(found)] if as_json else lines(found, source, limit=limit, is_terminal=is_terminal):
        click.echo(line)
    raise SystemExit(0 if found.result.hits else 1)
