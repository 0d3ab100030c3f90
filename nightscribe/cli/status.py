"""`nightscribe status`."""

from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location


@click.command()
@folders("dest")
@setting("queue_name", default="that of the last director")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until the run has ended or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --watch, one on each line.")
def status(dest: "Location", watch: bool, as_json: bool, **given: Any) -> None:
    """Show how things stand in DEST: what is queued, in progress, failed and done, and the time left.

    \b
    Examples:
      nightscribe status ~/transcripts
      nightscribe status ~/transcripts --watch
      nightscribe status ~/transcripts --json

    No message is received from the queue for that. Which recordings are queued is shown by the server of `run`, by
    ministack and by LocalStack; Amazon's only says how many jobs there are. --watch stays until a `run` that is at
    work has ended; with workers elsewhere, until Ctrl-C. Exit code: 0, 1 if recordings failed, 2 if DEST is no
    destination.
    """
    from nightscribe.views.status_watch import show

    chosen = load_settings(**given)
    dest.check_records(chosen.storage)
    raise SystemExit(show(dest, chosen, watch=watch, as_json=as_json))
