"""Take over the settings of whisper_api, so that its users need not rewrite their compose files. Pure.

docs/api-compat.md has the table. A setting of ours goes before theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from nightscribe.shared.errors import SetupError

SMALLEST_MODEL = "tiny"
LOG_FOLDER, LOG_FILE = "data/", "whisper_api.log"
ROTATION_HOURS, ROTATION_INTERVAL = "H", 2.0
_UNIT_HOURS = {"S": 1 / 3600, "M": 1 / 60, "H": 1, "D": 24, "MIDNIGHT": 24, **{f"W{day}": 24 * 7 for day in range(7)}}
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "error"}

_SAME = {
    "PORT": "port",
    "LISTEN": "host",
    "UNLOAD_MODEL_AFTER_S": "unload_after_s",
    "DELETE_RESULTS_AFTER_M": "results_minutes",
    "MAX_TASK_QUEUE_SIZE": "max_waiting",
    "CPU_FALLBACK_MODEL": "cpu_model",
    "LOG_ROTATION_BACKUP_COUNT": "log_files",
}
"""Settings that mean the same here, by our names."""
_OFF = {
    "LOAD_MODEL_ON_STARTUP": "load_late",
    "REFRESH_EXPIRATION_TIME_ON_USAGE": "no_refresh",
    "USE_GPU_IF_AVAILABLE": "no_gpu",
}
"""Switches that are on unless they are 0, and what is set then."""
_WITHOUT_EFFECT = {
    "RUN_RESULT_EXPIRY_CHECK_M": "results are removed within half a minute of their time",
    "LOG_FORMAT": "events are logged as JSON",
    "LOG_DATE_FORMAT": "times are logged as ISO 8601",
}
_REFUSED = ("AUTHORIZED_MAILS", "LOG_AUTHORIZED_MAILS")


@dataclass(frozen=True)
class TakenOver:
    """What the settings of whisper_api mean here."""

    values: Mapping[str, object]
    """Values by the names of our settings."""
    variables: tuple[str, ...]
    """The variables that they come from."""
    notes: tuple[str, ...]
    """Sentences about variables that have no effect."""


def taken_over(environment: Mapping[str, str]) -> TakenOver:
    """Return what the variables of whisper_api mean here; empty ones count as not set.

    Raises: SetupError: if one cannot be honoured.
    """
    given = {name: value.strip() for name, value in environment.items() if name in _known() and value.strip()}
    for name in _REFUSED:
        if name in given:
            raise SetupError(
                f"{name} cannot be honoured: whoever sends the header X-Email could claim to be anybody. Remove it, "
                "and create tokens or logins with `nightscribe token create`."
            )
    values: dict[str, object] = {ours: given[theirs] for theirs, ours in _SAME.items() if theirs in given}
    values |= {ours: True for theirs, ours in _OFF.items() if _switch(given, theirs, usual=True) is False}
    if model := given.get("MAX_MODEL"):
        values |= {"model": model, "largest_model": model}
    if _switch(given, "DEVELOP_MODE", usual=False):
        values["model"] = SMALLEST_MODEL
    if "model" in values:
        values.pop("cpu_model", None)  # as there: it counts only if no model is named
    if levels := [_level(given, name) for name in ("LOG_LEVEL_CONSOLE", "LOG_LEVEL_FILE") if name in given]:
        values["log_level"] = min(levels, key=list(_LEVELS.values()).index)
    if "LOG_DIR" in given or "LOG_FILE" in given:
        values["log_file"] = str(PurePath(given.get("LOG_DIR", LOG_FOLDER)) / given.get("LOG_FILE", LOG_FILE))
    if "LOG_ROTATION_WHEN" in given or "LOG_ROTATION_INTERVAL" in given:
        values["log_file_hours"] = _rotation_hours(given)
    notes = tuple(f"{name} has no effect: {why}." for name, why in _WITHOUT_EFFECT.items() if name in given)
    return TakenOver(values, tuple(name for name in given if name not in _WITHOUT_EFFECT), notes)


def _known() -> set[str]:
    others = ("DEVELOP_MODE", "MAX_MODEL", "LOG_LEVEL_CONSOLE", "LOG_LEVEL_FILE", "LOG_DIR", "LOG_FILE")
    return {*_SAME, *_OFF, *_WITHOUT_EFFECT, *_REFUSED, *others, "LOG_ROTATION_WHEN", "LOG_ROTATION_INTERVAL"}


def _switch(given: Mapping[str, str], name: str, *, usual: bool) -> bool:
    value = given.get(name, str(int(usual)))
    if value not in ("0", "1"):
        raise SetupError(f"{name} is {value!r}: it must be 0 or 1.")
    return value == "1"


def _level(given: Mapping[str, str], name: str) -> str:
    if (level := _LEVELS.get(given[name].upper())) is None:
        raise SetupError(f"{name} is {given[name]!r}: it must be one of {', '.join(_LEVELS)}.")
    return level


def _rotation_hours(given: Mapping[str, str]) -> float:
    unit, interval = given.get("LOG_ROTATION_WHEN", ROTATION_HOURS), given.get("LOG_ROTATION_INTERVAL", "")
    if unit.upper() not in _UNIT_HOURS:
        raise SetupError(f"LOG_ROTATION_WHEN is {unit!r}: it must be S, M, H, D, W0 to W6 or midnight.")
    if interval and not (interval.isascii() and interval.isdigit() and int(interval)):
        raise SetupError(f"LOG_ROTATION_INTERVAL is {interval!r}: it must be a whole number.")
    return _UNIT_HOURS[unit.upper()] * (float(interval) if interval else ROTATION_INTERVAL)
