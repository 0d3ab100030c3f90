"""Decide which models a job may have this worker load: messages are other people's, and a model's file is trusted."""

from dataclasses import dataclass
from pathlib import Path

from nightscribe.shared.errors import ModelUnavailable, SetupError
from nightscribe.shared.model.engines import AUTO, engine_spec
from nightscribe.shared.model.jobs import Options
from nightscribe.worker.weights.catalogue import MODELS


@dataclass(frozen=True)
class AllowedModels:
    """The models that the settings of one worker allow."""

    own: str
    """The model that the worker was started with."""
    listed: tuple[str, ...]
    """Names and paths; empty: the names that nightscribe or the engine knows."""
    models_dir: Path
    """Models below this folder are always allowed."""

    def check(self, options: Options) -> None:
        """Raise ModelUnavailable, with the code `model_refused`, unless the worker may load what a job asks for."""
        model = options.model
        if model in (self.own, *self.listed) or (not self.listed and _is_known(options.engine, model)):
            return
        path = _resolved(model)
        if path and (path in map(_resolved, self.listed) or self.models_dir.resolve() in path.parents):
            return
        raise ModelUnavailable(
            f"The worker does not load the model {model!r}: its settings do not allow it. List it in "
            "NIGHTSCRIBE_MODELS (--models) of the workers, or put it below their models folder, "
            "if you trust whoever asked for it.",
            code="model_refused",
        )


def _is_known(engine: str, model: str) -> bool:
    """Return whether a model is one that nightscribe, or an engine that finds its own weights, knows by name."""
    try:
        spec = None if engine == AUTO else engine_spec(engine)
    except SetupError:  # the engine is unknown, which is the better reason
        return True
    if spec is None or spec.weights is not None:
        return model in MODELS
    return model in spec.models if spec.models is not None else _resolved(model) is None


def _resolved(model: str) -> Path | None:
    """Return the path that a model names, without links; None if it is a plain name."""
    if not model.startswith(("~", ".")) and "/" not in model and "\\" not in model:
        return None
    try:
        return Path(model).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # no path that a file can have
        return Path()
