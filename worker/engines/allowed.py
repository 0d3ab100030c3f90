"""Decide which models a job may make this worker load, because anybody may send jobs but a model file is trusted."""

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
    """Names and paths; if empty, the names that nightscribe or the engine knows."""
    models_dir: Path
    """Folder whose models are always allowed."""

    def check(self, options: Options) -> None:
        """Raise ModelUnavailable, with the code `model_refused`, unless the worker may load the job's model."""
        model = options.model
        if model in (self.own, *self.listed) or (not self.listed and _is_known(options.engine, model)):
            return
        path = _resolved(model)
        if path and (path in map(_resolved, self.listed) or self.models_dir.resolve() in path.parents):
            return
        raise ModelUnavailable(
            f"The worker does not load the model {model!r}, because its settings do not allow it. If you trust the "
            "sender of the job, list the model in NIGHTSCRIBE_MODELS (--models) of the workers or put it below their "
            "models folder.",
            code="model_refused",
        )


def _is_known(engine: str, model: str) -> bool:
    """Return whether nightscribe, or an engine that finds its own weights, knows the model by name."""
    try:
        spec = None if engine == AUTO else engine_spec(engine)
    except SetupError:  # the engine is unknown; loading it raises a better error
        return True
    if spec is None or spec.weights is not None:
        return model in MODELS
    return model in spec.models if spec.models is not None else _resolved(model) is None


def _resolved(model: str) -> Path | None:
    """Return the path that a model names, with links resolved, or None if it is a plain name."""
    if not model.startswith(("~", ".")) and "/" not in model and "\\" not in model:
        return None
    try:
        return Path(model).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # no file can have this path
        return Path()
