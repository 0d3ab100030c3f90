"""Put the server together: what is mounted where, what runs beside it, and what holds for every response."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI

from nightscribe.search.library import Facets
from nightscribe.server import api, compat, errors, pages
from nightscribe.server.auth import LOGIN_TRIES, LOGIN_WINDOW_S
from nightscribe.server.context import Context
from nightscribe.server.index_keeper import keep_index
from nightscribe.server.rate_limits import Limiter
from nightscribe.server.request_limits import RequestLimits
from nightscribe.server.security import Guard
from nightscribe.server.seldom import Seldom
from nightscribe.services.library import Counted
from nightscribe.services.status import Status

Background = Callable[[Context], AbstractContextManager[object]]
"""Something that runs while the server runs, such as a thread: entered when it starts, left when it stops."""

FLEET_AGE_S = 2.0
"""How old the status of the fleet may be at least: it counts all records, and every open page requests it."""
QUICK_S = 0.05
"""What takes less is done for every request."""

DESCRIPTION = """Recordings, their transcripts and the jobs that make them.

Send a token in the header `Authorization: Bearer ns_…`; on the machine of the server, none is required. An error is a
JSON object with a `code` for programs, a `message` for people, and an `action`: what to do about it."""


def create_app(context: Context, background: Sequence[Background] = ()) -> FastAPI:
    """Return the application that serves a destination.

    `background`: what else runs as long as it does; started in this order and stopped in the reverse one, in a thread.
    """

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        # Linux ends a child when the thread that started it ends, so this thread lives as long as the server.
        with ThreadPoolExecutor(1, "background") as thread:
            in_thread = partial(asyncio.get_running_loop().run_in_executor, thread)
            async with AsyncExitStack() as stack:
                for each in (keep_index, *background):
                    manager = each(context)
                    await in_thread(manager.__enter__)
                    stack.push_async_callback(in_thread, manager.__exit__, None, None, None)
                yield

    app = FastAPI(
        title="nightscribe",
        version=version("nightscribe"),
        description=DESCRIPTION,
        lifespan=running,
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": errors.Problem, "description": "An error."}},
    )
    app.state.context = context
    app.state.fleet = Seldom[Status](least_s=FLEET_AGE_S)
    app.state.counts = Seldom[Counted](quick_s=QUICK_S)
    app.state.facets = Seldom[Facets](quick_s=QUICK_S)
    app.state.login_limiter = Limiter(LOGIN_TRIES, LOGIN_WINDOW_S)
    for router in (*api.routers(), *compat.routers(), *pages.routers()):
        app.include_router(router)
    respond = errors.install(app, {**pages.envelopes(), **compat.envelopes()})
    if context.server.requests_per_minute:
        app.add_middleware(RequestLimits, per_minute=context.server.requests_per_minute, respond=respond)
    app.add_middleware(Guard, settings=context.server)
    return app
