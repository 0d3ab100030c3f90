"""Install what a command turns out to need, if it was started by build.sh, and start it again."""

import os
import subprocess
import sys
from typing import NoReturn

from nightscribe.shared.errors import ExtraMissing
from nightscribe.views.cli_hints import BUILD_SH

SET_UP = "NIGHTSCRIBE_SET_UP"
"""Names the extra that was installed before this command was started again, so that it is not tried for ever."""


def can_install(missing: ExtraMissing) -> bool:
    """Return whether build.sh started this command and has not just tried to install this."""
    return BUILD_SH in os.environ and os.environ.get(SET_UP) != missing.extra


def install_and_start_again(missing: ExtraMissing) -> NoReturn:
    """Replace this process by the same command, once build.sh has installed what is missing; else end."""
    done = subprocess.run(["bash", os.environ[BUILD_SH], "setup", missing.extra], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    os.environ[SET_UP] = missing.extra
    os.execv(sys.executable, [sys.executable, "-P", "-m", "nightscribe", *sys.argv[1:]])  # noqa: S606  no shell
