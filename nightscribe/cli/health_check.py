"""Check whether the director or worker of a container is alive. It is called all night, so it imports little."""

from nightscribe.shared.process.liveness import MAX_AGE_S, why_dead


def check_health(max_age_s: float = MAX_AGE_S) -> int:
    """Print whether there was a sign of life in the last `max_age_s` seconds. Returns: the exit code."""
    reason = why_dead(max_age_s)
    print(reason or "Working, or waiting for work.")
    return 1 if reason else 0
