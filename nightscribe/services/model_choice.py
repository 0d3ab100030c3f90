"""Choose the model for `--model auto`, by the language, the time allowed and what this machine can do."""

import os
from dataclasses import dataclass
from importlib.util import find_spec

from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.engines import AUTO, BUILT_IN, EngineSpec, engine_spec
from nightscribe.shared.settings import Settings
from nightscribe.worker.weights.catalogue import BEST_FIRST, BEST_FIRST_OTHERWISE, MODELS

SLOWEST = 4.0  # times real time on one core, where nothing is known about the amount of sound
MEMORY_BYTES = 4.5  # of each parameter in memory, at most
MEMORY_SHARE = 0.7  # of this machine's memory that models may take
CANNOT_TRANSLATE = frozenset({"turbo"})  # source: openai/whisper README


@dataclass(frozen=True)
class Choice:
    """The model that was chosen, and one sentence that says why."""

    model: str
    engine: str
    reason: str


def resolved(settings: Settings, audio_s: float | None = None) -> tuple[Settings, str]:
    """Return the settings with a model instead of `auto`, and why it was chosen; unchanged ones if there is one.

    `audio_s`: seconds of sound to transcribe; None: unknown.

    Raises: SetupError: if no model can do what the settings request.
    """
    if settings.model != AUTO:
        return settings, ""
    choice = choose_model(settings, audio_s)
    return settings.model_copy(update={"model": choice.model}), choice.reason


def choose_model(settings: Settings, audio_s: float | None = None, *, memory: int | None = None) -> Choice:
    """Return the most accurate model that is fast enough. `memory`: bytes of this machine; None: found out.

    Raises: SetupError: if no engine that is installed has a model for the language and the task.
    """
    language = _language(settings)
    candidates = _candidates(settings, language)
    if not candidates:
        raise SetupError(
            f"--model auto knows no model for {_what(language)} that the installed engines can run"
            f"{' and that translates' if settings.task == 'translate' else ''}. Install another engine, or name a "
            "model (nightscribe models list)."
        )
    room = MEMORY_SHARE * (memory if memory is not None else _memory())
    fitting = [each for each in candidates if _bytes(each[0]) * settings.workers <= room] or candidates[-1:]
    for name, spec in fitting:
        if _is_fast_enough(name, spec, settings, audio_s):
            hint = _better(name, settings, language)
            return Choice(name, spec.name, _reason(name, spec, settings, audio_s, language) + hint)
    name, spec = max(fitting, key=lambda each: each[1].typical_speed(each[0]))
    return Choice(name, spec.name, _reason(name, spec, settings, audio_s, language) + " No model is faster.")


def _language(settings: Settings) -> str:
    if settings.language == AUTO and len(settings.languages) == 1:
        return settings.languages[0]
    return settings.language


def _candidates(settings: Settings, language: str) -> list[tuple[str, EngineSpec]]:
    """Return the models for a language that an engine here can run, the most accurate ones first."""
    wanted = [engine_spec(settings.engine)] if settings.engine != AUTO else list(BUILT_IN.values())
    able = [spec for spec in wanted if find_spec(spec.requires) and settings.task in spec.tasks]
    names = BEST_FIRST.get(language, BEST_FIRST_OTHERWISE)
    if settings.task == "translate":
        names = tuple(name for name in BEST_FIRST_OTHERWISE if name not in CANNOT_TRANSLATE)
    found = []
    for name in names:
        spec = next((spec for spec in able if spec.weights in MODELS[name].layouts), None)
        if spec:
            found.append((name, spec))
    return found


def _better(chosen: str, settings: Settings, language: str) -> str:
    """Return a sentence on the first model that is preferred to the chosen one and lacks only its engine, if any."""
    if settings.engine != AUTO or settings.task != "transcribe":
        return ""
    for name in BEST_FIRST.get(language, ()):
        if name == chosen:
            break
        able = [spec for spec in BUILT_IN.values() if spec.weights in MODELS[name].layouts]
        if not any(find_spec(spec.requires) for spec in able):
            return f" {name} makes fewer errors and needs pip install '{able[0].install}'."
    return ""


def _is_fast_enough(name: str, spec: EngineSpec, settings: Settings, audio_s: float | None) -> bool:
    speed = spec.typical_speed(name)
    if audio_s is None or not settings.allowed_hours:
        return speed >= SLOWEST
    return audio_s / (speed * settings.workers) <= settings.allowed_hours * 3600


def _reason(name: str, spec: EngineSpec, settings: Settings, audio_s: float | None, language: str) -> str:
    model, speed = MODELS[name], spec.typical_speed(name)
    error = model.error_in(language)
    rate = f", {error.percent:g} % word errors ({error.source})" if error else ""
    pace = f"about {speed:.0f} × real time on a core" if speed >= 2 else f"about {speed:.1f} × real time on a core"
    if audio_s is None or not settings.allowed_hours:
        time = pace
    else:
        hours = audio_s / (speed * settings.workers) / 3600
        time = (
            f"{pace}, so {_hours(hours)} for {_hours(audio_s / 3600)} of sound, of {settings.allowed_hours:g} h allowed"
        )
    return f"--model auto chose {name} ({spec.name}) for {_what(language)}{rate}: {time}."


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.0f} min" if hours >= 1 / 60 else "less than a minute"


def _what(language: str) -> str:
    return "any language" if language == AUTO else f"the language {language}"


def _bytes(name: str) -> float:
    return MODELS[name].parameters_m * 1e6 * MEMORY_BYTES


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
