"""From the name of a speech engine to the engine with a model in memory; its library is imported only then."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from nightscribe.shared.errors import SetupError, WeightsError
from nightscribe.shared.model.engines import AUTO, BUILT_IN, engine_spec
from nightscribe.worker.engines.base import Recognizer
from nightscribe.worker.weights import resolver
from nightscribe.worker.weights.catalogue import check_model
from nightscribe.worker.weights.resolver import Weights


def choose(name: str) -> str:
    """Return the engine that `auto` means on this machine, or `name` itself.

    Raises: SetupError: if the engine is unknown or not installed.
    """
    candidates = list(BUILT_IN.values()) if name == AUTO else [engine_spec(name)]
    for spec in candidates:
        if find_spec(spec.requires):
            return spec.name
    spec = candidates[0]
    raise SetupError(f"The speech engine {spec.name} is not installed. Install it: pip install '{spec.install}'.")


def check(engine: str, model: str, *, language: str, task: str) -> None:
    """Raise SetupError if the engine cannot run the model, does not know the language or cannot do the task.

    With `auto`, which may mean another engine on another machine, only the name of the model is checked.
    """
    if engine == AUTO:
        check_model(model, None)
        return
    spec = engine_spec(engine)
    spec.check(language=language, task=task)
    if spec.weights is not None:
        check_model(model, spec.weights)
    elif spec.models is not None and model not in spec.models:
        raise WeightsError(f"{engine} has no model named {model!r}. Its models are {', '.join(sorted(spec.models))}.")


def find_weights(engine: str, model: str, models_dir: Path) -> Weights:
    """Return the weights of a model for an engine, fetched if they are nowhere on this machine.

    An engine that finds its own weights gets a folder for them in `models_dir`, which may not exist yet.

    Raises: WeightsError: if they cannot be found or fetched.
    """
    spec = engine_spec(engine)
    if spec.weights is None:
        return Weights(models_dir / spec.name, "left to the engine")
    return resolver.resolve(model, spec.weights, models_dir)


def load(engine: str, model: str, weights: Path, *, threads: int) -> Recognizer:
    """Return the engine with a model in memory; this takes seconds."""
    module, _, attribute = engine_spec(engine).load.partition(":")
    recognizer: Recognizer = getattr(import_module(module), attribute)(model, weights, threads=threads)
    return recognizer
