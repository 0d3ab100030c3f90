"""Define the commands of `nightscribe speakers`."""

from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.services.speakers import VoiceBook
    from nightscribe.shared.storage.base import Location
    from nightscribe.views.progress import Display


class ListByDefault(click.Group):
    """Takes `speakers DEST` for `speakers list DEST`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word names, or `list`."""
        is_command = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if is_command else ["list", *args])


@click.group(cls=ListByDefault)
def speakers() -> None:
    """List the voices in DEST over all its recordings, and name, merge, split or forget them.

    \b
    Examples:
      nightscribe speakers ~/transcripts
      nightscribe speakers name ~/transcripts v3f2a91 "Grandma"

    Voices are compared by the voiceprints in the records; nothing is transcribed or heard again.
    """


@speakers.command("list")
@folders("dest")
@click.option("--all", "all_recordings", is_flag=True, help="List all recordings of each voice.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@setting("log_level", default="warning")
def list_(dest: "Location", all_recordings: bool, as_json: bool, **given: Any) -> None:
    """List the voices of all recordings in DEST.

    The same person in many recordings is one voice.

    \b
    Examples:
      nightscribe speakers list ~/transcripts
      nightscribe speakers list ~/transcripts --all
      nightscribe speakers list s3://transcripts/2012 --json

    `nightscribe speakers DEST` does the same. Each voice is shown with a place where you can hear it.
    """
    from nightscribe.views.speakers import as_object, lines

    with _display() as display:
        found = _book(dest, display, given).all()
    for line in [as_object(found)] if as_json else lines(found, dest, all_recordings=all_recordings):
        click.echo(line)


@speakers.command()
@folders("dest")
@click.argument("voice")
@click.argument("name")
@setting("log_level", default="warning")
def name(dest: "Location", voice: str, name: str, **given: Any) -> None:
    """Give a VOICE a NAME in all its transcripts and texts.

    \b
    Examples:
      nightscribe speakers name ~/transcripts v3f2a91 "Grandma"
      nightscribe speakers name ~/transcripts Grandma "Grandma Ann"
      nightscribe speakers name ~/transcripts "2012/talk.mp3#2" "Uncle Bob"

    VOICE is an id or a name from the list, or RECORDING#N for speaker N of a recording. From now on, workers give the
    name to this voice in new recordings. Texts that you have edited are left as they are, and listed.
    """
    with _display() as display:
        changed = _book(dest, display, given).name(voice, name)
    _show(changed, f"The voice {changed.voice} is {changed.name!r}.")


@speakers.command()
@folders("dest")
@click.argument("voice")
@click.argument("others", nargs=-1, required=True)
@setting("log_level", default="warning")
def merge(dest: "Location", voice: str, others: tuple[str, ...], **given: Any) -> None:
    """Make VOICE and OTHERS one voice, because they are one person.

    \b
    Examples:
      nightscribe speakers merge ~/transcripts v3f2a91 v88c01d
      nightscribe speakers merge ~/transcripts Grandma "2012/phone.mp3#1"
    """
    with _display() as display:
        changed = _book(dest, display, given).merge(voice, others)
    _show(changed, f"They are one voice: {changed.voice}{f', {changed.name!r}' if changed.name else ''}.")


@speakers.command()
@folders("dest")
@click.argument("voice")
@click.argument("recordings", nargs=-1, required=True)
@setting("log_level", default="warning")
def split(dest: "Location", voice: str, recordings: tuple[str, ...], **given: Any) -> None:
    """Take RECORDINGS out of VOICE, because they are another person.

    \b
    Examples:
      nightscribe speakers split ~/transcripts Grandma 2012/talk.mp3
      nightscribe speakers split ~/transcripts v3f2a91 2012/talk.mp3 2013/party.mp3

    They become a voice of their own without a name.
    """
    with _display() as display:
        changed = _book(dest, display, given).split(voice, recordings)
    _show(changed, f"The new voice is {changed.voice}.")


@speakers.command()
@folders("dest")
@click.argument("voices", nargs=-1)
@click.option("--all", "all_voices", is_flag=True, help="Forget all voices.")
@setting("log_level", default="warning")
def forget(dest: "Location", voices: tuple[str, ...], all_voices: bool, **given: Any) -> None:
    """Delete the voiceprints of VOICES from DEST. Nobody is recognized by them any more.

    \b
    Examples:
      nightscribe speakers forget ~/transcripts Grandma
      nightscribe speakers forget ~/transcripts --all

    Names stay in transcripts and texts. Voiceprints are biometric data; `run --no-voiceprints` never stores any.
    """
    if all_voices == bool(voices):
        raise click.UsageError("Name the voices to forget, or give --all.")
    with _display() as display:
        changed = _book(dest, display, given).forget(voices)
    _show(changed, "The voiceprints are deleted.")


def _display() -> "Display":
    from nightscribe.views.progress import Display

    return Display()


def _book(dest: "Location", display: "Display", given: dict[str, Any]) -> "VoiceBook":
    from nightscribe.log import configure_logging
    from nightscribe.services.speakers import VoiceBook

    settings = load_settings(**({"log_level": "warning"} | {k: v for k, v in given.items() if v is not None}))
    configure_logging(settings.log_level)
    dest.check_records(settings.storage)
    return VoiceBook(dest, settings.storage, display.show)


def _show(changed: Any, what: str) -> None:
    from nightscribe.views.speakers import changed_lines

    for line in changed_lines(changed, what):
        click.echo(line)
