"""Serve speakers."""

from fastapi import APIRouter

router = APIRouter(prefix="/speakers", tags=["speakers"])
