"""Find, download or convert the models of the engine onnx-asr."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from nightscribe.shared.errors import WeightsError
from nightscribe.worker.weights import ctc_conversion, pinned
from nightscribe.worker.weights.cache_build import publish, workshop
from nightscribe.worker.weights.catalogue import MODELS, HubModel, Model, hub_model
from nightscribe.worker.weights.kinds import ALSO, CHECKPOINT, TENSORS, Kind, graph_files, other_files
from nightscribe.worker.weights.model_folder import describe, kind_of, known_languages, names_in, read_config
from nightscribe.worker.weights.pinned import Listing, Pinned
from nightscribe.worker.weights.precision import precision

log = structlog.get_logger()

FOLDER = "onnx-asr"
CONVERTED = "converted"


def resolve_frame_model(model: str, models_dir: Path, compute_type: str = "auto") -> tuple[str, Path]:
    """Return how a model was found, and its folder, downloading and converting it if that was not done here.

    Raises: WeightsError: if the model does not exist, cannot be downloaded or cannot be converted.
    """
    known = MODELS.get(model)
    own = models_dir / FOLDER / model
    if known and own.is_dir() and _is_complete(own, known):
        return "cache", own
    on_hub = HubModel(known.repo_id, None) if known else hub_model(model)
    if on_hub is None:
        route, folder = "path", Path(model).expanduser()
    else:
        route, folder = _from_hub(on_hub, known, models_dir, compute_type)
    found = describe(folder, known)
    if found.kind == "transformers-ctc":
        return f"{route}, converted", _converted(folder, model, models_dir, compute_type, found.languages)
    if known and known.renamed:
        return route, _linked(folder, own, known)
    return route, folder


def _is_complete(folder: Path, known: Model) -> bool:
    """Return whether a folder of ours holds the files of a model that it needs, in either precision."""
    kind = describe(folder, known).kind
    if kind == "transformers-ctc":
        return any((folder / name).is_file() for name in TENSORS)
    names = names_in(folder)
    return other_files(kind, names) is not None and any(graph_files(kind, names, each) for each in ("int8", "float32"))


def _from_hub(wanted: HubModel, known: Model | None, models_dir: Path, compute_type: str) -> tuple[str, Path]:
    """Return the folder of a repository in the Hugging Face cache, downloading what is missing."""
    noted = pinned.read_pinned(models_dir, wanted.repo_id, wanted.revision)
    if noted and _has_all(noted, known, compute_type):
        return "Hugging Face cache", noted.folder
    log.info("weights.fetch_started", model=wanted.repo_id, route="publisher", source=wanted.repo_id)
    try:
        # What was downloaded before decides the revision, so that all files belong together.
        found = pinned.listing(wanted.repo_id, noted.revision if noted else wanted.revision)
        names = _wanted_files(found, known, models_dir, wanted, compute_type)
        return "Hugging Face hub", pinned.fetch(found, names, models_dir, wanted.revision)
    except (WeightsError, OSError) as error:
        reason = str(error).rstrip(".")
        raise WeightsError(
            f"The model {wanted.repo_id} is not on this machine and could not be downloaded: {reason}. Check the name "
            "and the network, or give the path of a folder that holds the model instead of its name."
        ) from error


def _has_all(noted: Pinned, known: Model | None, compute_type: str) -> bool:
    """Return whether everything that is wanted of a repository was downloaded."""
    config = read_config(noted.folder)
    names = _as_expected(list(noted.files), known)
    kind = known.kind if known and known.kind else kind_of(names, config, noted.repo_id)
    if kind == "transformers-ctc":
        return any(name in names for name in TENSORS)
    # A repository may have only the other precision, so what was taken then is enough.
    either = [each for each in ("int8", "float32") if graph_files(kind, names, each)]
    return bool(either) and (compute_type == "auto" or precision(compute_type) in either)


def _wanted_files(
    found: Listing, known: Model | None, models_dir: Path, wanted: HubModel, compute_type: str
) -> list[str]:
    """Return the files to download: those of one precision only, because a model may be published in several."""
    listed = list(found.files)
    names = _as_expected(listed, known)
    kind = known.kind if known and known.kind else None
    if kind is None:
        small = [name for name in listed if name in ALSO]
        folder = pinned.fetch(found, small, models_dir, wanted.revision)
        kind = kind_of(names, read_config(folder), found.repo_id)
    if kind == "transformers-ctc":
        tensors = next((name for name in TENSORS if name in listed), None)
        if tensors is None:
            raise WeightsError(f"{found.repo_id} has neither {' nor '.join(TENSORS)}")
        return [*(name for name in listed if name in (*CHECKPOINT, *ALSO)), tensors]
    return _published(_graphs_of(found.repo_id, kind, names, compute_type), known)


def _graphs_of(repo_id: str, kind: Kind, names: Sequence[str], compute_type: str) -> list[str]:
    first = precision(compute_type)
    others = other_files(kind, names)
    graphs = graph_files(kind, names, first)
    if graphs is None and compute_type == "auto":
        graphs = graph_files(kind, names, "float32" if first == "int8" else "int8")
    if graphs is None or others is None:
        raise WeightsError(f"{repo_id} lacks files of a model of the kind {kind} in {first}")
    return [*others, *graphs]


def _as_expected(names: Sequence[str], known: Model | None) -> list[str]:
    """Return the names that the engine expects for files that are published under others."""
    renamed = {published: expected for expected, published in (known.renamed if known else {}).items()}
    return [renamed.get(name, name) for name in names]


def _published(names: Sequence[str], known: Model | None) -> list[str]:
    renamed: Mapping[str, str] = known.renamed if known else {}
    return [renamed.get(name, name) for name in names]


def _converted(folder: Path, model: str, models_dir: Path, compute_type: str, languages: frozenset[str] | None) -> Path:
    wanted = precision(compute_type)
    target = models_dir / CONVERTED / f"{ctc_conversion.identity(folder, model)}-{wanted}"
    try:
        ctc_conversion.convert(folder, target, wanted, languages or _noted_languages(model, models_dir))
    except OSError as error:
        raise WeightsError(
            f"The model {model} could not be converted, because {target.parent} cannot be written to: "
            f"{error.strerror or error}. Free some space or change the folder's permissions."
        ) from error
    return target


def _noted_languages(model: str, models_dir: Path) -> frozenset[str] | None:
    on_hub = hub_model(model)
    noted = pinned.read_pinned(models_dir, *on_hub) if on_hub else None
    return known_languages(list(noted.languages)) if noted else None


def _linked(folder: Path, target: Path, known: Model) -> Path:
    """Make a folder of links to the files of a model, under the names that the engine expects."""
    with workshop(target) as scratch:
        if target.is_dir() and _is_complete(target, known):
            return target
        built = scratch / target.name
        built.mkdir()
        published = {published: expected for expected, published in known.renamed.items()}
        for name in names_in(folder):
            (built / published.get(name, name)).symlink_to((folder / name).resolve())
        if known.features and not (built / "config.json").exists():
            (built / "config.json").write_text(json.dumps({"model_type": known.kind, "features_size": known.features}))
        publish(built, target)
    return target
