"""APIs that other programs already speak. docs/api-compat.md lists them, and what differs."""

from collections.abc import Mapping

from fastapi import APIRouter

from nightscribe.server.compat import asr_webservice, openai, whisper_api
from nightscribe.server.errors import Envelope


def routers() -> list[APIRouter]:
    """Return everything that is mounted by `create_app`; the routers name their own paths."""
    return [openai.router, asr_webservice.router, whisper_api.router]


def envelopes() -> Mapping[str, Envelope]:
    """Return how errors look below each of these paths; elsewhere they look as `errors.Problem` says."""
    plain = dict.fromkeys(("/asr", "/detect-language", *whisper_api.PATHS), asr_webservice.envelope)
    return {"/v1/": openai.envelope, **plain}
