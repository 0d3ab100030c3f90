"""List the models that can be used, fetch their weights ahead of time, and delete them."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nightscribe.services import preflight
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.engines import BUILT_IN, EngineSpec
from nightscribe.shared.settings import Settings
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.weights import hub, pinned
from nightscribe.worker.weights.catalogue import HUB_PREFIX, MODELS, Errors, Model, check_model, hub_model
from nightscribe.worker.weights.frame_models import CONVERTED
from nightscribe.worker.weights.kinds import graph_files
from nightscribe.worker.weights.pinned import Pinned
from nightscribe.worker.weights.precision import precision
from nightscribe.worker.weights.speaker_models import resolve_speaker_models

BYTES = {"float32": 4.0, "int8": 1.05}
"""Of each parameter on the disk."""
WHISPER_BYTES = 2.0  # its weights are published in float16


@dataclass(frozen=True)
class Pulled:
    """Weights on this machine."""

    model: str
    engine: str
    path: Path
    route: str
    """Where they came from."""


@dataclass(frozen=True)
class ModelRow:
    """A model in the list."""

    name: str
    engine: str
    """The engine that this machine would choose, or the first one that can run it."""
    is_engine_installed: bool
    languages: frozenset[str] | None
    """None: those of Whisper, or unknown if it is not in the catalogue."""
    size: int
    """Bytes on the disk: of what is here, or about those of a download."""
    licence: str | None
    speed: float
    """Seconds of sound that one core transcribes per second, typically."""
    errors: tuple[Errors, ...]
    is_here: bool


@dataclass(frozen=True)
class ModelFile:
    """A file of a model on this machine."""

    name: str
    size: int
    sha256: str | None
    """None: nothing was announced when it came here."""


@dataclass(frozen=True)
class ModelInfo:
    """Everything that is known about a model."""

    row: ModelRow
    repo_id: str | None
    revision: str | None
    """The commit of what is here."""
    engines: tuple[str, ...]
    """Those that can run it."""
    precision: str | None
    """What this machine would use; None: the engine decides."""
    places: tuple[Path, ...]
    files: tuple[ModelFile, ...]


@dataclass(frozen=True)
class Removed:
    """What was deleted, or would be."""

    model: str
    places: tuple[Path, ...]
    size: int
    others: tuple[str, ...]
    """Other names of models whose files are gone as well."""


def pull(settings: Settings) -> Pulled:
    """Fetch the weights of the model in the settings unless they exist. Raises: SetupError: if that is impossible."""
    engine = preflight.check_engine(settings)
    found = engines.find_weights(engine, settings.model, settings.models_dir, compute_type=settings.compute_type)
    return Pulled(settings.model, engine, found.path, found.route)


def pull_speakers(settings: Settings) -> Pulled:
    """Fetch the models that tell speakers apart unless they exist. Raises: SetupError: if that is impossible."""
    preflight.check_speakers(settings.model_copy(update={"speakers": "auto"}))
    found = resolve_speaker_models(settings.models_dir)
    return Pulled("speakers", "ONNX Runtime", found.segmentation.parent, found.route)


def list_models(settings: Settings, language: str | None = None) -> list[ModelRow]:
    """Return the known models, and those that were downloaded from the hub by `hf:OWNER/NAME`.

    `language`: leave out models that do not know this language.
    """
    noted = {each.repo_id: each for each in pinned.all_pinned(settings.models_dir)}
    known = {model.repo_id for model in MODELS.values()}
    rows = [_row(name, model, settings) for name, model in MODELS.items()]
    rows += [_noted_row(each) for repo_id, each in noted.items() if repo_id not in known]
    return [row for row in rows if language is None or row.languages is None or language in row.languages]


def info(settings: Settings) -> ModelInfo:
    """Return what is known about the model in the settings. Raises: SetupError: if there is none of this name."""
    name = settings.model
    check_model(name, None)
    on_hub = hub_model(name)
    known = MODELS.get(name)
    repo_id = known.repo_id if known else on_hub.repo_id if on_hub else None
    noted = pinned.read_pinned(settings.models_dir, repo_id, on_hub.revision if on_hub else None) if repo_id else None
    places = places_of(name, settings.models_dir)
    if known:
        row = _row(name, known, settings)
    elif noted:
        row = _noted_row(noted)
    elif on_hub:
        raise SetupError(f"{name} is not on this machine. Fetch it: nightscribe models pull {name}.")
    else:
        places = (Path(name).expanduser(),)
        row = _path_row(name, places[0], settings)
    layouts = engines.layouts_of(name, settings.models_dir) or ()
    able = tuple(spec.name for spec in BUILT_IN.values() if spec.weights in layouts)
    return ModelInfo(
        row,
        repo_id,
        noted.revision if noted else None,
        able,
        precision() if row.engine == "onnx-asr" and find_spec("onnxruntime") else None,
        places,
        tuple(_files(places, noted)),
    )


def remove(settings: Settings, *, dry_run: bool = False) -> Removed:
    """Delete the files of the model in the settings from this machine.

    Raises: SetupError: if it is a path, which is not ours to delete, or is not here.
    """
    name = settings.model
    check_model(name, None)
    if name not in MODELS and hub_model(name) is None:
        raise SetupError(f"{name} is a path. nightscribe deletes only what it has downloaded or converted itself.")
    places = places_of(name, settings.models_dir)
    if not places:
        raise SetupError(f"The model {name} is not on this machine.")
    size = sum(_size(place) for place in places)
    on_hub = hub_model(name)
    repo_id = MODELS[name].repo_id if name in MODELS else on_hub.repo_id if on_hub else ""
    others = tuple(each for each, model in MODELS.items() if model.repo_id == repo_id and each != name)
    if not dry_run:
        pinned.forget(settings.models_dir, repo_id)
        for place in places:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
    return Removed(name, places, size, others if hub.cache_folder(repo_id) in places else ())


def places_of(name: str, models_dir: Path) -> tuple[Path, ...]:
    """Return the files and folders in which a model lies: in our folder, or in the cache of a library."""
    on_hub = hub_model(name)
    known = MODELS.get(name)
    found = []
    if known:
        own = [models_dir / layout / name for layout in ("ctranslate2", "onnx", "onnx-asr")]
        found += [place for place in (*own, models_dir / "openai" / f"{name}.pt") if place.exists()]
        if "openai" in known.layouts and (checkpoint := hub.whisper_cache() / f"{name}.pt").exists():
            found.append(checkpoint)
    repo_id = known.repo_id if known else on_hub.repo_id if on_hub else None
    if repo_id and _is_cached(repo_id, known, models_dir):
        found.append(hub.cache_folder(repo_id))
    if repo_id:
        found += sorted((models_dir / CONVERTED).glob(f"{name.rpartition('/')[2]}-{'[0-9a-f]' * 12}-*"))
    return tuple(found)


def _is_cached(repo_id: str, known: Model | None, models_dir: Path) -> bool:
    """Return whether the library's cache holds the files of a model; several may share a repository."""
    if known is None or known.kind is None or known.kind == "transformers-ctc":
        return any(
            (snapshot / file).exists()
            for snapshot in hub.cache_folder(repo_id).glob("snapshots/*")
            for file in (["model.bin"] if known and known.kind is None else ["config.json"])
        )
    noted = pinned.read_pinned(models_dir, repo_id)
    if noted is None:
        return False
    renamed = {published: expected for expected, published in known.renamed.items()}
    names = [renamed.get(file, file) for file in noted.files]
    return any(graph_files(known.kind, names, each) for each in ("int8", "float32"))


def _row(name: str, model: Model, settings: Settings) -> ModelRow:
    places = places_of(name, settings.models_dir)
    spec = _engine(model)
    return ModelRow(
        name,
        spec.name,
        find_spec(spec.requires) is not None,
        model.languages,
        sum(_size(place) for place in places) or round(model.parameters_m * 1e6 * _bytes(spec, model)),
        model.licence,
        spec.typical_speed(name),
        model.errors,
        bool(places),
    )


def _noted_row(noted: Pinned) -> ModelRow:
    layouts = ("ctranslate2",) if "model.bin" in noted.files else ("onnx-asr",)
    spec = next(spec for spec in BUILT_IN.values() if spec.weights in layouts)
    return ModelRow(
        HUB_PREFIX + noted.repo_id,
        spec.name,
        find_spec(spec.requires) is not None,
        frozenset(noted.languages) or None,
        sum(file.size for file in noted.files.values()),
        noted.licence,
        spec.typical_speed(noted.repo_id),
        (),
        is_here=True,
    )


def _path_row(name: str, path: Path, settings: Settings) -> ModelRow:
    engine = engines.choose(settings.engine, name, settings.models_dir)
    spec = BUILT_IN[engine]
    return ModelRow(
        name, engine, find_spec(spec.requires) is not None, None, _size(path), None, spec.typical_speed(name), (), True
    )


def _engine(model: Model) -> EngineSpec:
    """Return the engine that `auto` would choose, or the first one that can run a model if none is installed."""
    able = [spec for spec in BUILT_IN.values() if spec.weights in model.layouts]
    return next((spec for spec in able if find_spec(spec.requires)), able[0])


def _bytes(spec: EngineSpec, model: Model) -> float:
    if spec.weights != "onnx-asr":
        return WHISPER_BYTES
    if model.kind == "transformers-ctc" or model.renamed:  # published in float32 only
        return BYTES["float32"]
    return BYTES[precision() if find_spec("onnxruntime") else "float32"]


def _size(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    # In the library's cache, the same content appears under several names, of which all but one are links.
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink())


def _files(places: tuple[Path, ...], noted: Pinned | None) -> Iterator[ModelFile]:
    for place in places:
        if noted and place == hub.cache_folder(noted.repo_id):
            for name, file in sorted(noted.files.items()):
                yield ModelFile(f"{noted.folder}/{name}", file.size, file.sha256)
            continue
        for path in [place] if place.is_file() else sorted(each for each in place.rglob("*") if each.is_file()):
            if not path.is_symlink():
                yield ModelFile(str(path), path.stat().st_size, None)
