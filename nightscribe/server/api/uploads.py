"""Upload recordings: small ones as a form, large ones so that they can be resumed (tus 1.0.0, https://tus.io)."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from nightscribe.server.api.jobs import BUSY, JobView, owner_of
from nightscribe.server.auth import Principal, Reader, Writer, add_to_log
from nightscribe.server.context import Context, Serving, Working
from nightscribe.server.database.log import Action
from nightscribe.server.errors import ApiError, Problem
from nightscribe.server.jobs.model import Job, JobRequest
from nightscribe.server.jobs.receive import Gathered, drain, pieces, receive_form
from nightscribe.server.jobs.resumable import Resumable
from nightscribe.server.jobs.service import Jobs
from nightscribe.server.jobs.spool import Upload
from nightscribe.server.jobs.wishes import Wishes, job_request, wishes_of_form
from nightscribe.shared.errors import NightscribeError, PermanentError

router = APIRouter(prefix="/uploads", tags=["uploads"])

TUS = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration"
CHUNK_TYPE = "application/offset+octet-stream"
OF_UPLOAD = ("folder", "keep")  # fields that are about the file and not about the transcript
HANDED_OVER_WITHIN_S = 5.0
FORM_BYTES = 64 * 1024  # that a form may have around its file

UploadId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the upload.")]
Version = Annotated[
    str | None, Header(alias="Tus-Resumable", description="1.0.0 in every request of a resumable upload.")
]
_wishes = Wishes.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
FORM: dict[str, Any] = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The recording."},
                        "folder": {
                            "type": "string",
                            "description": "Folder of the source for it.",
                            "default": "uploads",
                        },
                        "keep": {
                            "type": "boolean",
                            "default": True,
                            "description": "Keep recording and transcript in the library. Otherwise, the recording is "
                            "removed when it is transcribed, and its transcript some time later.",
                        },
                        **_wishes,
                    },
                }
            },
            CHUNK_TYPE: {"schema": {"type": "string", "format": "binary"}},
        }
    }
}
CHUNK: dict[str, Any] = {"requestBody": {"content": {CHUNK_TYPE: {"schema": {"type": "string", "format": "binary"}}}}}
SIZES: dict[int | str, dict[str, Any]] = {
    **BUSY,
    413: {"model": Problem, "description": "The file is too large."},
    507: {"model": Problem, "description": "The disk of the server is full."},
}


@dataclass(frozen=True)
class _Desk:
    """Where a caller hands something in."""

    context: Context
    principal: Principal
    jobs: Jobs

    def request(self, wishes: Any, about: Mapping[str, str]) -> JobRequest:
        """Return the request for a job. Raises: ApiError, ValueRefused, RequestValidationError: if it is not valid."""
        wanted, own = about.get("folder", ""), self.principal.folder
        folder = self.principal.within(wanted) if wanted else f"{own}/uploads".lstrip("/")
        keep = _flag("keep", about.get("keep", "true"))
        return job_request(wishes, self.context.settings, owner=self.principal.owner, folder=folder, keep=keep)

    def submit(self, upload: Upload, request: JobRequest) -> Job:
        """Submit a recording, and note that in the log."""

        def note(session: Session, job: Job) -> None:
            recording = None if job.ephemeral else job.recording
            add_to_log(session, self.principal, Action.UPLOADED, recording=recording, job=job.id, bytes=job.size)

        return self.jobs.submit(upload, request, note)


def _desk(context: Serving, principal: Writer, jobs: Working) -> _Desk:
    return _Desk(context, principal, jobs)


Desk = Annotated[_Desk, Depends(_desk)]


@asynccontextmanager
async def _drained(request: Request) -> AsyncIterator[None]:
    """Read the rest of the body if the request is refused."""
    try:
        yield
    except (ApiError, NightscribeError, RequestValidationError):
        await drain(request)
        raise


@router.post(
    "",
    status_code=202,
    response_model=JobView,
    responses={**SIZES, 201: {"description": "The beginning of a resumable upload; Location says where it is."}},
    openapi_extra=FORM,
)
async def upload(
    request: Request,
    desk: Desk,
    *,
    version: Version = None,
    length: Annotated[
        int | None, Header(alias="Upload-Length", ge=0, description="Bytes of a resumable upload.")
    ] = None,
    metadata: Annotated[
        str, Header(alias="Upload-Metadata", description="filename, and the fields of the form, each in base64.")
    ] = "",
) -> Response:
    """Upload a recording, and transcribe it.

    Without the header Tus-Resumable, the body is a form with the file, and the response is its job. With it, the
    request begins a resumable upload as tus 1.0.0 says; the header Nightscribe-Job of the last response names the job.
    """
    async with _drained(request):
        if version is None:
            return await _form(request, desk)
        _require_version(version)
        if length is None:
            raise _missing("Upload-Length", "Say how many bytes the file has.")
        return await _create(request, desk, length, metadata)


async def _form(request: Request, desk: _Desk) -> Response:
    spool = desk.jobs.spool
    with suppress(ValueError):
        # The length of the form, not of the file; so nothing is refused here that would fit.
        size = int(request.headers.get("content-length", "")) - FORM_BYTES
        await run_in_threadpool(spool.require_room, max(0, size))
    form = await receive_form(request, spool)
    try:
        if "file" not in form.files:
            raise ApiError(422, "no_file", "The form has no file.", "Send the recording in the field file.")
        about = {name: form.last(name) or "" for name in OF_UPLOAD if name in form.fields}
        wishes = wishes_of_form({name: form.fields[name] for name in form.fields if name not in OF_UPLOAD})
        job = await run_in_threadpool(desk.submit, form.files["file"], desk.request(wishes, about))
    finally:
        await run_in_threadpool(form.discard)
    return JSONResponse(jsonable_encoder(JobView.of(job)), 202, headers={"Location": f"/api/v1/jobs/{job.id}"})


def _flag(name: str, value: str) -> bool:
    if value.lower() in ("true", "1", "yes", "on"):
        return True
    if value.lower() in ("false", "0", "no", "off"):
        return False
    raise ApiError(
        422, "request_not_valid", f"The request is not valid: {name}: it must be true or false.", "See /api/docs."
    )


# Resumable uploads

_TUS = {"Tus-Resumable": TUS}


def _require_version(version: str | None) -> None:
    if version != TUS:
        raise ApiError(
            412, "tus_version", f"This server speaks tus {TUS}.", "Send the header Tus-Resumable: 1.0.0.",
            headers=_TUS | {"Tus-Version": TUS},
        )  # fmt: skip


@router.options("", status_code=204)
def describe(context: Serving) -> Response:
    """Say what this server can do of tus."""
    most = round(context.server.max_upload_gb * 2**30)
    return Response(
        status_code=204,
        headers=_TUS | {"Tus-Version": TUS, "Tus-Extension": EXTENSIONS, "Tus-Max-Size": str(most)},
    )


async def _create(request: Request, desk: _Desk, length: int, metadata: str) -> Response:
    values = _metadata(metadata)
    name = values.pop("filename", values.pop("name", "recording"))
    values.pop("filetype", None)
    about = {key: values.pop(key) for key in OF_UPLOAD if key in values}
    desk.request(_wishes_of(values), about)  # refuse now what would be refused when everything has arrived
    if length == 0:
        raise ApiError(422, "empty", "The file is empty.", "Send another one.", headers=_TUS)
    asked = {"fields": values, "about": about}
    found = await run_in_threadpool(desk.jobs.uploads.create, desk.principal.owner, name, length, asked)
    headers = {"Location": f"/api/v1/uploads/{found.id}", "Upload-Expires": _date(found.expires_at)}
    if request.headers.get("content-type", "") == CHUNK_TYPE:
        headers |= await _append(request, desk, found, 0)
    return Response(status_code=201, headers=_TUS | headers)


def _wishes_of(fields: Mapping[str, str]) -> Any:
    return wishes_of_form({key: [value] for key, value in fields.items()})


@router.head("/{upload_id}")
def upload_state(upload_id: UploadId, principal: Reader, jobs: Working, version: Version = None) -> Response:
    """Say how much of an upload has arrived."""
    _require_version(version)
    found = jobs.uploads.get(upload_id, owner_of(principal))
    return Response(headers=_TUS | _state(found) | {"Cache-Control": "no-store"})


@router.patch("/{upload_id}", status_code=204, responses=SIZES, openapi_extra=CHUNK)
async def append(
    upload_id: UploadId,
    request: Request,
    desk: Desk,
    *,
    version: Version = None,
    offset: Annotated[int | None, Header(alias="Upload-Offset", ge=0, description="Where the bytes begin.")] = None,
) -> Response:
    """Send the next bytes of an upload. With the last one, the recording is complete and its job begins."""
    async with _drained(request):
        _require_version(version)
        if request.headers.get("content-type", "") != CHUNK_TYPE:
            raise ApiError(415, "wrong_type", f"The body must be {CHUNK_TYPE}.", "Set Content-Type.", headers=_TUS)
        if offset is None:
            raise _missing("Upload-Offset", "Say where the bytes begin.")
        found = await run_in_threadpool(desk.jobs.uploads.get, upload_id, owner_of(desk.principal))
        headers = await _append(request, desk, found, offset)
    return Response(status_code=204, headers=_TUS | headers)


def _missing(header: str, action: str) -> ApiError:
    return ApiError(400, "header_missing", f"The header {header} is missing.", action, headers=_TUS)


def _conflict(found: Resumable) -> ApiError:
    return ApiError(
        409, "wrong_offset", f"{found.offset} bytes of the file have arrived.", "Go on from there.",
        headers=_TUS | {"Upload-Offset": str(found.offset)},
    )  # fmt: skip


async def _append(request: Request, desk: _Desk, found: Resumable, begun_at: int) -> dict[str, str]:
    """Write what arrives, as much as arrives, and submit the recording once it is complete."""
    uploads = desk.jobs.uploads
    async with _holders.held(found.id) as unwanted:
        found = await run_in_threadpool(uploads.get, found.id, None)
        if found.offset != begun_at:
            raise _conflict(found)
        offset = begun_at

        def write(data: bytes) -> None:
            nonlocal offset
            uploads.write(found, offset, data)
            offset += len(data)

        gathered = Gathered(write)
        try:
            async for piece in pieces(request, unwanted):
                await gathered.add(piece)
        finally:
            await gathered.flush()
        if unwanted.is_set():
            raise ApiError(409, "continued_elsewhere", "Another request continues this upload.", headers=_TUS)
        if begun_at != offset:
            await run_in_threadpool(uploads.extend, found)
        found = await run_in_threadpool(uploads.get, found.id, None)
        if found.is_complete and not found.job_id:
            found = await run_in_threadpool(_finish, desk, found)
    return _state(found)


def _finish(desk: _Desk, found: Resumable) -> Resumable:
    """Submit a complete upload. One that is refused is removed, because it can never become a job."""
    uploads = desk.jobs.uploads
    request = desk.request(_wishes_of(found.request["fields"]), found.request["about"])
    complete = uploads.finish(found)
    try:
        job = desk.submit(complete, replace(request, id=found.id))
    except PermanentError:
        uploads.remove(found)
        raise
    uploads.accepted(found, job.id)
    return uploads.get(found.id, None)


@router.delete("/{upload_id}", status_code=204)
def end_upload(upload_id: UploadId, principal: Writer, jobs: Working, version: Version = None) -> Response:
    """Remove an upload that is not complete. Its job, if it is, stays."""
    _require_version(version)
    jobs.uploads.remove(jobs.uploads.get(upload_id, owner_of(principal)))
    return Response(status_code=204, headers=_TUS)


def _state(found: Resumable) -> dict[str, str]:
    state = {
        "Upload-Offset": str(found.offset),
        "Upload-Length": str(found.size),
        "Upload-Expires": _date(found.expires_at),
    }
    return state | ({"Nightscribe-Job": found.job_id} if found.job_id else {})


def _date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def _metadata(header: str) -> dict[str, str]:
    """Return the pairs of a header Upload-Metadata. Raises: ApiError: if it is not one."""
    values = {}
    for pair in filter(None, (each.strip() for each in header.split(","))):
        key, _, encoded = pair.partition(" ")
        try:
            values[key] = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ApiError(
                400, "metadata_not_valid", f"The value of {key!r} in Upload-Metadata is not base64 of UTF-8.", "",
                headers=_TUS,
            ) from None  # fmt: skip
    return values


class _Holders:
    """Lets one request at a time write to an upload. A later one takes over, because a lost connection looks alive."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}

    def held(self, upload_id: str) -> "_Holding":
        return _Holding(self._held, upload_id)


class _Holding:
    def __init__(self, held: dict[str, tuple[asyncio.Event, asyncio.Event]], upload_id: str) -> None:
        self._held, self._id = held, upload_id

    async def __aenter__(self) -> asyncio.Event:
        while (other := self._held.get(self._id)) is not None:
            wanted, over = other
            wanted.set()
            try:
                await asyncio.wait_for(over.wait(), HANDED_OVER_WITHIN_S)
            except TimeoutError:
                raise ApiError(
                    423, "at_work", "Another request sends this upload now.", "Try again in a moment.", headers=_TUS
                ) from None
        wanted, self._over = asyncio.Event(), asyncio.Event()
        self._held[self._id] = wanted, self._over
        return wanted

    async def __aexit__(self, *_: object) -> None:
        del self._held[self._id]
        self._over.set()


_holders = _Holders()
