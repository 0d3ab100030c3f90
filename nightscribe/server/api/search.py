"""Search what is said in all recordings."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from nightscribe.search.dates import filters_from
from nightscribe.server.auth import Reader
from nightscribe.server.context import Serving
from nightscribe.server.ids import recording_id
from nightscribe.services.search import search as find

router = APIRouter(prefix="/search", tags=["search"])


class Hit(BaseModel):
    """A passage that was found."""

    id: str = Field(description="Id of the recording.")
    recording: str
    start_s: float
    end_s: float
    text: str = Field(description="The whole passage.")
    marks: list[tuple[int, int]] = Field(description="Start and end of each place in the text that matches.")
    speaker: str | None
    language: str | None
    recorded_at: AwareDatetime


class Found(BaseModel):
    """A page of what was found: first passages with all words as one phrase, then the latest recordings."""

    hits: list[Hit]
    offset: int
    n_hits: int = Field(description="Number of all hits; at least this many if `has_more_hits`.")
    has_more_hits: bool
    is_searchable: bool = Field(description="Whether the query holds a letter or a digit.")
    suggestion: str | None = Field(description="The query with words that occur, if nothing was found.")
    n_recordings: int
    checked_at: AwareDatetime | None = Field(description="When the index was last compared with the records.")


@router.get("")
def search(
    *,
    principal: Reader,
    context: Serving,
    q: Annotated[
        str, Query(max_length=1000, description='Words, "a phrase", begin*, OR, NOT, NEAR/5. Never an error.')
    ],
    speaker: Annotated[str, Query(max_length=200)] = "",
    language: Annotated[str, Query(max_length=40)] = "",
    folder: Annotated[str, Query(max_length=4000)] = "",
    since: Annotated[str | None, Query(max_length=10, description="A year, month or day.")] = None,
    until: Annotated[str | None, Query(max_length=10, description="A year, month or day, included.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Found:
    """Search what is said, in any script, without regard to case and accents; docs/search.md describes the query."""
    filters = filters_from(
        speaker=speaker, language=language, folder=principal.within(folder), since=since, until=until
    )
    # The index is kept up to date beside the requests, so none of them waits for that.
    found = find(context.dest, q, filters, limit=limit, offset=offset, fresh=False, options=context.storage).result
    return Found(
        hits=[
            Hit(
                id=recording_id(each.recording),
                recording=each.recording,
                start_s=each.start_s,
                end_s=each.end_s,
                text=each.text,
                marks=list(each.marks),
                speaker=each.speaker,
                language=each.language,
                recorded_at=each.recorded_at,
            )
            for each in found.hits
        ],
        offset=found.offset,
        n_hits=found.n_hits,
        has_more_hits=found.has_more_hits,
        is_searchable=found.is_searchable,
        suggestion=found.suggestion,
        n_recordings=found.n_recordings,
        checked_at=found.checked_at,
    )
