"""Decide what becomes of a delivery after an attempt. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

_MINUTE_S, _HOUR_S = 60, 3600
DELAYS_S = (
    *(0, 5, 5 * _MINUTE_S, 30 * _MINUTE_S),
    *(2 * _HOUR_S, 5 * _HOUR_S, 10 * _HOUR_S, 14 * _HOUR_S, 20 * _HOUR_S, 24 * _HOUR_S),
)
"""Seconds before each attempt, counted from the one before it. Source: Standard Webhooks 1.0.0."""
JITTER = 0.2  # share of a delay by which it may grow, so that a receiver that returns is not overrun
MAX_DELAY_S = 24 * _HOUR_S


class Verdict(StrEnum):
    """What to do after an attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"  # after the last attempt
    GONE = "gone"  # the receiver wants no more messages


@dataclass(frozen=True)
class Outcome:
    """What an attempt led to: a status, or a sentence about why there is none."""

    status: int | None = None
    error: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Decision:
    """What becomes of a delivery."""

    verdict: Verdict
    delay_s: float = 0
    """Seconds until the next attempt, if there is one."""


def decide(n_attempts: int, outcome: Outcome, jitter: float) -> Decision:
    """Return what becomes of a delivery. Only a status of 2xx is success; a redirect is not followed.

    Args:
        n_attempts: attempts made so far, this one included.
        outcome: that of this attempt.
        jitter: a random number from 0 to 1.
    """
    if outcome.status is not None and 200 <= outcome.status < 300:
        return Decision(Verdict.DELIVERED)
    if outcome.status == 410:
        return Decision(Verdict.GONE)
    if n_attempts >= len(DELAYS_S):
        return Decision(Verdict.FAILED)
    planned_s = DELAYS_S[n_attempts] * (1 + JITTER * jitter)
    return Decision(Verdict.RETRY, max(planned_s, min(outcome.retry_after_s or 0, MAX_DELAY_S)))


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header states, as a number or as a date, or None if it states none."""
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(min(int(value), MAX_DELAY_S))
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now) / timedelta(seconds=1))
