"""List recordings, say what is known of one, and delete it."""

import base64
import binascii
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from nightscribe.search.library import Choice, Facets, Item, Mark, Sort, State
from nightscribe.server.api.access import Id, SpeakerLabel, has_media, open_records, speakers_of, visible_path
from nightscribe.server.auth import Reader, Writer, note
from nightscribe.server.context import Serving
from nightscribe.server.database.log import Action
from nightscribe.server.errors import ApiError, not_found
from nightscribe.server.ids import recording_id
from nightscribe.server.seldom import Seldom
from nightscribe.services import forget, library
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.records import Records
from nightscribe.shared.formats.registry import format_names
from nightscribe.shared.model.corrections import applied
from nightscribe.shared.model.doubt import doubtful
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.transcript import Transcript

router = APIRouter(prefix="/recordings", tags=["recordings"])


Text = Annotated[str, Query(max_length=1000)]


class Listed(BaseModel):
    """A recording in the list."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    recording: str = Field(description="Path below the source.")
    state: Literal["done", "failed"]
    language: str | None
    duration_s: float
    ended_at: AwareDatetime = Field(description="When it was finished, or failed.")
    model: str
    speakers: list[str]
    flags: list[str]
    n_doubtful: int = Field(description="Passages in doubt at which nobody has looked.")
    n_corrections: int
    is_reviewed: bool
    code: str = Field(description="Why it failed, for programs; empty if it did not.")
    reason: str = Field(description="Why it failed, in a sentence.")


class RecordingPage(BaseModel):
    """A page of the list."""

    recordings: list[Listed]
    next: str | None = Field(description="`cursor` of the next page; null on the last one.")
    n_total: int | None = Field(description="Number of all that match; only on the first page.")
    duration_s: float | None = Field(description="Length of all that match; only on the first page.")
    checked_at: AwareDatetime | None = Field(
        description="When the list was last compared with the records; null while that is done for the first time."
    )


class FacetCounts(BaseModel):
    """How many recordings of a folder have each property, the most frequent first."""

    model_config = ConfigDict(from_attributes=True)

    n_recordings: int
    n_failed: int
    n_to_review: int
    n_reviewed: int
    languages: dict[str, int]
    flags: dict[str, int]
    speakers: dict[str, int]
    folders: dict[str, int] = Field(description="Folders directly below, with the recordings in them.")
    codes: dict[str, int] = Field(description="Codes of failures.")


class Recording(BaseModel):
    """What is known of one recording."""

    id: str
    recording: str
    state: Literal["done", "failed"]
    size: int
    language: str | None = None
    duration_s: float | None = None
    finished_at: AwareDatetime | None = None
    engine: str | None = None
    options: dict[str, Any] | None = Field(default=None, description="With which options it was transcribed.")
    flags: list[str] = []
    speakers: list[SpeakerLabel] = []
    n_segments: int = 0
    n_doubtful: int = 0
    n_corrections: int = 0
    n_unplaced: int = Field(default=0, description="Corrections whose words are no longer there.")
    reviewed_by: str | None = None
    reviewed_at: AwareDatetime | None = None
    failed_at: AwareDatetime | None = None
    code: str | None = Field(default=None, description="Why it failed, for programs.")
    reason: str | None = Field(default=None, description="Why it failed, in a sentence.")
    formats: list[str] = Field(default=[], description="Formats in which its transcript can be read.")
    has_media: bool = Field(description="Whether it can be heard here.")


class Deleted(BaseModel):
    """What was deleted for good."""

    n_files: int
    kept: list[str] = Field(description="Copies of edited texts that were kept.")


# The list


@router.get("")
def list_recordings(
    *,
    request: Request,
    principal: Reader,
    context: Serving,
    text: Annotated[str, Query(max_length=1000, description="Parts of the path.")] = "",
    folder: Text = "",
    state: State | None = None,
    flag: Text = "",
    language: Text = "",
    speaker: Annotated[str, Query(max_length=200, description="A whole name, or a label such as Speaker 1.")] = "",
    code: Annotated[str, Query(max_length=200, description="Code of a failure.")] = "",
    sort: Sort = "newest",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=20_000, description="`next` of the page before.")] = None,
) -> RecordingPage:
    """List finished and failed recordings. A page takes as long at the end of a million recordings as at the beginning.

    `GET /search` finds recordings by what is said in them.
    """
    choice = Choice(
        text=text,
        folder=principal.within(folder),
        state=state,
        flag=flag,
        language=language,
        speaker=speaker,
        code=code,
    )
    found = library.list_after(
        context.dest, choice, sort, limit=limit, after=_mark(cursor, sort) if cursor is not None else None
    )
    counted: library.Counted | None = None
    if cursor is None:
        counts: Seldom[library.Counted] = request.app.state.counts
        counted = counts.get(choice, lambda: library.count(context.dest, choice))
    return RecordingPage(
        recordings=[_listed(each) for each in found.items],
        next=_cursor(found.end, sort) if found.end else None,
        n_total=counted.n if counted else None,
        duration_s=counted.duration_s if counted else None,
        checked_at=library.checked_at(context.dest),
    )


@router.get("/facets")
def list_facets(request: Request, principal: Reader, context: Serving, folder: Text = "") -> FacetCounts:
    """Count the languages, flags, speakers, folders and failures in a folder and below it."""
    inside = principal.within(folder)
    facets: Seldom[Facets] = request.app.state.facets
    return FacetCounts.model_validate(facets.get(inside, lambda: library.facets(context.dest, inside)))


def _listed(item: Item) -> Listed:
    values = {name: getattr(item, name) for name in Listed.model_fields if name not in ("id", "state")}
    return Listed.model_validate(
        values | {"id": recording_id(item.recording), "state": "failed" if item.is_failed else "done"}
    )


def _cursor(mark: Mark, sort: Sort) -> str:
    packed = json.dumps([sort, mark.value, mark.key], ensure_ascii=False)
    return base64.urlsafe_b64encode(packed.encode(errors="surrogatepass")).decode()


def _mark(cursor: str, sort: Sort) -> Mark:
    try:
        packed = json.loads(base64.urlsafe_b64decode(cursor.encode()).decode(errors="surrogatepass"))
        made_for, value, key = packed
        if made_for == sort and isinstance(key, str) and isinstance(value, str if sort == "name" else int | float):
            key.encode()
            return Mark(value, key)
    except (ValueError, TypeError, binascii.Error):
        pass
    raise ApiError(
        422, "cursor_not_valid", "The cursor does not belong to this list.",
        "Take `next` of a page with the same `sort`, or leave `cursor` out.",
    )  # fmt: skip


# One recording


@router.get("/{id}")
def read_recording(id: Id, principal: Reader, context: Serving) -> Recording:  # noqa: A002  as the path names it
    """Return what is known of a recording: how it was transcribed, or why it failed."""
    path = visible_path(id, principal)
    records = open_records(context)
    can_play = has_media(context, path)
    if transcript := records.transcript(path):
        return _finished(id, transcript, can_play=can_play)
    if failure := _failure(records, path):
        return Recording(
            id=id,
            recording=path,
            state="failed",
            size=failure.size,
            failed_at=failure.failed_at,
            code=failure.code,
            reason=failure.reason,
            has_media=can_play,
        )
    raise not_found()


def _finished(id_: str, transcript: Transcript, *, can_play: bool) -> Recording:
    now = applied(transcript)
    return Recording(
        id=id_,
        recording=transcript.recording,
        state="done",
        size=transcript.size,
        language=transcript.language,
        duration_s=transcript.decoded_s,
        finished_at=transcript.finished_at,
        engine=transcript.engine,
        options=transcript.options.model_dump(mode="json"),
        flags=list(transcript.flags),
        speakers=speakers_of(transcript),
        n_segments=len(now.segments),
        n_doubtful=len(doubtful(transcript)),
        n_corrections=len(transcript.corrections),
        n_unplaced=len(now.unplaced),
        reviewed_by=transcript.reviewed.by if transcript.reviewed else None,
        reviewed_at=transcript.reviewed.at if transcript.reviewed else None,
        formats=list(format_names()),
        has_media=can_play,
    )


@router.delete("/{id}")
def delete_recording(
    id: Id,  # noqa: A002
    principal: Writer,
    context: Serving,
    kept: Annotated[bool, Query(description="Also delete kept copies of edited texts.")] = False,
) -> Deleted:
    """Delete the transcript and everything that was recorded of it for good; no run transcribes it again.

    The recording itself stays in the source.
    """
    path = visible_path(id, principal)
    done = forget.forget_one(context.dest, path, kept_too=kept, options=context.storage)
    if done.newer:
        raise ApiError(409, "newer_record", "A newer release has written its record.", "Update this server.")
    if not done.recordings:
        raise not_found()
    traces = done.recordings[0]
    note(context, principal, Action.DELETED, recording=path)
    context.changed.set()
    return Deleted(n_files=len(traces.texts) + len(traces.records), kept=[] if kept else list(traces.kept))


def _failure(records: Records, path: str) -> Failure | None:
    try:
        return records.failure(path)
    except NewerRecord:
        return None
