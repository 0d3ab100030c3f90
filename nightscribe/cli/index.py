"""Define the command `nightscribe index`."""

from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location


@click.command()
@folders("dest")
@click.option("--source", metavar="SOURCE", help="Where the recordings are, for the links in results.")
@click.option("--rebuild", is_flag=True, help="Make the index again from the records.")
@setting("log_level", default="warning")
def index(dest: "Location", source: str | None, rebuild: bool, **given: Any) -> None:
    """Bring the search index of DEST up to date.

    \b
    Examples:
      nightscribe index ~/transcripts
      nightscribe index ~/transcripts --rebuild
      nightscribe index s3://transcripts/2012 --source ~/recordings

    `search` does this by itself; do it beforehand after a first large run, or at night by cron. Only records that have
    changed are read. The index lies in DEST/.nightscribe/search, or in your cache folder if DEST is a bucket or a
    network share. It is made from the records, so it needs no backup. Exit code: 0, or 2 if DEST is not a destination.
    """
    from nightscribe.cli.signals import interruptible
    from nightscribe.log import configure_logging
    from nightscribe.services.search import index as service
    from nightscribe.shared.storage.registry import parse_location
    from nightscribe.views.progress import Display
    from nightscribe.views.search import index_lines

    settings = load_settings(**({"log_level": "warning"} | {k: v for k, v in given.items() if v is not None}))
    configure_logging(settings.log_level)
    dest.check_records(settings.storage)
    with interruptible(), Display() as display:
        done = service(
            dest,
            options=settings.storage,
            source=parse_location(source) if source else None,
            rebuild=rebuild,
            on_event=display.show,
        )
    for line in index_lines(done):
        click.echo(line)
