"""`nightscribe health`, where it is called with options; without any, `health_check` is called alone."""

import click

from nightscribe.cli.health_check import check_health
from nightscribe.shared.process.liveness import MAX_AGE_S


@click.command()
@click.option("--within", "max_age_s", type=float, default=MAX_AGE_S, show_default=True, help="Seconds.")
def health(max_age_s: float) -> None:
    """Check whether the director or worker of this container has shown a sign of life lately.

    \b
    Examples:
      NIGHTSCRIBE_PULSE=/tmp/pulse nightscribe health --within 60
      docker exec CONTAINER nightscribe health

    They touch the file that NIGHTSCRIBE_PULSE names as their work goes on; the images name one. Exit code: 0, or 1
    where there was no sign of life.
    """
    raise SystemExit(check_health(max_age_s))
