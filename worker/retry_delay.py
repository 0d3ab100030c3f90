"""Compute how long a job waits before it is tried again. Pure."""

MAX_RETRY_DELAY_S = 900
FACTOR = 4.0  # ratio of each delay to the one before


def retry_delay_s(first_s: float, receive_count: int) -> float:
    """Return the delay before the next attempt, after `receive_count` attempts have failed."""
    return min(MAX_RETRY_DELAY_S, first_s * FACTOR ** (receive_count - 1))
