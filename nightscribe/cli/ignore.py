"""Define the command `nightscribe ignore`."""

from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings
from nightscribe.terminal import visible

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location


@click.command()
@folders("dest")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--undo", is_flag=True, help="Transcribe these again from the next run on.")
@setting("log_level", default="warning")
def ignore(dest: "Location", patterns: tuple[str, ...], *, undo: bool, **given: Any) -> None:
    """Leave recordings alone that always fail in DEST; without PATTERN, list what is ignored.

    \b
    Examples:
      nightscribe ignore ~/transcripts 2012/broken.mp3
      nightscribe ignore ~/transcripts 'phone/*.amr' 2013
      nightscribe ignore ~/transcripts
      nightscribe ignore ~/transcripts 2012/broken.mp3 --undo

    PATTERN is the path of a recording or a folder below SOURCE, or a glob of whole paths. Their failures are no longer
    listed, and runs neither try them nor count them, so that a run without other failures exits with 0. What has a
    transcript keeps it. Exit code: 0, 1 if --undo finds nothing of that name, 2 for wrong use.
    """
    from nightscribe.services.ignore import ignore as service
    from nightscribe.views.humanize import count

    if undo and not patterns:
        raise click.UsageError("With --undo, give what is no longer to be ignored.")
    storage = load_settings(**given).storage
    dest.check_records(storage)
    done = service(dest, patterns, undo=undo, options=storage)
    for each in done.unknown:
        click.echo(visible(f"{each!r} was not ignored."))
    if done.n_failures:
        click.echo(f"No longer listed: {count(done.n_failures, 'failure')}.")
    click.echo(("Ignored from now on:" if patterns else "Ignored:") if done.patterns else "Nothing is ignored.")
    for each in done.patterns:
        click.echo(visible(f"  {each}"))
    raise SystemExit(1 if done.unknown else 0)
