"""Define the command `nightscribe status`."""

from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location


@click.command()
@folders("dest")
@setting("queue_name", default="that of the last director")
@click.option("--watch", is_flag=True, help="Refresh every two seconds, until the run ends or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch, one a line.")
def status(dest: "Location", watch: bool, as_json: bool, **given: Any) -> None:
    """Show what is queued, in progress, failed and done in DEST, and the time left.

    \b
    Examples:
      nightscribe status ~/transcripts
      nightscribe status ~/transcripts --watch
      nightscribe status ~/transcripts --json

    No message is received from the queue. The server of `run`, ministack and LocalStack show which recordings are
    queued; Amazon SQS shows only the number of jobs. --watch stays until the current `run` has ended; with workers
    elsewhere, until Ctrl-C. Exit code: 0, 1 if recordings failed, 2 if DEST is not a destination.
    """
    from nightscribe.views.status_watch import show

    chosen = load_settings(**given)
    dest.check_records(chosen.storage)
    raise SystemExit(show(dest, chosen, watch=watch, as_json=as_json))
