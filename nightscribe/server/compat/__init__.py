"""APIs that other programs already speak."""

from collections.abc import Mapping

from fastapi import APIRouter

from nightscribe.server.errors import Envelope


def routers() -> list[APIRouter]:
    """Return everything that is mounted by `create_app`; the routers name their own paths."""
    return []


def envelopes() -> Mapping[str, Envelope]:
    """Return how errors look below each of these paths; elsewhere they look as `errors.Problem` says."""
    return {}
