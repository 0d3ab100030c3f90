"""Serve recordings."""

from fastapi import APIRouter

router = APIRouter(prefix="/recordings", tags=["recordings"])
