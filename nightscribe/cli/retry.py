"""Define the command `nightscribe retry`."""

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
    "--name", "names", multiple=True, metavar="GLOB", help="Only recordings whose path matches or contains this."
)
@click.option("--reason", "reasons", multiple=True, metavar="TEXT", help="Only failures whose reason contains this.")
@click.option("--dry-run", is_flag=True, help="Only list what would be retried.")
def retry(dest: "Location", names: tuple[str, ...], reasons: tuple[str, ...], dry_run: bool, **given: Any) -> None:
    """Retry recordings that failed in DEST.

    \b
    Examples:
      nightscribe retry ~/transcripts
      nightscribe retry ~/transcripts --name '2012/*' --name interview
      nightscribe retry ~/transcripts --reason memory --dry-run

    Case is ignored. Of several names one must match, and likewise of several reasons. After a `run`, type the command
    that is shown; after a `director`, the recordings are queued at once if this machine sees its source. Exit code: 0,
    or 2 if DEST is not a destination.
    """
    from nightscribe.services.retry import retry as service
    from nightscribe.views.progress import Display
    from nightscribe.views.retry import show

    dest.check_records(load_settings(**given).storage)
    with Display() as display:
        retried = service(dest, names, reasons, dry_run=dry_run, on_event=display.show, **given)
    show(retried, all_meant=not (names or reasons))
