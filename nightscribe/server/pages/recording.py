"""The page of a recording: to listen, read, correct, name who speaks, review, export and delete."""

import mimetypes
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field

from nightscribe.server.api.access import has_media, open_records
from nightscribe.server.auth import Principal, Writer, note
from nightscribe.server.context import Context, Serving
from nightscribe.server.database.log import Action
from nightscribe.server.errors import ApiError, not_found
from nightscribe.server.pages.passages import Passage, Reading, changed, has_new, plain
from nightscribe.server.pages.site import (
    Place,
    Visitor,
    address,
    api_url,
    bounded,
    page,
    part,
    plural,
    recording_url,
    render,
)
from nightscribe.server.pages.state import state_of
from nightscribe.services.correct import ChangedMeanwhile, correct_passage, discard_unplaced, undo
from nightscribe.services.forget import forget_one
from nightscribe.services.library import next_in_doubt
from nightscribe.services.review import approve, look_at
from nightscribe.services.speakers import MARK, NameTaken, VoiceBook
from nightscribe.services.unfinished import unfinished
from nightscribe.shared.destination.tombstones import Tombstones
from nightscribe.shared.formats.registry import format_names, get_format
from nightscribe.shared.model.failure import Failure

router = APIRouter(include_in_schema=False)
RIGHT_TO_LEFT = {"ar", "fa", "he", "ps", "sd", "ur", "yi"}
FIRST_FORMATS = ("docx", "pdf", "txt", "paragraphs", "md", "html", "srt", "vtt")
"""What people ask for most."""
SPEEDS = ("0.5", "0.75", "1", "1.25", "1.5", "1.75", "2", "2.5", "3")


def kind_of(recording: str) -> str:
    """Return `video` or `audio`, by the name of a recording."""
    kind = mimetypes.guess_type(recording)[0] or ""
    return "video" if kind.startswith("video/") else "audio"


@router.get("/recording/{recording:path}")
def show(recording: str, request: Request, principal: Visitor, context: Serving, review: str = "") -> HTMLResponse:
    """Show a recording: its transcript, or why there is none yet."""
    bounded(principal, recording)
    found = state_of(request).readings.get(recording)
    failure = open_records(context).failure(recording)
    if found is None:
        return _without_transcript(request, principal, context, recording, failure)
    return page(
        request,
        "recording.html",
        principal,
        here="/review" if review else "/",
        **view(context, found, is_open=principal.may("write")),
        failure=failure,
        crumbs=folders(recording, principal.folder),
        review=bool(review),
        following=_following(context, recording, principal) if review else None,
        urls=_urls(recording),
        formats=formats_of(),
        export_url=api_url(recording, "transcript."),
    )


def view(context: Context, found: Reading, *, is_open: bool, prefix: str = "") -> dict[str, Any]:
    """Return what the template of a transcript needs. `prefix`: of the addresses, for a link that is shared."""
    recording = found.transcript.recording
    return {
        "reading": found,
        "transcript": found.transcript,
        "recording": recording,
        "name": recording.rpartition("/")[2],
        "chunks": found.chunks,
        "chunk_url": prefix or address("/parts/passages", recording),
        "media_url": f"{prefix}/media" if prefix else api_url(recording, "media"),
        "track_url": f"{prefix}/subtitles" if prefix else api_url(recording, "transcript.vtt"),
        "peaks_url": f"{prefix}/peaks" if prefix else address("/parts/peaks", recording),
        "has_media": has_media(context, recording),
        "kind": kind_of(recording),
        "speeds": SPEEDS,
        "may_edit": is_open,
        "is_rtl": found.transcript.language in RIGHT_TO_LEFT and found.transcript.options.task != "translate",
    }


def folders(recording: str, bound: str = "") -> list[Place]:
    """Return the folders above a recording, and the library above them."""
    made, path = [Place("All recordings", "/")], ""
    for name in recording.split("/")[:-1]:
        path = f"{path}/{name}".strip("/")
        if len(path) >= len(bound):
            made.append(Place(name, address("/", folder=path)))
    return made


def formats_of() -> list[tuple[str, str]]:
    """Return the formats that can be exported, with their suffixes."""
    known = {name: format_.suffix for name in format_names() if (format_ := get_format(name))}
    return [(name, known[name]) for name in dict.fromkeys((*FIRST_FORMATS, *known)) if name in known]


def _urls(recording: str) -> dict[str, str]:
    return {
        name: address(f"/parts/{name}", recording)
        for name in ("correct", "undo", "look", "speakers", "delete", "shares", "approve", "discard")
    }


def _following(context: Context, recording: str, principal: Principal) -> str | None:
    following = next_in_doubt(context.dest, recording)
    return recording_url(following, review="1") if following and principal.may_see(following) else None


def _without_transcript(
    request: Request, principal: Principal, context: Context, recording: str, failure: Failure | None
) -> HTMLResponse:
    work = _working(context, recording)
    is_there = has_media(context, recording)
    if work["unfinished"] is None and failure is None and not is_there:
        raise ApiError(404, "not_found", "There is no such recording.", "It may have been deleted or renamed.")
    return page(
        request,
        "unfinished.html",
        principal,
        here="/",
        recording=recording,
        name=recording.rpartition("/")[2],
        crumbs=folders(recording, principal.folder),
        failure=None if work["unfinished"] else failure,
        has_media=is_there,
        kind=kind_of(recording),
        media_url=api_url(recording, "media"),
        fresh_url=address("/parts/working", recording),
        **work,
    )


def _working(context: Context, recording: str) -> dict[str, Any]:
    found = unfinished(context.dest, recording, context.storage)
    return {
        "unfinished": found,
        "is_deleted": found is None and bool(Tombstones(open_records(context).store).load().of_path(recording)),
        "stretches": [
            (each, plain(each.segments) if each.segments is not None else ())
            for each in (found.stretches if found else ())
        ],
    }


# Parts of the page


@router.get("/parts/working/{recording:path}")
def working(recording: str, request: Request, principal: Visitor, context: Serving) -> HTMLResponse:
    """Show the finished parts of a recording that is being transcribed."""
    bounded(principal, recording)
    is_finished = state_of(request).readings.get(recording) is not None
    return part(
        "_working.html",
        is_finished=is_finished,
        recording=recording,
        **_working(context, recording),
    )


@router.get("/parts/passages/{recording:path}")
def passages(
    recording: str, request: Request, principal: Visitor, chunk: Annotated[int, Query(ge=0)] = 0
) -> HTMLResponse:
    """Return some passages of a long transcript."""
    found = read(request, bounded(principal, recording))
    return chunk_of(found, chunk, may_edit=principal.may("write"))


def chunk_of(found: Reading, number: int, *, may_edit: bool) -> HTMLResponse:
    """Return a chunk of a transcript as HTML. Raises: ApiError: if there is no such chunk."""
    if number >= len(found.chunks):
        raise not_found("passage")
    return part("_passages.html", passages=found.chunks[number].passages, may_edit=may_edit)


@router.get("/parts/peaks/{recording:path}")
def peaks(recording: str, request: Request, principal: Visitor) -> Response:
    """Return the waveform, a byte for each peak; 202 while it is being made."""
    return peaks_of(request, read(request, bounded(principal, recording)))


def peaks_of(request: Request, found: Reading) -> Response:
    """Return the waveform of a recording, or 202 while it is being made."""
    made = state_of(request).peaks.get(found.transcript)
    if made is None:
        return Response(status_code=202, headers={"Retry-After": "2", "Cache-Control": "no-store"})
    return Response(made, media_type="application/octet-stream", headers={"Cache-Control": "private, max-age=60"})


def read(request: Request, recording: str) -> Reading:
    """Return a transcript prepared for reading. Raises: ApiError: if there is none."""
    found = state_of(request).readings.get(recording)
    if found is None:
        raise not_found("transcript")
    return found


# Changing


class Corrected(BaseModel):
    """The new text of a passage."""

    start_s: float = Field(ge=0, allow_inf_nan=False)
    text: str = Field(max_length=20_000)


@router.post("/parts/correct/{recording:path}")
def correct(
    recording: str,
    given: Corrected,
    request: Request,
    principal: Writer,
    context: Serving,
    *,
    if_match: Annotated[str, Header()] = "",
) -> Response:
    """Correct a passage, if it still is what the person saw."""
    before = read(request, bounded(principal, recording))
    try:
        correct_passage(
            context.dest,
            recording,
            given.start_s,
            given.text,
            by=principal.name,
            tag=if_match.strip('"') or None,
            options=context.storage,
        )
    except ChangedMeanwhile as error:
        # The passages as they are now, so that the person can compare.
        there = [(each.key, each) for each in before.passages if abs(each.start_s - given.start_s) < 0.01]
        return JSONResponse(
            {"code": error.code, "message": str(error), "action": "", "passages": _rendered(there)}, status_code=412
        )
    _noted(context, principal, Action.CORRECTED, recording)
    return _difference(request, before, recording)


@router.post("/parts/undo/{recording:path}")
def take_back(recording: str, request: Request, principal: Writer, context: Serving) -> Response:
    """Take back the last correction."""
    before = read(request, bounded(principal, recording))
    undo(context.dest, recording, by=principal.name, options=context.storage)
    _noted(context, principal, Action.CORRECTED, recording)
    return _difference(request, before, recording)


@router.post("/parts/discard/{recording:path}")
def discard(recording: str, principal: Writer, context: Serving) -> dict[str, str]:
    """Remove the corrections that could not be placed."""
    bounded(principal, recording)
    discard_unplaced(context.dest, recording, options=context.storage)
    _noted(context, principal, Action.CORRECTED, recording)
    return {"message": "Removed."}


class Look(BaseModel):
    """A passage that a person found right."""

    start_s: float = Field(ge=0, allow_inf_nan=False)


@router.post("/parts/look/{recording:path}")
def look(recording: str, given: Look, request: Request, principal: Writer, context: Serving) -> Response:
    """Note that a person looked at a passage in doubt."""
    before = read(request, bounded(principal, recording))
    look_at(context.dest, recording, given.start_s, by=principal.name, options=context.storage)
    _noted(context, principal, Action.REVIEWED, recording)
    return _difference(request, before, recording)


class Approval(BaseModel):
    """Whether a whole transcript is right."""

    is_approved: bool = True


@router.post("/parts/approve/{recording:path}")
def approval(recording: str, given: Approval, principal: Writer, context: Serving) -> dict[str, str]:
    """Note that a person approved the whole transcript, or take that back."""
    bounded(principal, recording)
    approve(context.dest, recording, by=principal.name, is_approved=given.is_approved, options=context.storage)
    _noted(context, principal, Action.REVIEWED, recording)
    return {"message": "Marked as reviewed." if given.is_approved else "No longer marked as reviewed."}


class Naming(BaseModel):
    """The name of a voice."""

    label: str = Field(max_length=200)
    name: str = Field(max_length=200)
    is_same: bool = False
    """Whether the voice that already has this name is the same person."""


@router.post("/parts/speakers/{recording:path}")
def name_speaker(recording: str, given: Naming, principal: Writer, context: Serving) -> Response:
    """Give a voice of a recording a name, in all recordings in which it speaks."""
    bounded(principal, recording)
    if principal.folder:
        raise ApiError(
            403, "not_allowed", "A voice may speak in other folders, too.", "Ask somebody who sees all of them."
        )
    book, voice = VoiceBook(context.dest, context.storage), f"{recording}{MARK}{given.label}"
    try:
        done = book.merge(given.name.strip(), [voice]) if given.is_same else book.name(voice, given.name)
    except NameTaken:
        message = f"Another voice is already called {given.name}."
        return JSONResponse({"code": NameTaken.code, "message": message, "action": ""}, status_code=409)
    _noted(context, principal, Action.SPEAKER_NAMED, recording)
    others = len(done.recordings) - 1
    message = f"Named {done.name}" + (f", also in {plural(others, 'other recording')}." if others > 0 else ".")
    if done.edited:
        message += f" {plural(len(done.edited), 'text file')} that somebody has edited stayed as it was."
    return JSONResponse({"name": done.name, "message": message})


@router.post("/parts/delete/{recording:path}")
def delete(recording: str, principal: Writer, context: Serving) -> dict[str, str]:
    """Delete the transcript of a recording for good."""
    bounded(principal, recording)
    done = forget_one(context.dest, recording, options=context.storage)
    if done.newer:
        raise ApiError(409, "newer_record", "A newer nightscribe wrote its record.", "Update this server.")
    _noted(context, principal, Action.DELETED, recording)
    return {"message": f"Deleted {recording.rpartition('/')[2]}.", "url": "/"}


def _difference(request: Request, before: Reading, recording: str) -> Response:
    after = read(request, recording)
    return JSONResponse(
        {
            "passages": _rendered(changed(before, after)),
            "n_doubtful": after.n_doubtful,
            "reload": has_new(before, after),
        }
    )


def _rendered(passages: Iterable[tuple[str, Passage | None]]) -> list[dict[str, str | None]]:
    made = []
    for key, each in passages:
        html = render("_passages.html", passages=(each,), may_edit=True) if each is not None else None
        made.append({"key": key, "html": html})
    return made


def _noted(context: Context, principal: Principal, action: Action, recording: str) -> None:
    note(context, principal, action, recording=recording)
    context.changed.set()
