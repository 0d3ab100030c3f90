"""Read the text of a recording in every format, correct it, and note what people looked at."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from nightscribe.server.api.access import (
    OWN_POLICY,
    Id,
    SpeakerLabel,
    disposition,
    require_transcript,
    speakers_of,
    visible_path,
)
from nightscribe.server.auth import Principal, Reader, Writer, note
from nightscribe.server.context import Context, Serving
from nightscribe.server.database.log import Action
from nightscribe.server.errors import ApiError, not_found
from nightscribe.services import correct, review
from nightscribe.services.speakers import MOST_NAME_CHARS, VoiceBook
from nightscribe.shared.formats.registry import check_formats, format_names, get_format, render, suffix_of
from nightscribe.shared.model.corrections import corrected, tag_of
from nightscribe.shared.model.doubt import doubtful
from nightscribe.shared.model.transcript import Segment, Transcript

router = APIRouter(prefix="/recordings", tags=["text"])

MOST_TEXT_CHARS = 20_000

Number = Annotated[int, Path(ge=0, le=10_000_000, description="Number of the segment, from 0 on.")]
SegmentTag = Annotated[str | None, Header(alias="If-Match", max_length=200)]


class TextSegment(BaseModel):
    """About one sentence, with the corrections of people."""

    number: int
    start_s: float
    end_s: float
    text: str
    speaker: str | None = Field(description="Label of who speaks.")
    confidence: float | None = Field(description="Expected share of right words, where it is in doubt.")
    is_doubtful: bool = Field(description="Whether it is in doubt, and nobody has looked at it.")
    words: list[tuple[float, float, str]] = Field(description="Start, end and text of each word, where known.")
    etag: str = Field(description="To be sent in If-Match with a correction of this segment.")


class Segments(BaseModel):
    """The text of a recording in segments."""

    id: str
    speakers: list[SpeakerLabel]
    segments: list[TextSegment]


class NewText(BaseModel):
    """What is said in a segment."""

    text: str = Field(max_length=MOST_TEXT_CHARS, description="Empty to remove the segment.")


class NewName(BaseModel):
    """The name of a person."""

    name: str = Field(min_length=1, max_length=MOST_NAME_CHARS)


class Change(BaseModel):
    """A correction that was made."""

    start_s: float
    end_s: float
    before: str
    after: str


class Changed(BaseModel):
    """What a request has changed."""

    corrections: list[Change]
    written: list[str] = Field(description="Text files that have the new words.")
    left: list[str] = Field(description="Text files that somebody has edited, which were left as they are.")
    segments: list[TextSegment] = Field(description="The segments around the change, as they are now.")


@router.get(
    "/{id}/transcript.{format}",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "The file."}},
)
def read_transcript(
    *,
    id: Id,  # noqa: A002
    format: Annotated[str, Path(max_length=40, description="One of `formats` of the recording.")],  # noqa: A002
    request: Request,
    principal: Reader,
    context: Serving,
    download: Annotated[bool, Query(description="Let browsers store it instead of showing it.")] = False,
) -> Response:
    """Return the transcript in a format, with the corrections of people."""
    path = visible_path(id, principal)
    if format not in format_names():
        raise ApiError(404, "unknown_format", "There is no such format.", f"Choose from {', '.join(format_names())}.")
    check_formats([format])
    transcript = require_transcript(context, path)
    content = render(transcript, format)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    name = transcript.stem.rpartition("/")[2] + suffix_of(format)
    found = get_format(format)
    headers = {
        "ETag": etag,
        "Content-Disposition": disposition("attachment" if download else "inline", name),
        "Content-Security-Policy": OWN_POLICY,
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    note(context, principal, Action.RESULT_READ, recording=path, format=format)
    return Response(content, media_type=found.content_type if found else "text/plain", headers=headers)


@router.get("/{id}/segments")
def read_segments(id: Id, principal: Reader, context: Serving) -> Segments:  # noqa: A002
    """Return the text in segments with their words and times, corrected, each with an etag to correct it."""
    transcript = require_transcript(context, visible_path(id, principal))
    return Segments(id=id, speakers=speakers_of(transcript), segments=_segments(transcript))


@router.put("/{id}/segments/{number}")
def correct_segment(
    *,
    id: Id,  # noqa: A002
    number: Number,
    new: NewText,
    principal: Writer,
    context: Serving,
    if_match: SegmentTag = None,
) -> Changed:
    """Replace the text of a segment. Only the words that differ become corrections, in every format.

    Send the segment's `etag` in If-Match: if somebody else has changed it in the meantime, nothing is overwritten.
    """
    path = visible_path(id, principal)
    if if_match is None:
        raise ApiError(428, "if_match_missing", "The header If-Match is missing.", "Send the etag of the segment.")
    segment = _segment(require_transcript(context, path), number)
    tag = None if if_match.strip() == "*" else if_match.strip().removeprefix("W/").strip('"')
    try:
        done = correct.correct_passage(
            context.dest, path, segment.start_s, new.text, by=principal.name, tag=tag, options=context.storage
        )
    except correct.ChangedMeanwhile:
        raise ApiError(
            412, "changed_meanwhile", "Somebody has changed this segment in the meantime.", "Read it again first."
        ) from None
    return _changed(context, principal, path, done, segment.start_s)


@router.post("/{id}/undo")
def undo_corrections(id: Id, principal: Writer, context: Serving) -> Changed:  # noqa: A002
    """Take back the last corrections, all that were made together."""
    path = visible_path(id, principal)
    require_transcript(context, path)
    done = correct.undo(context.dest, path, by=principal.name, options=context.storage)
    at_s = done.corrections[0].start_s if done.corrections else 0.0
    return _changed(context, principal, path, done, at_s)


@router.put("/{id}/segments/{number}/looked-at", status_code=204)
def look_at_segment(id: Id, number: Number, principal: Writer, context: Serving) -> None:  # noqa: A002
    """Note that a person found a segment in doubt right."""
    _look(id, number, principal, context, is_right=True)


@router.delete("/{id}/segments/{number}/looked-at", status_code=204)
def doubt_segment(id: Id, number: Number, principal: Writer, context: Serving) -> None:  # noqa: A002
    """Take that back."""
    _look(id, number, principal, context, is_right=False)


@router.put("/{id}/review", status_code=204)
def approve_recording(id: Id, principal: Writer, context: Serving) -> None:  # noqa: A002
    """Note that a person approved the whole transcript."""
    _approve(id, principal, context, is_approved=True)


@router.delete("/{id}/review", status_code=204)
def withdraw_approval(id: Id, principal: Writer, context: Serving) -> None:  # noqa: A002
    """Take that back."""
    _approve(id, principal, context, is_approved=False)


@router.put("/{id}/speakers/{label}")
def name_speaker(
    id: Id,  # noqa: A002
    label: Annotated[str, Path(max_length=200, description="A label such as `Speaker 1`.")],
    new: NewName,
    principal: Writer,
    context: Serving,
) -> list[SpeakerLabel]:
    """Name somebody who speaks, in this recording and in all others with the same voice."""
    path = visible_path(id, principal)
    if not any(each.label == label for each in require_transcript(context, path).speakers):
        raise not_found("speaker")
    if principal.folder:
        raise ApiError(403, "not_allowed", "This names a voice in all folders, and this token sees one only.")
    VoiceBook(context.dest, context.storage).name(f"{path}#{label}", new.name)
    note(context, principal, Action.SPEAKER_NAMED, recording=path, label=label)
    context.changed.set()
    return speakers_of(require_transcript(context, path))


def _segments(transcript: Transcript) -> list[TextSegment]:
    unsettled = {(each.start_s, each.end_s, each.text) for each in doubtful(transcript)}
    return [
        TextSegment(
            number=number,
            start_s=each.start_s,
            end_s=each.end_s,
            text=each.text,
            speaker=each.speaker,
            confidence=each.confidence,
            is_doubtful=(each.start_s, each.end_s, each.text) in unsettled,
            words=[(word.start_s, word.end_s, word.text) for word in each.words],
            etag=f'"{tag_of(each.text)}"',
        )
        for number, each in enumerate(corrected(transcript).segments)
    ]


def _segment(transcript: Transcript, number: int) -> Segment:
    segments = corrected(transcript).segments
    if number >= len(segments):
        raise not_found("segment")
    return segments[number]


def _changed(context: Context, principal: Principal, path: str, done: correct.Corrected, at_s: float) -> Changed:
    if done.corrections:
        note(context, principal, Action.CORRECTED, recording=path, n=len(done.corrections), at_s=round(at_s, 2))
        context.changed.set()
    segments = _segments(require_transcript(context, path))
    nearest = min(range(len(segments)), key=lambda n: abs(segments[n].start_s - at_s), default=0)
    return Changed(
        corrections=[
            Change(start_s=each.start_s, end_s=each.end_s, before=each.before, after=each.after)
            for each in done.corrections
        ],
        written=list(done.written),
        left=list(done.left),
        segments=segments[max(0, nearest - 1) : nearest + 2],
    )


def _look(id_: str, number: int, principal: Principal, context: Context, *, is_right: bool) -> None:
    path = visible_path(id_, principal)
    segment = _segment(require_transcript(context, path), number)
    review.look_at(context.dest, path, segment.start_s, by=principal.name, is_right=is_right, options=context.storage)
    context.changed.set()


def _approve(id_: str, principal: Principal, context: Context, *, is_approved: bool) -> None:
    path = visible_path(id_, principal)
    require_transcript(context, path)
    review.approve(context.dest, path, by=principal.name, is_approved=is_approved, options=context.storage)
    note(context, principal, Action.REVIEWED, recording=path, is_approved=is_approved)
    context.changed.set()
