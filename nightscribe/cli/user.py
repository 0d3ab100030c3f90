"""Name the person who types a command, for corrections and for the log."""

import getpass


def user_name() -> str:
    """Return the name of this user's account, or `unknown` if there is none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
