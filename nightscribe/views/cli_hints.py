"""Build the commands that the output suggests to type next, in the way in which the user has called this one."""

import os
import shlex
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which

from nightscribe.services.requested_settings import OPTIONS, Command, Value
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location
from nightscribe.terminal import visible

BUILD_SH = "NIGHTSCRIBE_BUILD_SH"
"""Variable with the path of the build.sh that started this command."""


def run_again(
    command: Command, source: Location | str | Sequence[str], dest: Location, asked: Mapping[str, Value]
) -> str:
    """Return the command that transcribes what is still missing, without --redo, which would start everything again."""
    sources = source.arguments() if isinstance(source, Location) else [source] if isinstance(source, str) else source
    words = [command, *sources, str(dest.absolute())]
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


def typed(*words: str) -> str:
    """Return a command line, as `nightscribe speakers DEST`; words in capitals and globs stay as they are."""
    return " ".join((_quoted(_program()), *words))


def install(extra: str) -> str:
    """Return the command that installs an extra of nightscribe."""
    if BUILD_SH in os.environ:
        return typed("setup", extra)
    requirement = f"'nightscribe[{extra}]'"
    if Path(sys.prefix, "uv-receipt.toml").exists():
        return f"uv tool install --force {requirement}"
    if Path(sys.prefix, "pipx_metadata.json").exists():
        return f"pipx install --force {requirement}"
    return f"pip install {requirement}"


def _typed(words: list[str]) -> str:
    """Return a command line with its words quoted."""
    return " ".join(map(_quoted, (_program(), *words)))


def _program() -> str:
    """Return what starts nightscribe: build.sh if that did, else its name, or its path if PATH would not find it."""
    if build_sh := os.environ.get(BUILD_SH):
        from_here = os.path.relpath(build_sh)
        return build_sh if from_here.startswith("..") else os.path.join(".", from_here)  # noqa: PTH118  drops "."
    return "nightscribe" if which("nightscribe") else str(Path(sysconfig.get_path("scripts")) / "nightscribe")


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
