"""The pages for people."""

from fastapi import APIRouter


def routers() -> list[APIRouter]:
    """Return everything that is mounted by `create_app`; the routers name their own paths."""
    return []
