"""Build the commands that the output suggests to type next."""

import os
import shlex
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from shutil import which

from nightscribe.services.requested_settings import OPTIONS, Command, Value
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location
from nightscribe.terminal import visible


def run_again(command: Command, source: Location | str, dest: Location, asked: Mapping[str, Value]) -> str:
    """Return the command that transcribes what is still missing, without --redo, which would start everything again."""
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
    """Return the command that retries all that failed."""
    return _typed(["retry", str(dest.absolute())])


def _typed(words: list[str]) -> str:
    """Return a command line, with the path of the program if PATH would not find its name."""
    program = "nightscribe" if which("nightscribe") else str(Path(sysconfig.get_path("scripts")) / "nightscribe")
    return " ".join(map(_quoted, (program, *words)))


def _quoted(word: str) -> str:
    """Quote a word for the shell; write control characters as escapes of bash and zsh."""
    if visible(word) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if visible(character) == character:
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
