"""Map the names of models that clients send to ours."""

from collections.abc import Sequence

from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.engines import AUTO, BUILT_IN, EngineSpec, engine_spec
from nightscribe.shared.settings import Settings
from nightscribe.worker.weights.catalogue import names

DEFAULT_NAMES = frozenset(
    {
        "",
        "default",
        "whisper-1",
        "gpt-transcribe",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-4o-transcribe-diarize",
    }
)
"""Names of OpenAI's models, which stand for the model of this server. Clients have them built in."""
_PUBLISHERS = ("openai/whisper-", "Systran/faster-whisper-", "Systran/faster-distil-whisper-")
"""Beginnings of names in a model hub, which clients of other servers have in their settings."""


def known_model(requested: str, default: str, known: Sequence[str]) -> str | None:
    """Return our name of a model, or None if it is not known.

    Args:
        requested: the name that the client sent.
        default: the model of this server.
        known: the models that it may use.
    """
    if requested in DEFAULT_NAMES or requested == public_name(default):
        return default
    if requested in known:
        return requested
    for publisher in _PUBLISHERS:
        if requested.startswith(publisher):
            name = requested.removeprefix(publisher)
            name = f"distil-{name}" if "distil" in publisher else name
            return name if name in known or name == default else None
    return None


def public_name(model: str) -> str:
    """Return the name of a model, without the folders of this machine if it is a path."""
    return model.rstrip("/").rpartition("/")[2] if model.startswith(("/", "~", ".")) else model


def known_models(settings: Settings, largest: str = "") -> tuple[str, ...]:
    """Return the names of the models that requests may name, besides that of the server. Paths are left out.

    `largest`: the largest model that requests may name; empty for any.
    """
    spec = _engine(settings)
    if settings.models:
        named: Sequence[str] = [model for model in settings.models if "/" not in model]
    elif spec.models is not None:
        named = sorted(spec.models)
    else:
        named = names(spec.weights)
    most = size_of(largest, spec) if largest else None
    return tuple(model for model in named if most is None or (size_of(model, spec) or 0) <= most)


def size_of(model: str, spec: EngineSpec) -> float | None:
    """Return the millions of parameters of a model, or None if they are not known."""
    return next((size for name, size in spec.parameters.items() if name in model), None)


def _engine(settings: Settings) -> EngineSpec:
    """Return the engine that the workers probably use; with `auto`, each chooses the first that it has."""
    if settings.engine != AUTO:
        try:
            return engine_spec(settings.engine)
        except SetupError:  # it is installed on the workers only
            pass
    return next(iter(BUILT_IN.values()))
