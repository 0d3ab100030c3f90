"""Name misspelt NIGHTSCRIBE_ variables, which would otherwise silently change nothing."""

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

import click

ENV_PREFIX = "NIGHTSCRIBE_"

FLAGS = (
    *("SOURCE", "DEST", "WATCH", "REDO", "RETRY_FAILED", "CHECK", "DRY_RUN", "UNTIL_EMPTY", "INTERACTIVE"),
    *("INTERACTIVE_QUEUE", "PULSE", "GPU", "BUILD_SH", "SET_UP", "NOTIFY", "COMPLETE"),
)
"""Variables that are no settings: those of flags, and those that build.sh, the images and we ourselves set."""


SIMILAR = 0.8


def warn_of_misspelt() -> None:
    """Print a sentence for each variable that looks like one of ours and is none."""
    given = [name for name in os.environ if name.startswith(ENV_PREFIX) and name.removeprefix(ENV_PREFIX) not in FLAGS]
    if given:  # otherwise it is not worth importing the settings
        for line in misspelt(given):
            click.echo(line, err=True)


def misspelt(names: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each variable that nothing reads although its name is similar to one that is read."""
    from nightscribe.server.config import ServerSettings
    from nightscribe.shared.settings import FORMER_NAMES, Settings

    settings = (*Settings.model_fields, *ServerSettings.model_fields, *FORMER_NAMES)
    known = {*(name.upper() for name in settings), *FLAGS}
    for name in sorted(names):
        rest = name.removeprefix(ENV_PREFIX)
        if rest not in known and (near := get_close_matches(rest, known, n=1, cutoff=SIMILAR)):
            yield f"Nothing reads the variable {name}; did you mean {ENV_PREFIX}{near[0]}?"
