"""Fetch the weights of a model ahead of time."""

from dataclasses import dataclass
from pathlib import Path

from nightscribe.services import preflight
from nightscribe.shared.settings import Settings
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.weights.speaker_models import resolve_speaker_models


@dataclass(frozen=True)
class Pulled:
    """Weights on this machine."""

    model: str
    engine: str
    path: Path
    route: str
    """Where they came from."""


def pull(settings: Settings) -> Pulled:
    """Fetch the weights of the model in the settings unless they exist. Raises: SetupError: if that is impossible."""
    engine = preflight.check_engine(settings)
    found = engines.find_weights(engine, settings.model, settings.models_dir)
    return Pulled(settings.model, engine, found.path, found.route)


def pull_speakers(settings: Settings) -> Pulled:
    """Fetch the models that tell speakers apart unless they exist. Raises: SetupError: if that is impossible."""
    preflight.check_speakers(settings.model_copy(update={"speakers": "auto"}))
    found = resolve_speaker_models(settings.models_dir)
    return Pulled("speakers", "ONNX Runtime", found.segmentation.parent, found.route)
