"""Find and load speech engines by name; the library of an engine is imported only when it is loaded."""

from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from nightscribe.shared.errors import ExtraMissing, SetupError, WeightsError
from nightscribe.shared.model.engines import AUTO, BUILT_IN, EngineSpec, WeightsLayout, engine_spec
from nightscribe.worker.engines.base import Recognizer
from nightscribe.worker.weights import pinned, resolver
from nightscribe.worker.weights.catalogue import MODELS, check_model, hub_model, is_english_only
from nightscribe.worker.weights.model_folder import describe, known_languages
from nightscribe.worker.weights.resolver import Weights

FOLDER_FOR_WHISPER: tuple[WeightsLayout, ...] = ("ctranslate2", "onnx")
CHECKPOINT: tuple[WeightsLayout, ...] = ("openai",)
OTHER_FOLDER: tuple[WeightsLayout, ...] = ("onnx-asr",)


def choose(name: str, model: str = "", models_dir: Path | None = None) -> str:
    """Return the engine that `auto` selects on this machine for a model, or `name` itself.

    A repository on the hub that is not on this machine is looked up there. `models_dir`: where downloads are noted.

    Raises: SetupError: if the engine is unknown or not installed, or the model cannot be looked up.
    """
    candidates = _candidates(model, models_dir) if name == AUTO else [engine_spec(name)]
    for spec in candidates:
        if find_spec(spec.requires):
            return spec.name
    spec = candidates[0]
    lack = f"The speech engine {spec.name} is not installed."
    if spec.name in BUILT_IN:
        raise ExtraMissing(lack, spec.name)
    raise SetupError(f"{lack} Install it: pip install '{spec.install}'.")


def _candidates(model: str, models_dir: Path | None) -> list[EngineSpec]:
    """Return the built-in engines that can run a model, or all of them if nothing is known about it."""
    layouts = layouts_of(model, models_dir)
    return [spec for spec in BUILT_IN.values() if layouts is None or spec.weights in layouts]


def layouts_of(model: str, models_dir: Path | None = None) -> Collection[WeightsLayout] | None:
    """Return the layouts in which a model exists or can be made, or None if there is no such model.

    Raises: WeightsError: if a repository is on the hub alone and cannot be looked up.
    """
    if model in MODELS:
        return MODELS[model].layouts
    if on_hub := hub_model(model):
        noted = pinned.read_pinned(models_dir, *on_hub) if models_dir else None
        return _layouts(noted.files if noted else pinned.listing(*on_hub).files)
    path = Path(model).expanduser() if model else None
    if path and path.is_dir():
        return _layouts(each.name for each in path.iterdir())
    return CHECKPOINT if path and path.is_file() else None


def _layouts(names: Iterable[str]) -> Collection[WeightsLayout]:
    return FOLDER_FOR_WHISPER if "model.bin" in set(names) else OTHER_FOLDER


def check(
    engine: str,
    model: str,
    *,
    language: str,
    task: str,
    languages: Collection[str] = (),
    translate_to: str = "en",
    requests: Mapping[str, object] | None = None,
    models_dir: Path | None = None,
) -> None:
    """Raise SetupError if the engine cannot run the model, or if either does not support what is requested.

    `languages`: those among which `auto` chooses; empty for any. `requests`: options that only some engines can follow.
    `models_dir`: where downloads are noted; what they say about the languages of a model counts. With the engine
    `auto`, which may select another engine on another machine, it checks only the model.
    """
    spec = None if engine == AUTO else engine_spec(engine)
    spoken = languages if language == AUTO and languages else (language,)
    if spec is not None:
        for each in spoken:
            spec.check(language=each, task=task, translate_to=translate_to)
        spec.check_requests(requests or {})
    if spec is None or spec.weights is not None:
        check_model(model, spec.weights if spec else None)
    elif spec.models is not None and model not in spec.models:
        raise WeightsError(f"{engine} has no model named {model!r}. Its models are {', '.join(sorted(spec.models))}.")
    for each in spoken:
        _check_english_only(model, language=each, task=task)
    _check_languages(model, spoken, models_dir)


def _check_languages(model: str, spoken: Collection[str], models_dir: Path | None) -> None:
    """Raise SetupError if a model is known not to have a language, or needs to be told which one it is."""
    known, detects = _languages_of(model, models_dir)
    if known is None:
        return
    listed = ", ".join(sorted(known))
    for language in spoken:
        if language != AUTO and language not in known:
            raise SetupError(
                f"The model {model} does not know the language {language}, only {listed}. Choose one of these, or "
                "another model (nightscribe models list)."
            )
    if not detects and len(known) > 1 and (AUTO in spoken or len(spoken) > 1):
        raise SetupError(
            f"The model {model} does not detect the language. Give it with --language, one of {listed}, or choose "
            "another model."
        )


def _languages_of(model: str, models_dir: Path | None) -> tuple[frozenset[str] | None, bool]:
    """Return the languages of a model as far as they are known, and whether it finds out which one is spoken."""
    if known := MODELS.get(model):
        return known.languages, known.kind != "nemo-conformer-aed"
    on_hub = hub_model(model)
    noted = pinned.read_pinned(models_dir, *on_hub) if on_hub and models_dir else None
    folder = noted.folder if noted else None if on_hub else Path(model).expanduser()
    try:
        found = describe(folder) if folder and folder.is_dir() else None
    except WeightsError:  # it is a Whisper model, or loading it raises a better error
        return None, True
    if found is None:
        return None, True
    listed = known_languages(list(noted.languages)) if noted else None
    return found.languages or listed, found.detects_language


def _check_english_only(model: str, *, language: str, task: str) -> None:
    if not is_english_only(model):
        return
    lack = f", and the language is {language}" if language not in (AUTO, "en") else ""
    if task == "translate":
        lack = lack or " and cannot translate"
    if lack:
        raise SetupError(f"The model {model} knows only English{lack}. Choose --model {model.removesuffix('.en')}.")


def find_weights(engine: str, model: str, models_dir: Path, *, compute_type: str = "auto") -> Weights:
    """Return the weights of a model for an engine, downloading them if they are not on this machine.

    An engine that finds its own weights gets a folder for them in `models_dir`, which may not exist yet.

    Raises: WeightsError: if they cannot be found or downloaded.
    """
    spec = engine_spec(engine)
    if spec.weights is None:
        return Weights(models_dir / spec.name, "left to the engine")
    return resolver.resolve(model, spec.weights, models_dir, compute_type=compute_type)


def load(engine: str, model: str, weights: Path, *, threads: int, compute_type: str = "auto") -> Recognizer:
    """Load a model into memory, which takes seconds, and return its engine."""
    module, _, attribute = engine_spec(engine).load.partition(":")
    chosen = {} if compute_type == "auto" else {"compute_type": compute_type}
    recognizer: Recognizer = getattr(import_module(module), attribute)(model, weights, threads=threads, **chosen)
    return recognizer
