"""List the Whisper models that are known by name, and the engines that can run each."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.model.engines import BUILT_IN, WeightsLayout

ENGINES: Mapping[WeightsLayout, str] = {spec.weights: spec.name for spec in BUILT_IN.values() if spec.weights}


@dataclass(frozen=True)
class Model:
    """A model, with the repository of its CTranslate2 form and the layouts in which it exists or can be made."""

    repo_id: str
    layouts: tuple[WeightsLayout, ...]


_ALL: tuple[WeightsLayout, ...] = ("ctranslate2", "openai", "onnx")
_NOT_OPENAI: tuple[WeightsLayout, ...] = ("ctranslate2", "onnx")

# Source: faster_whisper.utils._MODELS and whisper._MODELS.
MODELS: Mapping[str, Model] = {
    "tiny": Model("Systran/faster-whisper-tiny", _ALL),
    "tiny.en": Model("Systran/faster-whisper-tiny.en", _ALL),
    "base": Model("Systran/faster-whisper-base", _ALL),
    "base.en": Model("Systran/faster-whisper-base.en", _ALL),
    "small": Model("Systran/faster-whisper-small", _ALL),
    "small.en": Model("Systran/faster-whisper-small.en", _ALL),
    "medium": Model("Systran/faster-whisper-medium", _ALL),
    "medium.en": Model("Systran/faster-whisper-medium.en", _ALL),
    "large-v1": Model("Systran/faster-whisper-large-v1", _ALL),
    "large-v2": Model("Systran/faster-whisper-large-v2", _ALL),
    "large-v3": Model("Systran/faster-whisper-large-v3", _ALL),
    "large": Model("Systran/faster-whisper-large-v3", _ALL),
    "large-v3-turbo": Model("mobiuslabsgmbh/faster-whisper-large-v3-turbo", _ALL),
    "turbo": Model("mobiuslabsgmbh/faster-whisper-large-v3-turbo", _ALL),
    "distil-small.en": Model("Systran/faster-distil-whisper-small.en", _NOT_OPENAI),
    "distil-medium.en": Model("Systran/faster-distil-whisper-medium.en", _NOT_OPENAI),
    "distil-large-v2": Model("Systran/faster-distil-whisper-large-v2", _NOT_OPENAI),
    "distil-large-v3": Model("Systran/faster-distil-whisper-large-v3", _NOT_OPENAI),
    "distil-large-v3.5": Model("distil-whisper/distil-large-v3.5-ct2", _NOT_OPENAI),
}


def names(layout: WeightsLayout | None = None) -> list[str]:
    """Return the names of the models available in this layout, or in any layout if none is given."""
    return [name for name, model in MODELS.items() if layout is None or layout in model.layouts]


def check_model(model: str, layout: WeightsLayout | None) -> None:
    """Check that `model` is the name of a known model in this layout, or an existing path.

    Raises: WeightsError: if it is neither; the message suggests similar names.
    """
    if model in MODELS:
        if layout is not None and layout not in MODELS[model].layouts:
            others = " and ".join(ENGINES[other] for other in MODELS[model].layouts)
            raise WeightsError(
                f"The model {model} does not exist for {ENGINES[layout]}, only for {others}. Choose that engine, "
                f"or one of the models for {ENGINES[layout]}: {', '.join(names(layout))}."
            )
        return
    if model and Path(model).expanduser().exists():
        return
    if "/" in model or model.endswith((".pt", ".bin")):
        raise WeightsError(f"There is no file or folder {model}. Check the path of the model, or give a model's name.")
    near = difflib.get_close_matches(model.lower(), names(layout))
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    raise WeightsError(
        f"There is no model named {model!r}.{guess} The models are {', '.join(names(layout))}; "
        "the path of a checkpoint file or a model folder is accepted too."
    )


def is_english_only(model: str) -> bool:
    """Return whether a model knows only English, judging by its name or the last part of its path."""
    # In the Hugging Face cache, a folder is named after a revision; the model's name is two levels above it.
    parts = [Path(model).name, *(part for part in Path(model).parts if part.startswith("models--"))]
    return any(re.search(r"\.en(?![a-z0-9])", part) for part in parts)
