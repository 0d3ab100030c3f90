"""Serve OpenAI's API for transcriptions, translations and models, as its clients expect it.

Source: the specification of OpenAI's API and its Python client. docs/api-compat.md lists what differs.
"""

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from nightscribe.server.auth import Reader, Writer
from nightscribe.server.compat import transcripts
from nightscribe.server.compat.streaming import PING, parts_as_they_finish, peeked
from nightscribe.server.compat.waiting import (
    Unacceptable,
    choose_model,
    finished,
    followed,
    job_request,
    offered_models,
    receive,
    submit,
    vocabulary,
)
from nightscribe.server.context import Context, Serving
from nightscribe.server.errors import ApiError
from nightscribe.server.jobs.model import Job, JobRequest
from nightscribe.server.jobs.receive import Form
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.formats.document import text_language
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.languages import language_code, language_codes
from nightscribe.shared.model.transcript import Transcript

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # no other goes into a header
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
router = APIRouter(
    prefix="/v1",
    tags=["OpenAI"],
    responses={"default": {"description": "An error.", "content": {"application/json": {"schema": _ERROR}}}},
)

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]
FORMATS: tuple[str, ...] = get_args(ResponseFormat)
STREAMED = ("json", "text", "diarized_json")
WHISPER = "whisper-1"
MAX_CLIENT_WAIT_S = 60
"""Clients of OpenAI wait at most this long before they repeat a request; otherwise they do so within seconds."""

MOST_NAMED = 20
"""Parameters without effect that a response names."""
UNDERSTOOD = frozenset(
    {
        *("file", "model", "language", "languages", "response_format", "timestamp_granularities", "include", "stream"),
        *("known_speaker_names", "known_speaker_references", "user"),
    }
)
"""Parameters that are honoured or refused. The response names all others that were sent in `X-Ignored-Parameters`."""
VOCABULARY = {"prompt": "prompt", "keywords": "hotwords"}
"""Parameters that are honoured if the engine follows these options."""


class OpenAIRefusal(Unacceptable):
    """A refusal that names the parameter that is wrong."""

    def __init__(self, param: str, message: str, action: str = "", *, code: str = "invalid_value") -> None:
        super().__init__(400, code, message, action)
        self.param = param


@dataclass(frozen=True)
class Wanted:
    """What a client wants to have of a recording."""

    request: JobRequest
    response_format: str
    granularities: tuple[str, ...]
    stream: bool
    ignored: tuple[str, ...]


# Errors


def envelope(_: Request, error: ApiError) -> Response:
    """Return an error as OpenAI's clients read it."""
    headers, status, code = dict(error.headers), error.status, error.problem.code
    sentence = " ".join(filter(None, (error.problem.message, error.problem.action)))
    is_final = status in (500, 507) or (status == 503 and "Retry-After" not in headers)
    is_useless = is_final or isinstance(error, Unacceptable)
    if code == "busy" and int(headers.get("Retry-After", "0")) > MAX_CLIENT_WAIT_S:
        is_useless, status = True, 503
        sentence += " POST /api/v1/uploads accepts recordings for which nobody waits."
    if is_useless:
        headers["x-should-retry"] = "false"  # a client would upload the whole file again, in vain
    if status == 422:
        status = 400
    body = {
        "message": sentence,
        "type": _type(status),
        "param": getattr(error, "param", None),
        "code": "invalid_api_key" if status == 401 else code,
    }
    return JSONResponse({"error": body}, status, headers=headers)


def _type(status: int) -> str:
    match status:
        case 403:
            return "permission_error"
        case 429:
            return "rate_limit_error"
        case status if status >= 500:
            return "server_error"
        case _:
            return "invalid_request_error"


# Models


@router.get("/models", summary="List the models that requests may name")
def list_models(_: Reader, context: Serving) -> dict[str, Any]:
    """List the models. `whisper-1` and OpenAI's other names stand for the model of this server."""
    known = (*offered_models(context), WHISPER)
    return {"object": "list", "data": [_model(name) for name in dict.fromkeys(known)]}


@router.get("/models/{model:path}", summary="Get a model")
def get_model(model: Annotated[str, Path(max_length=500)], _: Reader, context: Serving) -> dict[str, Any]:
    """Return a model."""
    choose_model(context, model)
    return _model(model)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "nightscribe"}


# Transcriptions


def _form_of(*fields: str) -> dict[str, Any]:
    """Return the form for the documentation; FastAPI does not read it, see `receive`."""
    text = {"type": "string"}
    known: dict[str, Any] = {
        "file": {"type": "string", "format": "binary"},
        "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
        "temperature": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
        "stream": {"type": "boolean", "default": False},
        "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": ["word", "segment"]}},
        "languages[]": {"type": "array", "items": text},
        "include[]": {"type": "array", "items": text},
    }
    schema = {
        "type": "object",
        "required": ["file", "model"],
        "properties": {name: known.get(name, text) for name in fields},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_TRANSCRIPTION = _form_of(
    *("file", "model", "language", "languages[]", "prompt", "response_format", "temperature"),
    *("timestamp_granularities[]", "stream", "include[]", "chunking_strategy"),
)
_TRANSLATION = _form_of("file", "model", "prompt", "response_format", "temperature")


@router.post("/audio/transcriptions", openapi_extra=_TRANSCRIPTION, response_model=None)
async def transcribe(request: Request, principal: Writer, context: Serving) -> Response:
    """Transcribe a recording and respond when it is done."""
    return await _respond(request, principal, context, "transcribe")


@router.post("/audio/translations", openapi_extra=_TRANSLATION, response_model=None)
async def translate(request: Request, principal: Writer, context: Serving) -> Response:
    """Translate a recording into English and respond when it is done."""
    return await _respond(request, principal, context, "translate")


async def _respond(request: Request, principal: Writer, context: Context, task: str) -> Response:
    form = await receive(request, "file")
    try:
        wanted = _wanted(form, principal, context, task)
        job = await submit(request, context, form.files["file"], wanted.request)
    finally:
        form.discard()
    headers = {"X-Ignored-Parameters": ", ".join(wanted.ignored)} if wanted.ignored else {}
    if wanted.stream:
        events = await peeked(_events(request, job, wanted))
        headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    response = _rendered(await finished(request, job), wanted)
    response.headers.update(headers)
    return response


def _wanted(form: Form, principal: Writer, context: Context, task: str) -> Wanted:
    """Return what a form requests. Raises: ApiError: if it cannot be done as requested."""
    if not _last(form, "model"):
        raise OpenAIRefusal("model", "The request names no model.", f"Send {WHISPER!r} for that of this server.")
    response_format = _one_of(form, "response_format", FORMATS, "json")
    granularities = tuple(dict.fromkeys(_all(form, "timestamp_granularities")))
    for each in granularities:
        if each not in ("word", "segment"):
            raise OpenAIRefusal("timestamp_granularities", f"{each!r} is neither 'word' nor 'segment'.")
    if granularities and response_format != "verbose_json":
        raise OpenAIRefusal(
            "timestamp_granularities", "Only verbose_json has a place for timestamps.",
            "Request response_format=verbose_json, or leave timestamp_granularities out.",
        )  # fmt: skip
    stream = _flag(form, "stream")
    if stream and response_format not in STREAMED:
        raise OpenAIRefusal(
            "stream", f"{response_format} cannot be streamed.", f"Stream {', '.join(STREAMED)}, or leave stream out."
        )
    if task == "translate" and (response_format == "diarized_json" or stream):
        what = "stream" if stream else "response_format"
        raise OpenAIRefusal(what, "Translations are neither streamed nor labelled with speakers.")
    _refuse_what_cannot_be_done(form)
    return Wanted(
        request=_job_request(
            form, principal, context, task, words="word" in granularities, speakers=response_format == "diarized_json"
        ),
        response_format=response_format,
        granularities=granularities or ("segment",),
        stream=stream,
        ignored=tuple(sorted(_ignored(form, context)))[:MOST_NAMED],
    )


def _job_request(
    form: Form, principal: Writer, context: Context, task: str, *, words: bool, speakers: bool
) -> JobRequest:
    chosen: dict[str, Any] = {"task": task, "model": choose_model(context, _last(form, "model"))}
    param = "language"
    try:
        if language := _last(form, "language"):
            chosen |= {"language": language_code(language), "languages": ()}
        param = "languages"
        if (languages := _all(form, "languages")) and not language:
            chosen |= {"language": "auto", "languages": language_codes(languages)}
        param = "keywords"
        chosen |= vocabulary(context, _last(form, "prompt"), _all(form, "keywords"))
    except ValueRefused as error:
        raise OpenAIRefusal(param, str(error)) from None
    if speakers and context.settings.speakers == "off":
        chosen |= {"speakers": "auto"}
    return job_request(context, principal, words=words, **chosen)


def _refuse_what_cannot_be_done(form: Form) -> None:
    for include in _all(form, "include"):
        if include != "logprobs":
            raise OpenAIRefusal("include", f"{include!r} is not known.")
        raise OpenAIRefusal(
            "include", "The log probabilities of tokens are not kept.",
            "Request response_format=verbose_json: it has the mean of each segment in avg_logprob.",
            code="unsupported_parameter",
        )  # fmt: skip
    if _all(form, "known_speaker_names") or _all(form, "known_speaker_references"):
        raise OpenAIRefusal(
            "known_speaker_names", "Speakers are not compared with samples in a request.",
            "Leave known_speaker_names and known_speaker_references out.", code="unsupported_parameter",
        )  # fmt: skip
    if temperature := _last(form, "temperature"):
        try:
            is_valid = 0 <= float(temperature) <= 1
        except ValueError:
            is_valid = False
        if not is_valid:
            raise OpenAIRefusal("temperature", "The temperature must be a number from 0 to 1.")


def _ignored(form: Form, context: Context) -> set[str]:
    sent = {name.partition("[")[0] for name, values in form.fields.items() if any(values)}
    known = UNDERSTOOD | {name for name, option in VOCABULARY.items() if option in followed(context)}
    names = {name for name in sent - known if _NAME.fullmatch(name)}
    if _last(form, "temperature") and float(_last(form, "temperature")) == 0:
        names.discard("temperature")  # what is done: it rises where a passage is in doubt
    if _last(form, "chunking_strategy") == "auto":
        names.discard("chunking_strategy")
    return names


def _last(form: Form, name: str) -> str:
    return form.last(name) or ""


def _all(form: Form, name: str) -> list[str]:
    """Return all values of a field, which clients send as `name` or `name[]`."""
    return form.fields.get(name, []) + form.fields.get(f"{name}[]", [])


def _one_of(form: Form, name: str, known: Iterable[str], usual: str) -> str:
    value = _last(form, name) or usual
    if value not in known:
        raise OpenAIRefusal(name, f"{name} is {value!r}, but must be one of {', '.join(known)}.")
    return value


def _flag(form: Form, name: str) -> bool:
    value = _last(form, name).lower()
    if value not in ("", "true", "false", "1", "0"):
        raise OpenAIRefusal(name, f"{name} must be true or false.")
    return value in ("true", "1")


def _rendered(transcript: Transcript, wanted: Wanted) -> Response:
    match wanted.response_format:
        case "text":
            return PlainTextResponse(transcripts.text_of(transcripts.spoken(transcript)) + "\n")
        case "srt":
            return Response(render(transcript, "srt"), media_type="text/plain; charset=utf-8")
        case "vtt":
            return Response(render(transcript, "vtt"), media_type="text/vtt; charset=utf-8")
        case "verbose_json":
            return JSONResponse(transcripts.verbose_json(transcript, wanted.granularities))
        case "diarized_json":
            return JSONResponse(transcripts.diarized_json(transcript))
        case _:
            return JSONResponse(transcripts.json_response(transcript))


# Streaming


async def _events(request: Request, job: Job, wanted: Wanted) -> AsyncIterator[bytes]:
    """Yield the text as parts of the recording are done, then what follows from the whole of it.

    Speakers are known only at the end, so all events of `diarized_json` come then.
    """
    said = ""
    async for each in parts_as_they_finish(request, job):
        if each is None:
            yield PING
        elif isinstance(each, Transcript):
            for event in _last_events(each, wanted, said):
                yield _event(event)
        elif wanted.response_format != "diarized_json":
            for delta in transcripts.deltas(transcripts.with_words(each.segments), said):
                said += delta
                yield _event({"type": "transcript.text.delta", "delta": delta})


def _last_events(transcript: Transcript, wanted: Wanted, said: str) -> Iterator[dict[str, Any]]:
    segments = transcripts.spoken(transcript)
    text = transcripts.text_of(segments)
    if wanted.response_format == "diarized_json":
        yield from transcripts.diarized_segments(transcript)
    elif text.startswith(said) and (rest := text.removeprefix(said)):
        yield {"type": "transcript.text.delta", "delta": rest}
    languages = [{"code": code}] if (code := text_language(transcript)) else []
    yield {"type": "transcript.text.done", "text": text, "languages": languages}


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
