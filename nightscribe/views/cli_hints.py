"""Commands for a person to type, as they are to be typed."""

import shlex
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from typing import Literal

from nightscribe.shared.settings import TEXTS, WORDS, Settings
from nightscribe.shared.storage.base import Location

Command = Literal["run", "director"]
Value = str | int | bool | tuple[str, ...]

# The settings that each command takes and that a person asks for.
OPTIONS: dict[Command, tuple[str, ...]] = {
    "run": (*WORDS, *TEXTS, "workers", "batch_size", "follow_links"),
    "director": (*WORDS, *TEXTS, "queue_name", "window", "follow_links"),
}


def asked(command: Command, settings: Settings) -> dict[str, Value]:
    """What a person has asked of a command, by the names of the settings."""
    return {name: getattr(settings, name) for name in OPTIONS[command]}


def run_again(command: Command, source: Location | str, dest: Location, asked: Mapping[str, Value]) -> str:
    """The command that does the same with whatever is missing; without --redo, which would do everything again."""
    words = [command, str(source), str(dest.absolute())]
    for name in OPTIONS[command]:
        default = Settings.model_fields[name].get_default(call_default_factory=True)
        value = asked.get(name, default)
        if value == default:
            continue
        words.append("--" + name.replace("_", "-"))
        if not isinstance(value, bool):
            words.append(",".join(value) if isinstance(value, tuple) else str(value))
    return _typed(words)


def retry_command(dest: Location) -> str:
    """The command that puts back all that failed."""
    return _typed(["retry", str(dest.absolute())])


def _typed(words: list[str]) -> str:
    """With the place of the program where its name alone would not be found."""
    program = "nightscribe" if which("nightscribe") else str(Path(sysconfig.get_path("scripts")) / "nightscribe")
    return shlex.join([program, *words])
