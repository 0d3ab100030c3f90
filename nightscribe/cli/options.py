"""Decorators that turn settings, flags and folders into options and arguments."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic_settings import BaseSettings

from nightscribe.shared.settings import ENV_PREFIX, FORMER_NAMES, Settings, shown_default

F = TypeVar("F", bound=Callable[..., Any])


def setting(name: str, default: str | None = None, model: type[BaseSettings] = Settings) -> Callable[[F], F]:
    """Add the option of a setting, with the setting's help, variable and, unless `default` replaces it, default."""
    field = model.model_fields[name]
    kind: dict[str, Any]
    if field.annotation is bool:
        kind = {"is_flag": True, "default": None}  # None: not given, so that the variable counts
    elif get_origin(field.annotation) is Literal:
        kind = {"type": click.Choice(get_args(field.annotation))}
    else:
        kind = {"type": str, "metavar": name.rpartition("_")[2].upper()}
    if name in COMPLETIONS:
        kind["shell_complete"] = _completed(name)
    former = [f"--{old}" for old, new in FORMER_NAMES.items() if new == name]
    return click.option(
        "--" + name.replace("_", "-"),
        *former,
        name,
        help=f"{field.description}  [{ENV_PREFIX}{name.upper()}; default: {default or shown_default(name, model)}]",
        **kind,
    )


COMPLETIONS = ("model", "engine", "formats", "language", "languages")


def _completed(name: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a function that completes a value for the shell; of a list, its last item."""

    def complete(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        before, comma, last = typed.rpartition(",")
        return [before + comma + each for each in _values(name) if each.startswith(last)]

    return complete


def _values(name: str) -> Iterable[str]:
    if name == "formats":
        from nightscribe.shared.formats.registry import format_names

        return format_names()
    if name == "engine":
        from nightscribe.shared.model.engines import AUTO, BUILT_IN

        return [AUTO, *BUILT_IN]
    if name == "model":
        from nightscribe.worker.weights.catalogue import MODELS

        return list(MODELS)
    from nightscribe.shared.model.languages import LANGUAGES

    return list(LANGUAGES)


def settings(*names: str, model: type[BaseSettings] = Settings) -> Callable[[F], F]:
    """Add the options of several settings, in this order."""

    def decorate(command: F) -> F:
        for name in reversed(names):
            command = setting(name, model=model)(command)
        return command

    return decorate


def flag(option: str, meaning: str) -> Callable[[F], F]:
    """Add a flag that a variable can set, too."""
    variable = ENV_PREFIX + option.removeprefix("--").replace("-", "_").upper()
    return click.option(option, is_flag=True, envvar=variable, help=f"{meaning}  [{variable}]")


def folders(*names: str, required: bool = True) -> Callable[[F], F]:
    """Add SOURCE and DEST, or those that are named: each a folder or a bucket, given as argument or as variable."""

    def decorate(command: F) -> F:
        for name in reversed(names or ("source", "dest")):
            variable = f"{ENV_PREFIX}{name.upper()}"
            command = click.argument(name, type=_place, envvar=variable, required=required)(command)
        return command

    return decorate


def _place(text: str) -> object:
    from nightscribe.shared.storage.registry import parse_location

    return parse_location(text)
