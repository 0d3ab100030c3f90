"""The pages for people: HTML from templates, with a little JavaScript, over the same services as the API."""

from collections.abc import Mapping

from fastapi import APIRouter

from nightscribe.server.errors import Envelope


def routers() -> list[APIRouter]:
    """Return everything that is mounted by `create_app`; the routers name their own paths."""
    from nightscribe.server.pages import fleet, library, login, recording, search, shares, static

    return [module.router for module in (static, login, library, recording, search, fleet, shares)]


def envelopes() -> Mapping[str, Envelope]:
    """Return how errors look to people."""
    from nightscribe.server.pages import login

    return login.envelopes()
