"""Turn every error into one shape: a code for programs, a sentence for people, and what they can do about it.

Paths of other APIs have an envelope of their own, see `Envelope`.
"""

import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from nightscribe.server.jobs.model import Busy, NoSuchJob, NotFinished
from nightscribe.shared.errors import (
    ExtraMissing,
    NightscribeError,
    PermanentError,
    RetryableError,
    SetupError,
    ValueRefused,
)

log = structlog.get_logger()

RETRY_AFTER_S = 10


class Problem(BaseModel):
    """An error, as every path below `/api/v1` states it."""

    code: str = Field(description="For programs; it does not change between releases.")
    message: str = Field(description="What is wrong, in one sentence.")
    action: str = Field(description="What to do about it, in one sentence; empty if there is nothing to do.")


class ApiError(Exception):
    """A refusal with its HTTP status. Raise it anywhere in a request."""

    def __init__(
        self, status: int, code: str, message: str, action: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problem = Problem(code=code, message=message, action=action)
        self.headers = dict(headers or {})


Envelope = Callable[[Request, ApiError], Response]
"""Returns an error in the shape of another API. Its status and headers should be those of the error."""


def not_found(what: str = "recording") -> ApiError:
    """Return the error for a thing that does not exist, or that the caller may not see."""
    return ApiError(404, "not_found", f"There is no such {what}.", "Check its id; it may have been deleted or renamed.")


def install(app: FastAPI, envelopes: Mapping[str, Envelope]) -> Envelope:
    """Let the application respond to every error in the shape that its path requires; return what makes the response.

    `envelopes`: by the beginning of the path; the longest one that fits counts.
    """
    prefixes = sorted(envelopes, key=len, reverse=True)

    def respond(request: Request, error: ApiError) -> Response:
        for prefix in prefixes:
            if request.url.path.startswith(prefix):
                return envelopes[prefix](request, error)
        return JSONResponse(error.problem.model_dump(), error.status, headers=error.headers)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)  # noqa: S101  what it is registered for
        return respond(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return respond(request, from_validation(error))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return respond(request, from_http(error))

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, NightscribeError)  # noqa: S101
        return respond(request, from_nightscribe(error))

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("request.failed", method=request.method, path=request.url.path, exc_info=error)
        return respond(request, _unexpected())

    app.add_exception_handler(ApiError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(NightscribeError, known)
    app.add_exception_handler(Exception, unexpected)
    return respond


def from_nightscribe(error: NightscribeError) -> ApiError:
    """Return the refusal for an error of a service."""
    match error:
        case Busy():
            headers = {"Retry-After": str(math.ceil(error.retry_after_s))}
            return ApiError(429, error.code, str(error), "Try again after the given time.", headers=headers)
        case NoSuchJob():
            return not_found("job")
    status, action = _status(error)
    if status == 500:
        return _unexpected()
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, RetryableError) and status == 503 else {}
    return ApiError(status, error.code, str(error), action, headers=headers)


def _status(error: NightscribeError) -> tuple[int, str]:
    """Return the status for an error, and what to do about it."""
    by_code = {
        "too_large": (413, "Send a smaller file."),
        "disk_full": (507, "Whoever runs this server must make room on its disk."),
        NotFinished.code: (409, "Wait for its end, for instance by its events."),
        **dict.fromkeys(
            ("empty", "encrypted", "no_audio_track", "no_sound", "not_audio", "text_not_sound"),
            (422, "Send another file."),
        ),
    }
    if error.code in by_code:
        return by_code[error.code]
    match error:
        case ValueRefused() | ExtraMissing() | PermanentError():
            return 422, "Change the request."
        case RetryableError():
            return 503, "Try again later."
        case SetupError():
            return 503, "Whoever runs this server must change its settings."
        case _:
            return 500, ""


def from_validation(error: RequestValidationError) -> ApiError:
    """Return the refusal for a request that does not have the documented form."""
    wrong = "; ".join(f"{_place(problem)}: {_sentence(problem)}" for problem in error.errors()[:5])
    return ApiError(
        422, "request_not_valid", f"The request is not valid: {wrong.rstrip('.')}.", "See /api/docs for its form."
    )


def from_http(error: HTTPException) -> ApiError:
    """Return the refusal for an error of the web framework, such as an unknown path."""
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return ApiError(404, "not_found", "There is nothing at this address.", "See /api/docs for all addresses.")
        case 405:
            allowed = headers.get("Allow") or headers.get("allow") or ""
            return ApiError(
                405, "method_not_allowed", "This address does not take this method.", f"It takes {allowed}.",
                headers=headers,
            )  # fmt: skip
        case 413:
            return ApiError(413, "too_large", "The request is too large.", "Send less.", headers=headers)
        case status:
            code = HTTPStatus(status).phrase.lower().replace(" ", "_")
            return ApiError(status, code, str(error.detail), headers=headers)


def _unexpected() -> ApiError:
    return ApiError(
        500, "server_error", "The server failed at this request.", "Its log says why. Please report it as a bug."
    )


def _place(problem: Mapping[str, Any]) -> str:
    """Return where in the request a value is, such as `limit` or `words.0.text`."""
    parts = [str(part) for part in problem.get("loc", ())]
    return ".".join(parts[1:] if len(parts) > 1 else parts) or "the request"


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "dict": "an object",
    "model": "an object",
    "datetime": "a date and time",
    "timezone": "a date and time with a zone",
}
_SENTENCES = {
    "missing": "it is missing",
    "json_invalid": "it is not JSON",
    "literal_error": "it must be one of {expected}",
    "enum": "it must be one of {expected}",
    "greater_than_equal": "it must be at least {ge}",
    "greater_than": "it must be more than {gt}",
    "less_than_equal": "it must be at most {le}",
    "less_than": "it must be less than {lt}",
    "string_too_long": "it must not have more than {max_length} characters",
    "string_too_short": "it must have at least {min_length} characters",
    "too_long": "it must not have more than {max_length} values",
    "too_short": "it must have at least {min_length} values",
    "extra_forbidden": "it is not known",
}


def _sentence(problem: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, in plain words instead of pydantic's."""
    name = str(problem.get("type", ""))
    if name == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    if sentence := _SENTENCES.get(name):
        return sentence.format_map(problem.get("ctx") or {})
    kind = _KINDS.get(name.partition("_")[0])
    return f"it must be {kind}" if kind else "it cannot be used here"
