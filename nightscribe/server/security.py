"""Refuse requests for other hosts, add to every response what tells browsers to be careful, and count requests."""

import time

from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nightscribe.server.config import ServerSettings
from nightscribe.server.errors import Problem
from nightscribe.server.hosts import is_allowed

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
REQUESTS = Counter(
    "nightscribe_http_requests",
    "Requests by method, endpoint and status.",
    ["method", "endpoint", "status"],
    registry=None,
)
REQUEST_SECONDS = Histogram(
    "nightscribe_http_request_seconds",
    "Time until a response was sent, by endpoint.",
    ["endpoint"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
    registry=None,
)
CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob: https:; style-src 'self'; "
    "script-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
CHECKS_OF_THE_MACHINE = ("/healthz", "/readyz", "/metrics")
"""Paths that load balancers and Prometheus request by address. They tell nothing of recordings."""


class Guard:
    """Middleware around everything else. A response may have set a header itself; then that one stays."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        began = time.perf_counter()
        status = 500

        async def careful(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        host = Headers(scope=scope).get("host", "")
        settings = self._settings
        if scope["path"] not in CHECKS_OF_THE_MACHINE and not is_allowed(
            host, settings.allowed_hosts, on_loopback=settings.is_loopback
        ):
            problem = Problem(
                code="unknown_host",
                message="This server is not known by the name in the request.",
                action="Use its own address, or add the name to NIGHTSCRIBE_ALLOWED_HOSTS.",
            )
            await JSONResponse(problem.model_dump(), 421)(scope, receive, careful)
            return
        try:
            await self._app(scope, receive, careful)
        finally:
            # The name of the endpoint, not the path, which names a recording.
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            REQUESTS.labels(scope["method"] if scope["method"] in METHODS else "other", endpoint, status).inc()
            REQUEST_SECONDS.labels(endpoint).observe(time.perf_counter() - began)
