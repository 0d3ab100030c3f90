"""The command line as a whole: which commands there are, and how each of them ends."""

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NamedTuple

import click

from nightscribe.shared.errors import NightscribeError
from nightscribe.terminal import visible


class Lazy(NamedTuple):
    """A command that is imported when it is used, and what the list of commands says of it."""

    module: str
    name: str
    help: str


COMMANDS = {
    "director": Lazy("director", "director", "Compare SOURCE with DEST and queue what is missing, for workers."),
    "health": Lazy("health", "health", "Check whether the director or worker of this container is alive."),
    "models": Lazy("models", "models", "Manage weights of speech models on this machine."),
    "retry": Lazy("retry", "retry", "Let recordings that failed in DEST be tried again."),
    "run": Lazy("run", "run", "Transcribe everything in SOURCE into DEST on this machine."),
    "status": Lazy("status", "status", "Show what is queued, in progress, failed and done in DEST."),
    "verify": Lazy("verify", "verify", "Check that every record, text and recording of DEST is whole."),
    "worker": Lazy("worker", "worker", "Do one job from the queue after the other."),
}


class Commands(click.Group):
    """Ends with a sentence and exit code 2 where the user can set things right, with 130 where they interrupt."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import a command. Returns: None if there is none of that name."""
        if (lazy := COMMANDS.get(cmd_name)) is None:
            return None
        command = getattr(import_module(f"nightscribe.cli.{lazy.module}"), lazy.name)
        assert isinstance(command, click.Command)  # noqa: S101  what the table says
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them: that takes a second."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and turn an error made for the user into its sentence."""
        try:
            return super().invoke(ctx)
        except NightscribeError as error:
            raise _CannotWork(visible(str(error))) from error
        except click.MissingParameter:  # its sentence has several lines, and nothing that was typed
            raise
        except click.UsageError as error:
            raise click.UsageError(visible(error.format_message()), error.ctx) from error
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            raise SystemExit(130) from None


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
    With a queue of your own and as many workers as you like:
      nightscribe director ~/recordings ~/transcripts
      nightscribe worker ~/recordings ~/transcripts

    \b
    A director that stays for what arrives, and buckets in place of folders:
      nightscribe director ~/recordings s3://transcripts/2012 --watch

    Interrupt it at any time and run it again: it goes on where it stopped.
    """
    from nightscribe.log import configure_logging

    configure_logging("warning")


def main() -> None:
    """Run the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # names of folders may hold bytes that are no text
    cli(prog_name="nightscribe")
