"""Define the command `nightscribe verify`."""

from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location


@click.command()
@folders("dest")
@folders("source", required=False)
@setting("follow_links")
@click.option("--repair", is_flag=True, help="Repair what needs no transcription; no transcript or text is deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(dest: "Location", source: "Location | None", repair: bool, as_json: bool, **given: Any) -> None:
    """Check everything in DEST and, with SOURCE, that each recording is the one that was transcribed.

    \b
    Examples:
      nightscribe verify ~/transcripts
      nightscribe verify ~/transcripts ~/recordings
      nightscribe verify ~/transcripts --repair
      nightscribe verify s3://transcripts/2012 s3://recordings/2012 --json

    Every record must be readable and its times possible, every text must match its record (texts corrected by hand are
    listed), and finished work must leave nothing over. With SOURCE, both ends of every recording are read, or all of
    it if the record has a hash of the whole. --repair writes missing texts, removes leftovers, and moves damaged
    records to .nightscribe/damaged/, so that the next run transcribes these recordings again. With SOURCE it also
    writes missing hashes. It is safe during a run: work in progress is left alone. Exit code: 0 no problem is left, 1
    problems, 2 wrong use.
    """
    from nightscribe.cli.signals import interruptible
    from nightscribe.services.verify import verify as service
    from nightscribe.views.progress import Display
    from nightscribe.views.verify import as_object, lines

    storage = load_settings(**given).storage
    dest.check_records(storage)
    if source is not None:
        source.check_source(storage)
    with interruptible(), Display() as display:
        verified = service(dest, source, options=storage, repair=repair, on_event=display.show)
    for line in [as_object(verified)] if as_json else lines(verified, repair=repair):
        click.echo(line)
    raise SystemExit(0 if verified.is_clean else 1)
