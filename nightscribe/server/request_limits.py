"""Limit how often a caller may send requests, with one token bucket for each caller.

A bucket holds a minute's requests and is refilled at a steady rate. What is kept is only in memory: a restart forgives.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from nightscribe.server.auth import COOKIE, FORWARDING_HEADERS
from nightscribe.server.errors import ApiError, Envelope
from nightscribe.server.jobs.receive import drain

MAX_CALLERS = 10_000
PER_ADDRESS = 10
"""How many callers' worth of requests one address may send, so that nobody gains by making up tokens."""
LIMITED = ("/api/", "/v1/", "/asr", "/detect-language")
"""Beginnings of the paths that are limited; pages and their assets are not."""


@dataclass
class _Bucket:
    left: float
    at: float


class RateLimiter:
    """Counts the requests of each caller."""

    def __init__(
        self,
        per_minute: float,
        burst: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_callers: int = MAX_CALLERS,
    ) -> None:
        self._per_s = per_minute / 60
        self._burst = burst
        self._clock = clock
        self._max_callers = max_callers
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str, cost: float = 1) -> float:
        """Count a request and return 0, or return after how many seconds it is allowed; then it does not count."""
        now = self._clock()
        bucket = self._buckets.setdefault(caller, _Bucket(self._burst, now))
        self._buckets.move_to_end(caller)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._per_s)
        bucket.at = now
        if (
            len(self._buckets) > self._max_callers
        ):  # the caller who has been silent for longest has probably a full bucket
            self._buckets.popitem(last=False)
        if bucket.left < min(cost, self._burst):
            return (min(cost, self._burst) - bucket.left) / self._per_s
        bucket.left -= cost
        return 0


class RequestLimits:
    """Middleware that refuses requests of callers who send too many."""

    def __init__(self, app: ASGIApp, per_minute: float, respond: Envelope) -> None:
        self._app, self._respond = app, respond
        self._callers = RateLimiter(per_minute, per_minute)
        self._addresses = RateLimiter(per_minute * PER_ADDRESS, per_minute * PER_ADDRESS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http" and scope["path"].startswith(LIMITED) and (wait_s := self._wait_s(Request(scope))):
            request = Request(scope, receive)
            await drain(request)
            error = ApiError(
                429, "too_many_requests", "There were too many requests.", "Try again after the given time.",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )  # fmt: skip
            await self._respond(request, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _wait_s(self, request: Request) -> float:
        address = request.client.host if request.client else ""
        proof = request.headers.get("authorization") or request.cookies.get(COOKIE) or ""
        if not proof and _is_loopback(address) and not any(name in request.headers for name in FORWARDING_HEADERS):
            return 0
        caller = hashlib.sha256(proof.encode()).hexdigest() if proof else address
        return self._addresses.take(address) or self._callers.take(caller)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
