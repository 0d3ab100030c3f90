"""The first page: all recordings, what is being done, and how to add more."""

from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from nightscribe.report.page import page as report_page
from nightscribe.report.report import Done, Report, Suspicious
from nightscribe.search.library import SORTS, STATES, Choice, Sort, State
from nightscribe.server.auth import Principal
from nightscribe.server.context import Context, Serving
from nightscribe.server.errors import not_found
from nightscribe.server.pages.site import Place, Visitor, address, page, part, recording_url
from nightscribe.server.pages.state import state_of
from nightscribe.server.pages.tonight import Tonight, tonight
from nightscribe.services.library import Listed, list_recordings
from nightscribe.shared.destination.keys import REPORT

router = APIRouter(include_in_schema=False)
PER_PAGE = 50
FIRST_FOLDERS = 24
SORT_NAMES: dict[Sort, str] = {
    "newest": "Newest first",
    "oldest": "Oldest first",
    "name": "By name",
    "longest": "Longest first",
    "shortest": "Shortest first",
    "doubt": "Most doubt first",
}
STATE_NAMES: dict[State, str] = {
    "done": "Transcribed",
    "failed": "Failed",
    "review": "To review",
    "reviewed": "Reviewed",
}


@dataclass(frozen=True)
class Filters:
    """What a reader has chosen."""

    text: str = ""
    folder: str = ""
    state: str = ""
    flag: str = ""
    language: str = ""
    speaker: str = ""
    code: str = ""
    sort: str = "newest"
    number: int = 1

    @property
    def choice(self) -> Choice:
        """Return it for the service; an unknown value excludes nothing."""
        state = next((each for each in STATES if each == self.state), None)
        return Choice(
            text=self.text, folder=self.folder, state=state, flag=self.flag, language=self.language,
            speaker=self.speaker, code=self.code,
        )  # fmt: skip

    @property
    def is_narrow(self) -> bool:
        """Return whether anything but a folder is chosen."""
        return any((self.text, self.state, self.flag, self.language, self.speaker, self.code))

    def url(self, **changes: object) -> str:
        """Return the address of the same list with some choices changed. Without a number, it is its first page."""
        values: dict[str, Any] = {
            "q": self.text, "folder": self.folder, "state": self.state, "flag": self.flag, "language": self.language,
            "speaker": self.speaker, "code": self.code, "sort": self.sort if self.sort != "newest" else "",
        }  # fmt: skip
        return address("/", **(values | changes))


@router.get("/")
def library(
    request: Request,
    principal: Visitor,
    context: Serving,
    *,
    q: Annotated[str, Query(max_length=300)] = "",
    folder: Annotated[str, Query(max_length=4000)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    flag: Annotated[str, Query(max_length=60)] = "",
    language: Annotated[str, Query(max_length=20)] = "",
    speaker: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=60)] = "",
    sort: Annotated[str, Query(max_length=20)] = "newest",
    page_number: Annotated[int, Query(alias="page", ge=1, le=10_000_000)] = 1,
) -> HTMLResponse:
    """Show recordings; with the header `X-Part`, only the list itself."""
    folder = principal.within(folder)
    chosen = Filters(q, folder, state, flag, language, speaker, code, sort if sort in SORTS else "newest", page_number)
    is_part = request.headers.get("x-part") == "results"
    listed = _listed(context, chosen)
    counted = state_of(request).facets.get(folder.strip("/"))
    values: dict[str, Any] = {
        "filters": chosen,
        "listed": listed,
        "facets": counted,
        "n_pages": max(1, -(-listed.page.n_total // PER_PAGE)),
        "per_page": PER_PAGE,
        "is_reading": listed.checked_at is None,
        "root": principal.folder,
    }
    if is_part:
        return part("_results.html", **values)
    return page(
        request,
        "library.html",
        principal,
        here="/",
        crumbs=_crumbs(chosen, principal),
        folders=list(counted.folders.items()),
        first_folders=FIRST_FOLDERS,
        sorts=SORT_NAMES,
        states=STATE_NAMES,
        tonight=_tonight(context, principal),
        has_report=not principal.folder and _has_report(context),
        can_add=context.jobs is not None and principal.may("write"),
        **values,
    )


@router.get("/parts/tonight")
def progress(principal: Visitor, context: Serving) -> HTMLResponse:
    """Show what is being done now."""
    return part("_tonight.html", tonight=_tonight(context, principal))


@router.get("/report")
def report(principal: Visitor, context: Serving) -> HTMLResponse:
    """Show the report of the last run."""
    # As it lies in the destination, its links lead to files beside it.
    content = report_page(_report(principal, context), links=_ReportLinks())
    # Its styles are in it, because it is also opened as a file. It runs nothing.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
    return HTMLResponse(content, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})


@router.get("/report.json")
def report_for_programs(principal: Visitor, context: Serving) -> Response:
    """Send the data of the report of the last run."""
    return Response(_report(principal, context).model_dump_json(), media_type="application/json")


class _ReportLinks:
    """Links from the report to pages of the server."""

    json = "/report.json"

    def recording(self, path: str) -> str:  # of one that failed, which has no page of its own
        return address("/", q=path, state="failed")

    def listen(self, of: Done | Suspicious) -> str:  # noqa: ARG002  its page plays it
        return ""

    def text(self, of: Done | Suspicious) -> str:
        return recording_url(of.recording)


def _report(principal: Principal, context: Context) -> Report:
    content = None if principal.folder else context.dest.open_store(context.storage).get(REPORT)
    if content is None:
        raise not_found("report")
    try:
        return Report.model_validate_json(content)
    except ValidationError:  # another release wrote it
        raise not_found("report") from None


def _listed(context: Context, chosen: Filters) -> Listed:
    return list_recordings(
        context.dest,
        chosen.choice,
        cast("Sort", chosen.sort),
        limit=PER_PAGE,
        offset=(chosen.number - 1) * PER_PAGE,
    )


def _has_report(context: Context) -> bool:
    return context.dest.open_store(context.storage).ends(REPORT, 1, 0) is not None


def _tonight(context: Context, principal: Principal) -> Tonight:
    return tonight(context, principal.folder)


def _crumbs(chosen: Filters, principal: Principal) -> list[Place]:
    """Return the folders above and including the chosen one."""
    found, path = [Place("All recordings", chosen.url(folder=""))], ""
    for name in filter(None, chosen.folder.split("/")):
        path = f"{path}/{name}".strip("/")
        if len(path) >= len(principal.folder):
            found.append(Place(name, chosen.url(folder=path)))
    return found if chosen.folder else []
