"""Describe the available speech engines as data.

The director plans with these descriptions and the worker loads what they name, so nothing here imports an engine.
An engine comes from the table below, from `register_engine`, or from an installed package with an entry point in the
group `nightscribe.engines`. See docs/adding-an-engine.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nightscribe.shared.errors import SetupError, ValueRefused
from nightscribe.shared.process.plugins import PluginBroken, load_plugin, package_of, plugins

ENTRY_POINTS = "nightscribe.engines"
AUTO = "auto"

WeightsLayout = Literal["ctranslate2", "openai", "onnx", "onnx-asr"]
"""How weights are stored. Whisper's: a folder for CTranslate2, one checkpoint file for OpenAI's library, or a folder of
ONNX graphs, which is made from the folder for CTranslate2. Other models: a folder that onnx-asr can load."""


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """A description of a speech engine that can be read without importing the engine."""

    name: str
    """Value of `--engine`."""
    load: str
    """`module:attribute` of `load(model, weights, *, threads) -> Recognizer` (worker/engines/base.py)."""
    requires: str
    """Top-level module without which the engine cannot run."""
    install: str
    """The argument with which `pip install` installs `requires`."""
    weights: WeightsLayout | None = None
    """Layout in which nightscribe finds or downloads the weights. None: the engine finds its own."""
    models: frozenset[str] | None = None
    """Names of the models, if the engine finds its own weights. None: any name."""
    languages: frozenset[str] | None = None
    """Codes of the languages that the engine knows. None: all that nightscribe accepts."""
    tasks: frozenset[str] = frozenset({"transcribe"})
    """`transcribe`, and `translate` if it can translate into English."""
    translates_to: frozenset[str] = frozenset({"en"})
    """Codes of the languages into which it translates, if it can do that."""
    follows: frozenset[str] = frozenset()
    """Which of the options `prompt`, `hotwords`, `beam_size`, `condition_on_previous` and `initial_silence` it follows.
    The others are refused."""
    compute_types: frozenset[str] = frozenset()
    """Types of numbers it can be told to compute with; `load` then accepts `compute_type`. Empty: it decides itself."""
    most_beams: int = 10
    """The highest `beam_size` that it can follow."""
    speed: float
    """Seconds of sound that one core transcribes per second with `measured_model`."""
    measured_model: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Millions of parameters by part of a model's name; the first match counts. Work is proportional to them."""

    def typical_speed(self, model: str) -> float:
        """Return the estimated seconds of sound that one core transcribes per second."""
        measured = self.parameters.get(self.measured_model, 1.0)
        return self.speed * measured / next((size for name, size in self.parameters.items() if name in model), measured)

    def check(self, *, language: str, task: str, translate_to: str = "en") -> None:
        """Raise SetupError if the engine does not know the language or cannot do the task."""
        if task not in self.tasks:
            others = [spec.name for spec in BUILT_IN.values() if task in spec.tasks]
            raise SetupError(f"The engine {self.name} cannot {task}. Choose --engine {' or '.join(others)}.")
        if self.languages is not None and language != AUTO and language not in self.languages:
            raise SetupError(
                f"The engine {self.name} does not know the language {language}, "
                f"only {', '.join(sorted(self.languages))}. Choose one of these, or another engine."
            )
        if task == "translate" and translate_to not in self.translates_to:
            raise SetupError(
                f"The engine {self.name} translates only into {', '.join(sorted(self.translates_to))}, and "
                f"--translate-to is {translate_to}."
            )

    def check_requests(self, requests: Mapping[str, object]) -> None:
        """Raise SetupError if the engine cannot follow one of these options, given by name with their values."""
        for name, value in requests.items():
            option = "--" + name.replace("_", "-")
            if name == "compute_type":
                if value not in self.compute_types:
                    some = ", ".join(sorted(self.compute_types)) or "nothing but its own choice"
                    raise SetupError(
                        f"The engine {self.name} cannot compute in {value}; {option} can be auto, or {some}."
                    )
            elif name not in self.follows:
                others = [spec.name for spec in BUILT_IN.values() if name in spec.follows]
                raise SetupError(
                    f"The engine {self.name} does not know {option}. Choose --engine {' or '.join(others)}, or leave "
                    "it out."
                )
            elif name == "beam_size" and isinstance(value, int) and value > self.most_beams:
                raise SetupError(
                    f"The engine {self.name} searches with at most {self.most_beams} beams; {option} is {value}."
                )


# Source: openai/whisper README. `turbo` comes first, because it is also called large-v3-turbo.
_WHISPER_PARAMETERS = {
    "turbo": 809.0,
    "tiny": 39.0,
    "base": 74.0,
    "small": 244.0,
    "medium": 769.0,
    "large": 1550.0,
    "distil": 760.0,
}
# Not sizes, but work. That of the 110m model, which is published in float32, is its size; the others are in proportion
# to the speeds in docs/performance.md, in int8 where that is published, or to those in onnx-asr's documentation.
_FRAME_MODEL_WORK = {
    "110m": 114.0,
    "0.6b": 208.0,
    "canary-180m": 280.0,
    "canary-1b": 930.0,
    "fastconformer": 50.0,
    "gigaam": 126.0,
    "t-one": 278.0,
    "vosk-small": 98.0,
    "vosk": 114.0,
    "large-960h": 1300.0,
    "hubert-large": 1300.0,
    "wav2vec2": 400.0,
}
_WHISPER_TASKS = frozenset({"transcribe", "translate"})
_WHISPER_FOLLOWS = frozenset({"prompt", "hotwords", "beam_size", "condition_on_previous", "initial_silence"})
_CTRANSLATE2_TYPES = frozenset(
    {"int8", "int8_float16", "int8_bfloat16", "int8_float32", "int16", "float16", "bfloat16", "float32"}
)

# `auto` prefers them in this order. Speeds were measured on recordings of English read aloud (docs/performance.md).
BUILT_IN: Mapping[str, EngineSpec] = {
    spec.name: spec
    for spec in (
        EngineSpec(
            name="faster-whisper",
            load="nightscribe.worker.engines.whisper.faster_whisper:load",
            requires="faster_whisper",
            install="nightscribe[faster-whisper]",
            weights="ctranslate2",
            tasks=_WHISPER_TASKS,
            follows=_WHISPER_FOLLOWS,
            compute_types=_CTRANSLATE2_TYPES,
            speed=20.0,
            measured_model="base",
            parameters=_WHISPER_PARAMETERS,
        ),
        EngineSpec(
            name="onnx-whisper",
            load="nightscribe.worker.engines.whisper.onnx_runtime:load",
            requires="onnx",
            install="nightscribe[onnx-whisper]",
            weights="onnx",
            tasks=_WHISPER_TASKS,
            follows=_WHISPER_FOLLOWS,
            compute_types=frozenset({"int8"}),
            most_beams=5,
            speed=20.0,
            measured_model="base",
            parameters=_WHISPER_PARAMETERS,
        ),
        EngineSpec(
            name="openai-whisper",
            load="nightscribe.worker.engines.whisper.openai_whisper:load",
            requires="whisper",
            install="nightscribe[openai-whisper]",
            weights="openai",
            tasks=_WHISPER_TASKS,
            follows=_WHISPER_FOLLOWS,
            compute_types=frozenset({"float16", "float32"}),
            speed=9.0,
            measured_model="base",
            parameters=_WHISPER_PARAMETERS,
        ),
        EngineSpec(
            name="onnx-asr",
            load="nightscribe.worker.engines.onnx_asr.recognizer:load",
            requires="onnx_asr",
            install="nightscribe[onnx-asr]",
            weights="onnx-asr",
            compute_types=frozenset({"int8", "float32"}),
            speed=31.0,
            measured_model="110m",
            parameters=_FRAME_MODEL_WORK,
        ),
    )
}

WHISPER_ENGINES: tuple[str, ...] = tuple(spec.name for spec in BUILT_IN.values() if spec.weights != "onnx-asr")
"""The engines that run Whisper."""

_registered: dict[str, EngineSpec] = {}


def register_engine(spec: EngineSpec) -> None:
    """Make an engine available in this process. Processes that it starts find engines by entry points only.

    Raises: ValueRefused: if another engine has this name.
    """
    if spec.name == AUTO or engines().get(spec.name, spec) != spec:
        raise ValueRefused(f"There is another engine named {spec.name!r}. Choose another name.")
    _registered[spec.name] = spec


def engines() -> dict[str, EngineSpec]:
    """Return every available engine by name, without entry points that cannot be loaded."""
    found = {name: spec for name in sorted(plugins(ENTRY_POINTS)) if isinstance(spec := _loaded(name), EngineSpec)}
    return {**found, **_registered, **BUILT_IN}


def engine_spec(name: str) -> EngineSpec:
    """Return the description of an engine. Raises: ValueRefused: if it does not exist; the message lists the others."""
    if spec := BUILT_IN.get(name) or _registered.get(name):  # avoids searching every installed package
        return spec
    found = _loaded(name)
    if isinstance(found, EngineSpec):
        return found
    if found is not None:
        raise ValueRefused(f"The engine {found}. Update or remove the package it comes from, or choose {_choices()}.")
    broken = [each for other in sorted(plugins(ENTRY_POINTS)) if isinstance(each := _loaded(other), str)]
    raise ValueRefused(
        f"There is no engine named {name!r}. Choose {_choices()}." + "".join(f" The engine {each}." for each in broken)
    )


def engine_name(value: str) -> str:
    """Return the name of an engine, or `auto`, unchanged. Raises: ValueRefused: if it is neither."""
    return value if value == AUTO else engine_spec(value).name


def _choices() -> str:
    names = [AUTO, *BUILT_IN, *(name for name in engines() if name not in BUILT_IN)]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _loaded(name: str) -> EngineSpec | str | None:
    """Return the engine of an entry point, or why it cannot be loaded, or None if there is no such entry point."""
    if (point := plugins(ENTRY_POINTS).get(name)) is None:
        return None
    source = f"{name} of the package {package_of(point)}"
    try:
        spec = load_plugin(point)
    except PluginBroken as error:
        return f"{source} is installed but cannot be loaded ({error})"
    if not isinstance(spec, EngineSpec) or spec.name != name:
        return f"{source} is installed but cannot be loaded ({point.value} is not an EngineSpec named {name})"
    return spec
