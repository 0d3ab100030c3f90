"""Render templates, and name the addresses of pages."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool

from nightscribe.server.auth import Principal, principal_of
from nightscribe.server.context import Context, Serving
from nightscribe.server.errors import ApiError
from nightscribe.server.ids import path_of, recording_id
from nightscribe.shared.model.languages import LANGUAGES
from nightscribe.shared.model.transcript import Flag

HERE = Path(__file__).parent
STATIC = HERE / "static"


class LoginNeeded(ApiError):
    """Somebody who has not logged in requests a page."""

    def __init__(self) -> None:
        super().__init__(401, "not_authenticated", "You have to log in first.", "Log in at /login.")


async def visitor(request: Request, context: Serving) -> Principal:
    """Return who requests a page. Raises: LoginNeeded: if they have to log in first."""
    try:
        principal = await run_in_threadpool(principal_of, request, context)
    except ApiError as error:
        if error.status == 401:
            raise LoginNeeded from None
        raise
    if principal is None:
        raise LoginNeeded
    if not principal.may("read"):
        raise ApiError(403, "not_allowed", "This login may not read transcripts.", "Log in as somebody else.")
    return principal


Visitor = Annotated[Principal, Depends(visitor)]
"""Parameter of a page: who reads it."""


@dataclass(frozen=True)
class Place:
    """An entry of the navigation."""

    name: str
    url: str


@cache
def static_version() -> str:
    """Return a hash of all static files, which is a part of their addresses, so that browsers may keep them."""
    total = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]


def static_url(name: str) -> str:
    """Return the address of a static file."""
    return f"/static/{static_version()}/{name}"


def address(prefix: str, recording: str = "", /, **query: object) -> str:
    """Return an address below a prefix, with the path of a recording and with those values that are not empty."""
    values = urlencode({key: value for key, value in query.items() if value not in ("", None)})
    return (f"{prefix}/{quote(recording)}" if recording else prefix) + (f"?{values}" if values else "")


def recording_url(recording: str, **query: object) -> str:
    """Return the address of the page of a recording. `t`: seconds at which it begins."""
    return address("/recording", recording, **query)


def api_url(recording: str, *more: str) -> str:
    """Return the address of a recording in the API."""
    return "/".join(("/api/v1/recordings", recording_id(recording), *more))


def clock(seconds: float | None) -> str:
    """Return `1:02:03` or `2:03`."""
    if seconds is None:
        return "–"
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def duration(seconds: float) -> str:
    """Return a length in words, such as `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, left = divmod(minutes, 60)
    return f"{hours:,} h {left} min" if left and hours < 100 else f"{hours:,} h"


def date(at: datetime) -> str:
    """Return a day in local time, with the hour if it is today."""
    here, now = at.astimezone(), datetime.now().astimezone()
    if here.date() == now.date():
        return f"today, {here:%H:%M}"
    return f"{here.day} {here:%b}" if here.year == now.year else f"{here.day} {here:%b %Y}"


def moment(at: datetime) -> str:
    """Return a day and an hour in local time."""
    here = at.astimezone()
    return f"{here.day} {here:%b %Y, %H:%M}"


def language(code: str | None) -> str:
    """Return the English name of a language, or its code if there is none."""
    return LANGUAGES.get(code or "", code or "").capitalize()


def plural(n: int, one: str, many: str = "") -> str:
    """Return `1 recording` or `2,000 recordings`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


FLAGS: dict[str, tuple[str, str]] = {
    Flag.TRUNCATED: ("Cut off", "The file states more sound than could be decoded, so the end may be missing."),
    Flag.NO_SPEECH: ("No speech", "Nobody seems to speak, so the transcript is empty."),
    Flag.REPETITION: ("Repetition", "The same words occur over and over."),
    Flag.LOW_CONFIDENCE: ("Low confidence", "The model was unsure of many words; they are underlined."),
    Flag.LANGUAGE_UNSURE: ("Language unsure", "The detected language may be wrong."),
    Flag.LANGUAGE_CHANGES: ("Language changes", "More than one language is spoken."),
    Flag.CHANNELS_CANCEL: ("Channels cancel", "One channel is the other inverted, so only one of them was used."),
    Flag.GAP: ("Gap", "Somebody speaks where there is no text."),
    Flag.OTHER_TRACKS: ("Other tracks", "Audio tracks that are not silent were not transcribed."),
}


def flag_name(flag: str) -> str:
    """Return a flag as people read it."""
    return FLAGS.get(flag, (flag.capitalize(), ""))[0]


def flag_meaning(flag: str) -> str:
    """Return a sentence that says what a flag means."""
    return FLAGS.get(flag, ("", ""))[1]


def marked(text: str, marks: Iterable[tuple[int, int]]) -> Markup:
    """Return text as HTML in which some places are marked."""
    made, at = Markup(), 0
    for start, end in marks:
        made += Markup("{}<mark>{}</mark>").format(text[at:start], text[start:end])
        at = end
    return made + Markup.escape(text[at:])


@cache
def templates() -> Environment:
    """Return the environment of all templates. Whatever they show is escaped."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        clock=clock, duration=duration, date=date, moment=moment, language=language, flag=flag_name,
        flag_meaning=flag_meaning, marked=marked, plural=plural,
    )  # fmt: skip
    made.globals.update(static=static_url, recording_url=recording_url, address=address)
    return made


def render(template: str, **values: Any) -> str:
    """Return a template as text."""
    return templates().get_template(template).render(**values)


def part(template: str, **values: Any) -> HTMLResponse:
    """Return a part of a page, which a script puts into its place."""
    return HTMLResponse(render(template, **values), headers={"Cache-Control": "no-store"})


def page(
    request: Request,
    template: str,
    principal: Principal | None,
    *,
    here: str = "",
    status_code: int = 200,
    **values: Any,
) -> HTMLResponse:
    """Return a whole page. `here`: the address of the navigation's entry under which it belongs."""
    context: Context = request.app.state.context
    shown = render(
        template,
        principal=principal,
        csrf=principal.csrf_token if principal else "",
        may_write=principal is not None and principal.may("write"),
        may_admin=principal is not None and principal.may("admin") and not principal.folder,
        here=here,
        has_events=principal is not None and context.jobs is not None,
        place=str(context.dest),
        **values,
    )
    return HTMLResponse(shown, status_code, headers={"Cache-Control": "no-store"})


def bounded(principal: Principal, recording: str) -> str:
    """Return the path of a recording that somebody may see. Raises: ApiError."""
    if path_of(recording_id(recording)) is None or not principal.may_see(recording):
        raise ApiError(404, "not_found", "There is no such recording.", "It may have been deleted or renamed.")
    return recording
