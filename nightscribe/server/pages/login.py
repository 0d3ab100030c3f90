"""The page to log in, and what readers see instead of an error in JSON."""

from collections.abc import Mapping
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from nightscribe.server.auth import log_in, log_out
from nightscribe.server.context import Serving
from nightscribe.server.errors import ApiError, Envelope
from nightscribe.server.pages.site import LoginNeeded, Visitor, page

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def form(request: Request, to: str = "/") -> HTMLResponse:
    """Show the form."""
    return page(request, "login.html", None, to=_inside(to), name="", problem="")


@router.post("/login")
def start(
    request: Request,
    context: Serving,
    password: str = Form(max_length=1000),
    name: str = Form(default="", max_length=200),
    to: str = Form(default="/", max_length=4000),
) -> Response:
    """Log in, and go to the page that was requested."""
    response = RedirectResponse(_inside(to), 303)
    try:
        log_in(context, request, response, name=name, secret=password)
    except ApiError as error:
        problem = f"{error.problem.message} {error.problem.action}"
        return page(request, "login.html", None, status_code=error.status, to=_inside(to), name=name, problem=problem)
    return response


@router.post("/logout")
def end(request: Request, principal: Visitor, context: Serving) -> JSONResponse:
    """Log out."""
    response = JSONResponse({"url": "/login"})
    log_out(context, request, response, principal)
    return response


def _inside(to: str) -> str:
    """Return an address of this server, or that of the first page."""
    is_ours = to.startswith("/") and not to.startswith("//") and "\\" not in to and to.isprintable()
    return to if is_ours else "/"


def envelopes() -> Mapping[str, Envelope]:
    """Return how errors look to people."""
    return {"/": _error}


def _error(request: Request, error: ApiError) -> Response:
    wants_page = "text/html" in request.headers.get("accept", "")
    if request.url.path.startswith(("/api/", "/v1/")) or not wants_page or request.headers.get("x-part"):
        return JSONResponse(error.problem.model_dump(), error.status, headers=error.headers)
    if isinstance(error, LoginNeeded):
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?to={quote(path)}" if path != "/" else "/login", 303)
    shown = page(request, "error.html", None, status_code=error.status, problem=error.problem)
    shown.headers.update(error.headers)
    return shown
