"""What can be said to the program from outside: for whatever starts it with variables and arguments of its own."""

import click

from nightscribe.cli.main import COMMANDS, cli
from nightscribe.server.config import ServerSettings
from nightscribe.shared.process.liveness import VARIABLE
from nightscribe.shared.settings import ENV_PREFIX, FORMER_NAMES, Settings


def known_variables() -> set[str]:
    """Every NIGHTSCRIBE_ variable that is read: the settings, and those of arguments and flags."""
    of_commands = {
        str(parameter.envvar) for name in COMMANDS for parameter in command_named(name).params if parameter.envvar
    }
    return (
        {ENV_PREFIX + name.upper() for name in (*Settings.model_fields, *ServerSettings.model_fields, *FORMER_NAMES)}
        | of_commands
        | {VARIABLE}
    )


def options_of(command: str) -> set[str]:
    """The options of a command, which must be there."""
    return {"--help"} | {option for parameter in command_named(command).params for option in parameter.opts}


def command_named(name: str) -> click.Command:
    """The command of that name, which must be there."""
    found = cli.get_command(click.Context(cli), name)
    assert found, name
    return found
