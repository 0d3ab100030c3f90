"""`nightscribe health`: whether the director or worker of a container is at work. Asked all night; it loads little."""

from nightscribe.shared.process.liveness import MAX_AGE_S, why_dead


def health(max_age_s: float = MAX_AGE_S) -> int:
    """Say whether a sign of life came lately. Gives the exit code."""
    reason = why_dead(max_age_s)
    print(reason or "At work, or waiting for work.")
    return 1 if reason else 0
