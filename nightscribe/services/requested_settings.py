"""List the settings that a user chooses for a command, to record them with a run and to build commands from them."""

from typing import Literal

from nightscribe.shared.settings import SPEAKERS, TEXTS, WORDS, Settings

Command = Literal["run", "director"]
Value = str | int | bool | tuple[str, ...]

OPTIONS: dict[Command, tuple[str, ...]] = {
    "run": (
        *WORDS,
        *SPEAKERS,
        *TEXTS,
        "allowed_hours",
        "workers",
        "batch_size",
        "audio_column",
        "layout",
        "follow_links",
        "forget_after_days",
    ),
    "director": (
        *WORDS,
        *SPEAKERS,
        *TEXTS,
        "queue_name",
        "max_queued_jobs",
        "audio_column",
        "layout",
        "follow_links",
        "forget_after_days",
    ),
}


def asked(command: Command, settings: Settings) -> dict[str, Value]:
    """Return the values of the settings that a command takes, by name; a fraction only if it is set, as text."""
    values = {name: getattr(settings, name) for name in OPTIONS[command]}
    return {
        name: f"{value:g}" if isinstance(value, float) else value
        for name, value in values.items()
        if not (isinstance(value, float) and value == Settings.model_fields[name].default)
    }
