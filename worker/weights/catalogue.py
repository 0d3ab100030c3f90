"""List the models that are known by name, what is published about them, and the engines that can run each."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nightscribe.shared.errors import WeightsError
from nightscribe.shared.model.engines import BUILT_IN, WeightsLayout
from nightscribe.worker.weights.kinds import Kind

ENGINES: Mapping[WeightsLayout, str] = {spec.weights: spec.name for spec in BUILT_IN.values() if spec.weights}


# Who measured the errors of models, by a short name.
SOURCES: Mapping[str, str] = {
    "Open ASR": "Open ASR leaderboard, mean over its English short-form sets (arXiv:2510.06961)",
    "VoxPopuli": "onnx-asr, docs/comparison.md, VoxPopuli test",
    "Russian LibriSpeech": "onnx-asr, docs/comparison.md, Russian LibriSpeech test",
}


class Errors(NamedTuple):
    """A published word error rate."""

    language: str
    percent: float
    source: str
    """Key of `SOURCES`."""


@dataclass(frozen=True)
class Model:
    """A model that is known by name: where it is published, and what is known about it."""

    repo_id: str
    """Repository on the Hugging Face hub: in the form for CTranslate2 if it is a Whisper model."""
    layouts: tuple[WeightsLayout, ...]
    """Layouts in which it exists or can be made."""
    parameters_m: float
    """Millions of parameters."""
    licence: str = "MIT"
    languages: frozenset[str] | None = None
    """Codes of its languages. None: those of Whisper."""
    kind: Kind | None = None
    """How its files fit together, for the layout `onnx-asr`."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Names in the repository of files that the engine expects under other names."""
    features: int | None = None
    """Size of the mel spectrogram, where the repository does not state it."""
    errors: tuple[Errors, ...] = ()

    def error_in(self, language: str) -> Errors | None:
        """Return the lowest published error rate in a language, or None if none is known."""
        known = [each for each in self.errors if each.language == language]
        return min(known, key=lambda each: each.percent, default=None)


_ALL: tuple[WeightsLayout, ...] = ("ctranslate2", "openai", "onnx")
_NOT_OPENAI: tuple[WeightsLayout, ...] = ("ctranslate2", "onnx")
_FRAMES: tuple[WeightsLayout, ...] = ("onnx-asr",)
_ENGLISH, _RUSSIAN = frozenset({"en"}), frozenset({"ru"})
# Source: the model cards of nvidia/parakeet-tdt-0.6b-v3, nvidia/canary-1b-v2 and nvidia/canary-1b-flash.
_EUROPEAN = frozenset({
    "bg", "hr", "cs", "da", "nl", "en", "et", "fi", "fr", "de", "el", "hu", "it", "lv", "lt", "mt", "pl", "pt", "ro",
    "sk", "sl", "es", "sv", "ru", "uk",
})  # fmt: skip
_FOUR = frozenset({"en", "de", "es", "fr"})
_CC_BY, _APACHE = "CC-BY-4.0", "Apache-2.0"


def _open_asr(percent: float) -> Errors:
    return Errors("en", percent, "Open ASR")


def _whisper(
    repo_id: str,
    parameters_m: float,
    *errors: Errors,
    layouts: tuple[WeightsLayout, ...] = _ALL,
) -> Model:
    languages = _ENGLISH if is_english_only(repo_id) or "distil" in repo_id else None
    return Model(repo_id, layouts, parameters_m, languages=languages, errors=errors)


def _nemo(
    repo_id: str,
    parameters_m: float,
    kind: Kind,
    languages: frozenset[str],
    *errors: Errors,
) -> Model:
    return Model(repo_id, _FRAMES, parameters_m, _CC_BY, languages, kind, errors=errors)


def _gigaam(version: str, kind: Kind, percent: float) -> Model:
    errors = (Errors("ru", percent, "Russian LibriSpeech"),) if percent else ()
    return Model(f"istupakov/gigaam-{version}-onnx", _FRAMES, 240, "MIT", _RUSSIAN, kind, errors=errors)


def _transformers(repo_id: str, parameters_m: float, *errors: Errors) -> Model:
    return Model(repo_id, _FRAMES, parameters_m, _APACHE, _ENGLISH, "transformers-ctc", errors=errors)


def is_english_only(model: str) -> bool:
    """Return whether a model knows only English, judging by its name or the last part of its path."""
    # In the Hugging Face cache, a folder is named after a revision; the model's name is two levels above it.
    parts = [Path(model).name, *(part for part in Path(model).parts if part.startswith("models--"))]
    return any(re.search(r"\.en(?![a-z0-9])", part) for part in parts)


_LARGE_V3 = _whisper("Systran/faster-whisper-large-v3", 1550, _open_asr(7.44))
_TURBO = _whisper("mobiuslabsgmbh/faster-whisper-large-v3-turbo", 809, _open_asr(7.83))
_V3_RU = Errors("ru", 10.95, "Russian LibriSpeech")

# Sources: faster_whisper.utils._MODELS and whisper._MODELS; onnx_asr.resolver.model_repos; the model cards.
MODELS: Mapping[str, Model] = {
    "tiny": _whisper("Systran/faster-whisper-tiny", 39),
    "tiny.en": _whisper("Systran/faster-whisper-tiny.en", 39),
    "base": _whisper("Systran/faster-whisper-base", 74, Errors("en", 12.26, "VoxPopuli")),
    "base.en": _whisper("Systran/faster-whisper-base.en", 74, _open_asr(10.32)),
    "small": _whisper("Systran/faster-whisper-small", 244),
    "small.en": _whisper("Systran/faster-whisper-small.en", 244, _open_asr(8.59)),
    "medium": _whisper("Systran/faster-whisper-medium", 769),
    "medium.en": _whisper("Systran/faster-whisper-medium.en", 769),
    "large-v1": _whisper("Systran/faster-whisper-large-v1", 1550),
    "large-v2": _whisper("Systran/faster-whisper-large-v2", 1550),
    "large-v3": _LARGE_V3,
    "large": _LARGE_V3,
    "large-v3-turbo": _TURBO,
    "turbo": _TURBO,
    "distil-small.en": _whisper("Systran/faster-distil-whisper-small.en", 166, layouts=_NOT_OPENAI),
    "distil-medium.en": _whisper("Systran/faster-distil-whisper-medium.en", 394, layouts=_NOT_OPENAI),
    "distil-large-v2": _whisper("Systran/faster-distil-whisper-large-v2", 756, layouts=_NOT_OPENAI),
    "distil-large-v3": _whisper("Systran/faster-distil-whisper-large-v3", 756, layouts=_NOT_OPENAI),
    "distil-large-v3.5": _whisper("distil-whisper/distil-large-v3.5-ct2", 756, _open_asr(7.21), layouts=_NOT_OPENAI),
    "parakeet-tdt-0.6b-v2": _nemo(
        "istupakov/parakeet-tdt-0.6b-v2-onnx", 618, "nemo-conformer-tdt", _ENGLISH, _open_asr(6.05)
    ),
    "parakeet-tdt-0.6b-v3": _nemo(
        "istupakov/parakeet-tdt-0.6b-v3-onnx", 618, "nemo-conformer-tdt", _EUROPEAN, _open_asr(6.32), _V3_RU
    ),
    # The CTC branch of the hybrid model, as the authors of sherpa-onnx exported it.
    "parakeet-tdt_ctc-110m": Model(
        "csukuangfj/sherpa-onnx-nemo-parakeet_tdt_ctc_110m-en-36000",
        _FRAMES,
        114,
        _CC_BY,
        _ENGLISH,
        "nemo-conformer-ctc",
        renamed={"vocab.txt": "tokens.txt"},
        features=80,
        errors=(_open_asr(7.49),),
    ),
    "parakeet-ctc-0.6b": _nemo(
        "istupakov/parakeet-ctc-0.6b-onnx", 609, "nemo-conformer-ctc", _ENGLISH, Errors("en", 7.22, "VoxPopuli")
    ),
    "parakeet-rnnt-0.6b": _nemo(
        "istupakov/parakeet-rnnt-0.6b-onnx", 617, "nemo-conformer-rnnt", _ENGLISH, Errors("en", 6.34, "VoxPopuli")
    ),
    "canary-1b-v2": _nemo(
        "istupakov/canary-1b-v2-onnx", 978, "nemo-conformer-aed", _EUROPEAN, Errors("en", 7.49, "VoxPopuli")
    ),
    "canary-1b-flash": _nemo("istupakov/canary-1b-flash-onnx", 883, "nemo-conformer-aed", _FOUR),
    "canary-180m-flash": _nemo("istupakov/canary-180m-flash-onnx", 182, "nemo-conformer-aed", _FOUR),
    "fastconformer-ru-ctc": _nemo(
        "istupakov/stt_ru_fastconformer_hybrid_large_pc_onnx",
        115,
        "nemo-conformer-ctc",
        _RUSSIAN,
        Errors("ru", 13.10, "Russian LibriSpeech"),
    ),
    "fastconformer-ru-rnnt": _nemo(
        "istupakov/stt_ru_fastconformer_hybrid_large_pc_onnx",
        115,
        "nemo-conformer-rnnt",
        _RUSSIAN,
        Errors("ru", 11.57, "Russian LibriSpeech"),
    ),
    "gigaam-v2-ctc": _gigaam("v2", "gigaam-v2-ctc", 0),
    "gigaam-v2-rnnt": _gigaam("v2", "gigaam-v2-rnnt", 0),
    "gigaam-v3-ctc": _gigaam("v3", "gigaam-v3-ctc", 4.72),
    "gigaam-v3-rnnt": _gigaam("v3", "gigaam-v3-rnnt", 4.39),
    "gigaam-v3-e2e-ctc": _gigaam("v3", "gigaam-v3-e2e-ctc", 7.80),
    "gigaam-v3-e2e-rnnt": _gigaam("v3", "gigaam-v3-e2e-rnnt", 7.60),
    "t-one": Model(
        "t-tech/T-one",
        _FRAMES,
        71,
        _APACHE,
        _RUSSIAN,
        "t-one-ctc",
        errors=(Errors("ru", 6.57, "Russian LibriSpeech"),),
    ),
    "vosk-ru": Model(
        "alphacep/vosk-model-ru",
        _FRAMES,
        66,
        _APACHE,
        _RUSSIAN,
        "vosk",
        errors=(Errors("ru", 9.89, "Russian LibriSpeech"),),
    ),
    "vosk-small-ru": Model(
        "alphacep/vosk-model-small-ru",
        _FRAMES,
        20,
        _APACHE,
        _RUSSIAN,
        "vosk",
        errors=(Errors("ru", 14.53, "Russian LibriSpeech"),),
    ),
    "wav2vec2-base-960h": _transformers("facebook/wav2vec2-base-960h", 95, _open_asr(29.4)),
    "wav2vec2-large-960h": _transformers("facebook/wav2vec2-large-960h", 317),
    "wav2vec2-large-960h-lv60-self": _transformers("facebook/wav2vec2-large-960h-lv60-self", 317),
    "hubert-large-ls960-ft": _transformers("facebook/hubert-large-ls960-ft", 317),
}

_WHISPER_BEST_FIRST = ("large-v3", "turbo", "medium", "small", "base", "tiny")
BEST_FIRST: Mapping[str, tuple[str, ...]] = {
    "en": ("parakeet-tdt-0.6b-v2", "parakeet-tdt_ctc-110m", "small.en", "base.en", "tiny.en"),
    "ru": ("gigaam-v3-e2e-rnnt", "gigaam-v3-e2e-ctc", "turbo", "small", "base", "tiny"),
    **dict.fromkeys(sorted(_EUROPEAN - {"en", "ru"}), ("parakeet-tdt-0.6b-v3", *_WHISPER_BEST_FIRST)),
}
"""The models among which `--model auto` chooses, by the language spoken. A model is left out if another one makes fewer
errors in less time; one without punctuation comes last or not at all."""
BEST_FIRST_OTHERWISE = _WHISPER_BEST_FIRST
"""The same for any other language, and if the language is unknown: these models detect it."""

HUB_PREFIX = "hf:"


class HubModel(NamedTuple):
    """A repository on the Hugging Face hub, as `--model hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION` names it."""

    repo_id: str
    revision: str | None


def hub_model(model: str) -> HubModel | None:
    """Return the repository that a model names, or None if it is a name or a path.

    Raises: WeightsError: if it begins with `hf:` but names no repository.
    """
    if not model.startswith(HUB_PREFIX):
        return None
    repo_id, _, revision = model.removeprefix(HUB_PREFIX).partition("@")
    if not re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", repo_id) or (revision and not re.fullmatch(r"[\w./-]+", revision)):
        raise WeightsError(
            f"{model!r} names no repository. Write hf:OWNER/NAME, or hf:OWNER/NAME@REVISION, such as "
            "hf:facebook/wav2vec2-large-960h."
        )
    return HubModel(repo_id, revision or None)


def names(layout: WeightsLayout | None = None) -> list[str]:
    """Return the names of the models available in this layout, or in any layout if none is given."""
    return [name for name, model in MODELS.items() if layout is None or layout in model.layouts]


def check_model(model: str, layout: WeightsLayout | None) -> None:
    """Check that `model` is the name of a known model in this layout, or an existing path.

    Raises: WeightsError: if it is neither; the message suggests similar names.
    """
    if hub_model(model):
        return
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
        on_hub = f" If it is on the Hugging Face hub, write hf:{model}." if model.count("/") == 1 else ""
        raise WeightsError(
            f"There is no file or folder {model}. Check the path of the model, or give a model's name.{on_hub}"
        )
    near = difflib.get_close_matches(model.lower(), names(layout))
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    raise WeightsError(
        f"There is no model named {model!r}.{guess} The models are {', '.join(names(layout))}; "
        "the path of a checkpoint file or a model folder is accepted too, and hf:OWNER/NAME for a repository on the "
        "Hugging Face hub."
    )
