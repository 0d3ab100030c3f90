"""Define the command `nightscribe health` with options; without any, only `health_check` is loaded."""

import click

from nightscribe.cli.health_check import check_health
from nightscribe.shared.process.liveness import MAX_AGE_S


@click.command()
@click.option("--within", "max_age_s", type=float, default=MAX_AGE_S, show_default=True, help="Seconds.")
def health(max_age_s: float) -> None:
    """Check whether the director or worker of this container has recently shown a sign of life.

    \b
    Examples:
      NIGHTSCRIBE_PULSE=/tmp/pulse nightscribe health --within 60
      docker exec CONTAINER nightscribe health

    As their work proceeds, they touch the file that NIGHTSCRIBE_PULSE names; the images set it. Exit code: 0, or 1 if
    there was no sign of life.
    """
    raise SystemExit(check_health(max_age_s))
