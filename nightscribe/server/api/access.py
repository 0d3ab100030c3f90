"""Find the recording that a request is about, if the caller may see it."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import Path
from pydantic import BaseModel

from nightscribe.server.auth import Principal
from nightscribe.server.context import Context
from nightscribe.server.errors import not_found
from nightscribe.server.ids import MOST_CHARS, is_media, path_of
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.transcript import Transcript

Id = Annotated[str, Path(max_length=MOST_CHARS, description="The id of a recording, from the list.")]
OWN_POLICY = "default-src 'none'; sandbox"
"""Content policy of files that somebody else has written: a browser that shows one runs nothing in it."""


class SpeakerLabel(BaseModel):
    """Somebody who speaks in a recording."""

    label: str
    name: str | None


def visible_path(id_: str, principal: Principal) -> str:
    """Return the path of a recording. Raises: ApiError: if the caller may not see it, as if there were none."""
    path = path_of(id_)
    if path is None or not principal.may_see(path):
        raise not_found()
    return path


def open_records(context: Context) -> Records:
    """Return the records of the destination."""
    return Records(context.dest.open_store(context.storage))


def require_transcript(context: Context, path: str) -> Transcript:
    """Return the transcript of a recording. Raises: ApiError: if it has none."""
    if transcript := open_records(context).transcript(path):
        return transcript
    raise not_found("transcript")


def disposition(kind: Literal["inline", "attachment"], name: str) -> str:
    """Return a Content-Disposition header for any file name (RFC 6266)."""
    plain = "".join(each if each.isascii() and each.isprintable() and each not in '"\\%;' else "_" for each in name)
    exact = quote(name.encode(errors="surrogateescape"), safe="")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{exact}"


def is_known(context: Context, path: str) -> bool:
    """Return whether a path is that of a recording, and not of any other file in its folder."""
    if is_media(path):
        return True
    records = open_records(context)
    try:
        return records.provenance(path) is not None or records.failure(path) is not None
    except NewerRecord:
        return True


def has_media(context: Context, path: str) -> bool:
    """Return whether a recording can be heard here; not while its source is unreachable."""
    if context.source is None:
        return False
    try:
        context.source.open_source(context.storage, leave_out=context.dest).stat(path)
    except NightscribeError:
        return False
    return True


def speakers_of(transcript: Transcript) -> list[SpeakerLabel]:
    """Return who speaks in a recording."""
    return [SpeakerLabel(label=each.label, name=each.name) for each in transcript.speakers]
