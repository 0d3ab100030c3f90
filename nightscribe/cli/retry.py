"""`nightscribe retry`."""

from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location


@click.command()
@folders("dest")
@setting("queue_name", default="that of the last director")
@click.option(
    "--name", "names", multiple=True, metavar="GLOB", help="Only recordings whose path matches, or has this in it."
)
@click.option(
    "--reason", "reasons", multiple=True, metavar="TEXT", help="Only those that failed for a reason with this in it."
)
@click.option("--dry-run", is_flag=True, help="Only list what would be retried.")
def retry(dest: "Location", names: tuple[str, ...], reasons: tuple[str, ...], dry_run: bool, **given: Any) -> None:
    """Let recordings that failed in DEST be tried again.

    \b
    Examples:
      nightscribe retry ~/transcripts
      nightscribe retry ~/transcripts --name '2012/*' --name interview
      nightscribe retry ~/transcripts --reason memory --dry-run

    Capitals do not matter. Of several names, one must match, and so of several reasons. After a `run`, type the command
    that is shown; after a `director`, they are queued at once if this machine sees its source. Exit code: 0, or 2 if
    DEST is no destination.
    """
    from nightscribe.services.retry import retry as service
    from nightscribe.views.progress import Display
    from nightscribe.views.retry import show

    dest.check_records(load_settings(**given).storage)
    with Display() as display:
        retried = service(dest, names, reasons, dry_run=dry_run, tell=display.show, **given)
    show(retried, all_meant=not (names or reasons))
