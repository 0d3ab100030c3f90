"""Say whether the server is alive and ready, and serve its metrics."""

from functools import cache

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from sqlalchemy import text

from nightscribe.server.context import Serving
from nightscribe.server.security import REQUEST_SECONDS, REQUESTS
from nightscribe.shared.model.jobs import RECORDS_FOLDER

router = APIRouter(tags=["health"])


@router.get("/healthz", response_class=PlainTextResponse)
async def alive() -> str:
    """Respond as long as the process serves requests."""
    return "ok"


@router.get("/readyz", response_class=PlainTextResponse)
def ready(context: Serving) -> str:
    """Respond with 200 if the database and the destination are reachable, otherwise with 503 and the reason."""
    with context.database.read() as session:
        session.execute(text("SELECT 1"))
    context.dest.open_store(context.storage).listing(f"{RECORDS_FOLDER}/")
    return "ok"


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Return the metrics of this process for Prometheus. No label names a recording."""
    return Response(generate_latest(_registry()), media_type=CONTENT_TYPE_LATEST)


@cache
def _registry() -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(REQUESTS)
    made.register(REQUEST_SECONDS)
    ProcessCollector(registry=made)
    return made
