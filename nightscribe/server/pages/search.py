"""The page that searches all transcripts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from nightscribe.search.base import Filters
from nightscribe.server.context import Serving
from nightscribe.server.pages.site import Visitor, address, page, part
from nightscribe.server.pages.state import state_of
from nightscribe.services.search import search as search_for

router = APIRouter(include_in_schema=False)
PER_PAGE = 30


@router.get("/search")
def search(
    request: Request,
    principal: Visitor,
    context: Serving,
    *,
    q: Annotated[str, Query(max_length=500)] = "",
    folder: Annotated[str, Query(max_length=4000)] = "",
    speaker: Annotated[str, Query(max_length=200)] = "",
    language: Annotated[str, Query(max_length=20)] = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=10_000)] = 1,
) -> HTMLResponse:
    """Show the passages that hold some words."""
    folder = principal.within(folder)
    found = None
    if q.strip():
        filters = Filters(speaker=speaker, language=language, folder=folder)
        offset = (page_number - 1) * PER_PAGE
        found = search_for(
            context.dest, q, filters, limit=PER_PAGE, offset=offset, fresh=False, options=context.storage
        ).result
    chosen = {"folder": folder if folder != principal.folder else "", "speaker": speaker, "language": language}
    values: dict[str, Any] = {
        "q": q,
        "found": found,
        "number": page_number,
        "n_pages": max(1, -(-found.n_hits // PER_PAGE)) if found else 1,
        "is_reading": found is not None and found.checked_at is None,
        "url": lambda **changes: address("/search", **({"q": q} | chosen | changes)),
        **chosen,
    }
    if request.headers.get("x-part") == "results":
        return part("_hits.html", **values)
    facets = state_of(request).facets.get(folder.strip("/"))
    return page(request, "search.html", principal, here="/search", facets=facets, **values)
