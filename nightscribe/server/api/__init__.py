"""The API for programs, below `/api/v1`: one module for each kind of thing."""

from fastapi import APIRouter, Depends

from nightscribe.server.api import (
    docs,
    events,
    fleet,
    health,
    jobs,
    log,
    media,
    recordings,
    search,
    session,
    speakers,
    text,
    tokens,
    uploads,
    urls,
)
from nightscribe.server.auth import bearer
from nightscribe.server.webhooks import routes as webhooks

PREFIX = "/api/v1"


def routers() -> list[APIRouter]:
    """Return everything that is mounted by `create_app`; the modules name their own paths."""
    api = APIRouter(prefix=PREFIX, dependencies=[Depends(bearer)])
    recordings_api = (recordings, text, media, search, speakers)
    for module in (*recordings_api, urls, jobs, uploads, events, fleet, tokens, webhooks, log, session):
        api.include_router(module.router)
    return [api, docs.router, health.router]
