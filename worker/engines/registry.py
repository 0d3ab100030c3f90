"""Find and load speech engines by name; the library of an engine is imported only when it is loaded."""

from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from nightscribe.shared.errors import SetupError, WeightsError
from nightscribe.shared.model.engines import AUTO, BUILT_IN, engine_spec
from nightscribe.worker.engines.base import Recognizer
from nightscribe.worker.weights import resolver
from nightscribe.worker.weights.catalogue import check_model, is_english_only
from nightscribe.worker.weights.resolver import Weights


def choose(name: str) -> str:
    """Return the engine that `auto` selects on this machine, or `name` itself.

    Raises: SetupError: if the engine is unknown or not installed.
    """
    candidates = list(BUILT_IN.values()) if name == AUTO else [engine_spec(name)]
    for spec in candidates:
        if find_spec(spec.requires):
            return spec.name
    spec = candidates[0]
    raise SetupError(f"The speech engine {spec.name} is not installed. Install it: pip install '{spec.install}'.")


def check(engine: str, model: str, *, language: str, task: str, languages: Collection[str] = ()) -> None:
    """Raise SetupError if the engine cannot run the model, or if either does not support the languages or the task.

    `languages`: those among which `auto` chooses; empty for any. With the engine `auto`, which may select another
    engine on another machine, it checks only the model.
    """
    spec = None if engine == AUTO else engine_spec(engine)
    spoken = languages if language == AUTO and languages else (language,)
    if spec is not None:
        for each in spoken:
            spec.check(language=each, task=task)
    if spec is None or spec.weights is not None:
        check_model(model, spec.weights if spec else None)
    elif spec.models is not None and model not in spec.models:
        raise WeightsError(f"{engine} has no model named {model!r}. Its models are {', '.join(sorted(spec.models))}.")
    for each in spoken:
        _check_english_only(model, language=each, task=task)


def _check_english_only(model: str, *, language: str, task: str) -> None:
    if not is_english_only(model):
        return
    lack = f", and the language is {language}" if language not in (AUTO, "en") else ""
    if task == "translate":
        lack = lack or " and cannot translate"
    if lack:
        raise SetupError(f"The model {model} knows only English{lack}. Choose --model {model.removesuffix('.en')}.")


def find_weights(engine: str, model: str, models_dir: Path) -> Weights:
    """Return the weights of a model for an engine, downloading them if they are not on this machine.

    An engine that finds its own weights gets a folder for them in `models_dir`, which may not exist yet.

    Raises: WeightsError: if they cannot be found or downloaded.
    """
    spec = engine_spec(engine)
    if spec.weights is None:
        return Weights(models_dir / spec.name, "left to the engine")
    return resolver.resolve(model, spec.weights, models_dir)


def load(engine: str, model: str, weights: Path, *, threads: int) -> Recognizer:
    """Load a model into memory, which takes seconds, and return its engine."""
    module, _, attribute = engine_spec(engine).load.partition(":")
    recognizer: Recognizer = getattr(import_module(module), attribute)(model, weights, threads=threads)
    return recognizer
