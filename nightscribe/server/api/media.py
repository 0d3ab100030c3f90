"""Play a recording."""

import mimetypes

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, RedirectResponse

from nightscribe.server.api.access import OWN_POLICY, Id, disposition, is_known, visible_path
from nightscribe.server.auth import Reader
from nightscribe.server.context import Context, Serving
from nightscribe.server.errors import ApiError, not_found
from nightscribe.shared.errors import PermanentError
from nightscribe.shared.storage.base import Links

router = APIRouter(prefix="/recordings", tags=["recordings"])

LINK_LIFETIME_S = 3600


@router.head("/{id}/media", include_in_schema=False)
@router.get("/{id}/media", response_class=Response)
def read_media(id: Id, principal: Reader, context: Serving) -> Response:  # noqa: A002
    """Return the recording, or a part of it (Range). From a bucket, it is a redirect that is valid for an hour."""
    return media_of(context, visible_path(id, principal))


def media_of(context: Context, path: str) -> Response:
    """Return a recording that the caller may hear, or the part of it that was requested. Raises: ApiError."""
    if context.source is None:
        raise ApiError(
            404, "no_source", "This server does not know where the recordings are.",
            "Start it with --source.",
        )  # fmt: skip
    if not is_known(context, path):
        raise not_found()
    source = context.source.open_source(context.storage, leave_out=context.dest)
    headers = {"Content-Security-Policy": OWN_POLICY, "Cache-Control": "private, no-cache"}
    try:
        if isinstance(source, Links):
            return RedirectResponse(source.link(path, LINK_LIFETIME_S), 307, headers=headers)
        source.stat(path)
        with source.local(path) as place:
            file = str(place)
    except PermanentError as error:
        raise ApiError(404, error.code, str(error), "The transcript is still there.") from None
    kind = mimetypes.guess_type(path)[0] or ""
    is_playable = kind.startswith(("audio/", "video/"))
    name = path.rpartition("/")[2]
    headers["Content-Disposition"] = disposition("inline" if is_playable else "attachment", name)
    return FileResponse(file, media_type=kind if is_playable else "application/octet-stream", headers=headers)
