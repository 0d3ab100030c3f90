"""Serve the API of whisper-asr-webservice, as its clients (Bazarr, Speakr) use it.

Source: its README and code, version 1.9. Every text comes as `text/plain`, also JSON. Parameters that it does not know
are ignored, as it does; errors are `{"detail": sentence}`.
"""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator
from starlette.concurrency import run_in_threadpool

from nightscribe.server.auth import Writer
from nightscribe.server.compat import transcripts
from nightscribe.server.compat.excerpt import excerpt
from nightscribe.server.compat.model_names import known_model, known_models
from nightscribe.server.compat.pcm import PcmSpool
from nightscribe.server.compat.waiting import Unacceptable, finished, job_request, receive, submit, vocabulary
from nightscribe.server.context import Serving, jobs_of
from nightscribe.server.errors import ApiError
from nightscribe.server.jobs import planning
from nightscribe.server.jobs.spool import Upload
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.languages import language_code
from nightscribe.shared.model.speaker_options import MOST_SPEAKERS
from nightscribe.shared.model.transcript import Flag

_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["detail", "code"],
    "properties": {"detail": {"type": "string"}, "code": {"type": "string"}},
}
ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"description": "An error.", "content": {"application/json": {"schema": _ERROR}}}
}
router = APIRouter(tags=["whisper-asr-webservice"], responses=ERRORS)

Output = Literal["txt", "text", "vtt", "srt", "tsv", "json"]
Number = Annotated[int | None, BeforeValidator(lambda value: value or None)]
"""A whole number; empty if it is not known."""
EXCERPT_S = 30.0
UNSURE = 0.5
"""Upper bound of the probability of a language that is not sure. That of a sure one is not kept, so it is null."""
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["audio_file"],
                    "properties": {"audio_file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


def envelope(_: Request, error: ApiError) -> Response:
    """Return an error as FastAPI's own errors look, which these clients expect."""
    sentence = " ".join(filter(None, (error.problem.message, error.problem.action)))
    return JSONResponse({"detail": sentence, "code": error.problem.code}, error.status, headers=error.headers)


@router.post("/asr", openapi_extra=_FORM, response_model=None)
async def asr(  # noqa: PLR0917  as FastAPI reads them
    request: Request,
    principal: Writer,
    context: Serving,
    encode: bool = True,
    task: Literal["transcribe", "translate"] = "transcribe",
    language: str = "",
    word_timestamps: bool = False,
    diarize: bool = False,
    enable_diarization: bool = False,
    min_speakers: Number = None,
    max_speakers: Number = None,
    model: str = "",
    initial_prompt: str = "",
    output: Output = "txt",
) -> Response:
    """Transcribe a recording and respond when it is done. `encode=false`: 16-bit mono samples at 16 kHz, no header."""
    known = known_models(context.settings, context.server.largest_model)
    usual = context.settings.model
    chosen: dict[str, Any] = {"task": task, "model": known_model(model, usual, known) or usual}
    chosen |= vocabulary(context, initial_prompt)
    if language and language != "auto":
        chosen |= {"language": language_code(language), "languages": ()}
    if diarize or enable_diarization:
        chosen |= _speakers(min_speakers, max_speakers)
    upload = await _received(request, encode=encode)
    name = upload.name
    job = await submit(request, context, upload, job_request(context, principal, words=word_timestamps, **chosen))
    transcript = await finished(request, job)
    kind = "txt" if output == "text" else output
    return Response(
        render(transcript, "whisper-json" if kind == "json" else kind),
        media_type="text/plain; charset=utf-8",
        headers={
            "Asr-Engine": transcript.engine.split(" ")[0].replace("-", "_"),
            "Content-Disposition": f'attachment; filename="{quote(name)}.{kind}"',
        },
    )


@router.post("/detect-language", openapi_extra=_FORM, response_model=None)
async def detect_language(request: Request, principal: Writer, context: Serving, encode: bool = True) -> Response:
    """Detect the language of a recording by its first 30 s, or by a later excerpt if nobody speaks in them."""
    upload = await _received(request, encode=encode)
    try:
        wanted = job_request(context, principal, words=False, task="transcribe", language="auto", speakers="off")
        for start_s in await run_in_threadpool(_places, upload):
            part = await run_in_threadpool(excerpt, jobs_of(request).spool, upload, start_s, EXCERPT_S)
            transcript = await finished(request, await submit(request, context, part, wanted))
            if code := transcript.language:
                return JSONResponse(
                    {
                        "detected_language": transcripts.language_name(code),
                        "language_code": code,
                        "confidence": UNSURE if Flag.LANGUAGE_UNSURE in transcript.flags else None,
                    }
                )
    finally:
        upload.discard()
    raise Unacceptable(422, "no_speech", "Nobody speaks in the recording.", "Send one in which somebody does.")


def _places(upload: Upload) -> list[float]:
    """Return where excerpts begin, in seconds."""
    length_s = planning.length_s(upload.path) or 0.0
    last_s = max(0.0, length_s - EXCERPT_S)
    later = (min(max(share * length_s, EXCERPT_S), last_s) for share in (0.25, 0.5, 0.75))
    return sorted({0.0, *later})


async def _received(request: Request, *, encode: bool) -> Upload:
    form = await receive(request, "audio_file", None if encode else PcmSpool(jobs_of(request).spool))
    return form.files["audio_file"]


def _speakers(at_least: int | None, at_most: int | None) -> dict[str, Any]:
    """Return the options for speakers. Numbers that make no sense count as not given, as they do there."""
    least = at_least if at_least and 1 <= at_least <= MOST_SPEAKERS else 1
    most = at_most if at_most and least <= at_most <= MOST_SPEAKERS else 0
    return {"speakers": "auto", "min_speakers": least, "max_speakers": most}
