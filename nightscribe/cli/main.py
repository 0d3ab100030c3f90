"""Define the command line: list the commands, and turn their errors into exit codes."""

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NamedTuple

import click

from nightscribe.shared.errors import ExtraMissing, NightscribeError
from nightscribe.terminal import visible


class Lazy(NamedTuple):
    """A command that is imported when it is used, with its line in the list of commands."""

    module: str
    name: str
    help: str


COMMANDS = {
    "correct": Lazy("correct", "correct", "Take corrections from edited texts in DEST, or from the command line."),
    "director": Lazy("director", "director", "Compare SOURCE with DEST and queue what is missing, for workers."),
    "forget": Lazy("forget", "forget", "Delete transcripts in DEST for good, and never make them again."),
    "health": Lazy("health", "health", "Check whether the director or worker of this container is alive."),
    "ignore": Lazy("ignore", "ignore", "Leave recordings alone that always fail in DEST."),
    "index": Lazy("index", "index", "Bring the search index of DEST up to date."),
    "models": Lazy("models", "models", "Manage weights of speech models on this machine."),
    "retry": Lazy("retry", "retry", "Retry recordings that failed in DEST."),
    "run": Lazy("run", "run", "Transcribe everything in SOURCE into DEST on this machine."),
    "score": Lazy("score", "score", "Compare the texts of a table in DEST with what was truly said."),
    "search": Lazy("search", "search", "Search all transcripts in DEST."),
    "serve": Lazy("serve", "serve", "Serve DEST to people and programs: a page and an API."),
    "speakers": Lazy("speakers", "speakers", "List, name, merge, split and forget the voices in DEST."),
    "status": Lazy("status", "status", "Show what is queued, in progress, failed and done in DEST."),
    "token": Lazy("token", "token", "Create, list and revoke tokens and logins for the server of DEST."),
    "verify": Lazy("verify", "verify", "Check that every record, text and recording of DEST is whole."),
    "worker": Lazy("worker", "worker", "Transcribe one job from the queue after another."),
}


class Commands(click.Group):
    """Ends with a message and exit code 2 on errors that the user can fix, and with 130 on an interruption."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import and return a command, or None if the name is unknown."""
        if (lazy := COMMANDS.get(cmd_name)) is None:
            return None
        command = getattr(import_module(f"nightscribe.cli.{lazy.module}"), lazy.name)
        assert isinstance(command, click.Command)  # noqa: S101  what the table says
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them, which would take a second."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and print the sentence of an error that is meant for the user."""
        try:
            return super().invoke(ctx)
        except NightscribeError as error:
            raise _CannotWork(visible(_advice(error))) from error
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
            raise  # their messages have several lines, and contain nothing that was typed
        except click.UsageError as error:
            said = visible(error.format_message())
            raise click.UsageError(said if said.endswith((".", "?", ")")) else f"{said}.", error.ctx) from error
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            raise SystemExit(130) from None


def _advice(error: NightscribeError) -> str:
    """Return the sentence of an error; install what is missing and start again where build.sh can do that."""
    if not isinstance(error, ExtraMissing):
        return str(error)
    from nightscribe.cli.extras import can_install, install_and_start_again
    from nightscribe.views.cli_hints import install

    if can_install(error):
        install_and_start_again(error)
    return f"{error.lack} Install it: {install(error.extra)}"


class _CannotWork(click.ClickException):
    exit_code = 2


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nightscribe")
def cli() -> None:
    """Turn a folder of recordings into a folder of transcripts, overnight.

    \b
    Everything on this machine:
      nightscribe run ~/recordings ~/transcripts

    \b
    With your own queue and any number of workers:
      nightscribe director ~/recordings ~/transcripts
      nightscribe worker ~/recordings ~/transcripts

    \b
    With a director that waits for new recordings, and a bucket instead of a folder:
      nightscribe director ~/recordings s3://transcripts/2012 --watch

    Interrupt it at any time and run it again: it continues where it stopped.
    """
    from nightscribe.cli.variables import warn_of_misspelt
    from nightscribe.log import configure_logging

    configure_logging("warning")
    warn_of_misspelt()


def main() -> None:
    """Run the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # names of folders may hold bytes that are no text
    cli(prog_name="nightscribe")
