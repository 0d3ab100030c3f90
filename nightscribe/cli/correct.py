"""Define the command `nightscribe correct`."""

from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location


@click.command()
@folders("dest")
@click.argument("names", nargs=-1, metavar="[PATTERN]...")
@click.option(
    "--at", metavar="TIME", help="Correct the passage at this time, 12.3 or 1:02:03; the new text comes last."
)
@click.option("--undo", is_flag=True, help="Take back the last corrections of one recording.")
@click.option("--discard-unplaced", is_flag=True, help="Remove corrections of one recording that were not placed.")
@click.option("--by", metavar="NAME", help="Who makes the corrections.  [default: the name of your account]")
@click.option("--dry-run", is_flag=True, help="Only show what would be corrected.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@setting("log_level", default="warning")
def correct(
    dest: "Location",
    names: tuple[str, ...],
    *,
    at: str | None,
    undo: bool,
    discard_unplaced: bool,
    by: str | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Take corrections from edited texts in DEST, or from the command line.

    \b
    Examples:
      nightscribe correct ~/transcripts --dry-run
      nightscribe correct ~/transcripts
      nightscribe correct ~/transcripts '2012/*' interview
      nightscribe correct ~/transcripts 2012/talk.mp3 --at 12.3 'Ask Anna.'
      nightscribe correct ~/transcripts 2012/talk.mp3 --undo

    Edit a .txt, .vtt or .srt file in any editor, then run this command: the words that you have changed are kept in
    the record as your corrections, and written into the other files of that recording. The engine's words stay in the
    record beside them. Line breaks, paragraphs and encodings are yours and no corrections. Each PATTERN is a part of a
    path, or a glob. Exit code: 0; 1 if files contradict each other, were not understood, or a correction could not be
    placed; 2 for wrong use.
    """
    from nightscribe.cli.signals import interruptible
    from nightscribe.cli.user import user_name
    from nightscribe.log import configure_logging
    from nightscribe.services import correct as service
    from nightscribe.views.correct import as_object, lines, seconds
    from nightscribe.views.progress import Display

    settings = load_settings(**({"log_level": "warning"} | {k: v for k, v in given.items() if v is not None}))
    configure_logging(settings.log_level)
    dest.check_records(settings.storage)
    by = by or user_name()
    wanted = 2 if at is not None else 1
    if (at is not None) + undo + discard_unplaced > 1:
        raise click.UsageError("Give only one of --at, --undo and --discard-unplaced.")
    if (at is not None or undo or discard_unplaced) and len(names) != wanted:
        raise click.UsageError(
            "With --at, give one recording and its new text."
            if at is not None
            else f"With {'--undo' if undo else '--discard-unplaced'}, give one recording."
        )
    with interruptible(), Display() as display:
        if at is not None:
            one = service.correct_passage(
                dest, names[0], seconds(at), names[1], by=by, dry_run=dry_run, options=settings.storage
            )
        elif undo:
            one = service.undo(dest, names[0], by=by, dry_run=dry_run, options=settings.storage)
        elif discard_unplaced:
            one = service.discard_unplaced(dest, names[0], dry_run=dry_run, options=settings.storage)
        else:
            one = None
        done = (
            service.Corrections((one,), 1, dry_run)
            if one
            else service.correct(dest, names, by=by, dry_run=dry_run, options=settings.storage, on_event=display.show)
        )
    for line in [as_object(done)] if as_json else lines(done, undone=undo):
        click.echo(line)
    raise SystemExit(0 if done.is_clean else 1)
