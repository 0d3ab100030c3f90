"""Serve the files that pages load: styles and scripts."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from nightscribe.server.errors import not_found
from nightscribe.server.pages.site import STATIC

router = APIRouter(include_in_schema=False)
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"


@router.get("/static/{version}/{name}")
def static(version: str, name: str) -> FileResponse:  # noqa: ARG001  only makes each version another address
    """Return a file. Its address changes with its content, so browsers keep it."""
    path = STATIC / name
    if path.parent != STATIC or path.suffix not in TYPES or not path.is_file():
        raise not_found("file")
    return FileResponse(path, media_type=TYPES[path.suffix], headers={"Cache-Control": FOREVER})


@router.get("/favicon.ico")
def favicon() -> FileResponse:
    """Return the sign of the pages."""
    return FileResponse(STATIC / "icon.svg", media_type=TYPES[".svg"], headers={"Cache-Control": "max-age=86400"})
