"""Define the command `nightscribe forget`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import folders, setting
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location

NOTHING = "Nothing in DEST has that name. Give the path of a recording or folder below SOURCE, or a glob in quotes."


def has_person() -> bool:
    """Return whether somebody can confirm what is asked."""
    return sys.stdin.isatty()


@click.command()
@folders("dest")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--kept", is_flag=True, help="Also delete kept copies of edited texts, such as 'talk (kept).txt'.")
@click.option("--allow", is_flag=True, help="Let the next run transcribe forgotten recordings again.")
@click.option("--source", metavar="SOURCE", help="With --allow: where the recordings are, to find those of a glob.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; needs --yes or --dry-run.")
@setting("log_level", default="warning")
def forget(
    dest: "Location",
    names: tuple[str, ...],
    *,
    dry_run: bool,
    yes: bool,
    kept: bool,
    allow: bool,
    source: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Delete transcripts in DEST for good, and never transcribe their recordings again.

    \b
    Examples:
      nightscribe forget ~/transcripts 2012/interview.mp3 --dry-run
      nightscribe forget ~/transcripts 2012/interview.mp3
      nightscribe forget ~/transcripts 2012/private '*/secret*.wav' --yes
      nightscribe forget ~/transcripts 2012/interview.mp3 --allow

    NAME is the path of a recording or of a folder below SOURCE, or a glob of whole paths. Deleted are the texts, also
    edited ones, the record with its corrections, unfinished work, failures, hashes, voiceprints, and the words in the
    search index. Recordings are never touched. Of each, a tombstone of keyed hashes remains, by which runs leave it
    alone, also under another name. Exit code: 0, 1 if nothing has such a name or you do not confirm, 2 for wrong use.
    """
    from nightscribe.cli.signals import interruptible
    from nightscribe.log import configure_logging
    from nightscribe.services import forget as service
    from nightscribe.shared.storage.registry import parse_location
    from nightscribe.views.forget import allowed_lines, as_object, copies, lines, preview
    from nightscribe.views.progress import Display

    settings = load_settings(**({"log_level": "warning"} | {k: v for k, v in given.items() if v is not None}))
    configure_logging(settings.log_level)
    storage = settings.storage
    dest.check_records(storage)
    if allow:
        place = parse_location(source) if source else None
        allowed = service.allow(dest, names, source=place, dry_run=dry_run, options=storage)
        for line in allowed_lines(allowed, dry_run=dry_run):
            click.echo(line)
        raise SystemExit(0 if allowed.n_allowed else 1)
    if as_json and not (yes or dry_run):
        raise click.UsageError("With --json, give --yes or --dry-run.")
    if not (yes or dry_run or has_person()):
        raise click.UsageError("Nobody can confirm this here. Give --yes, or --dry-run to see what would be deleted.")
    with interruptible(), Display() as display:
        found = service.find(dest, names, options=storage)
    if not as_json:
        for line in preview(found) if found.recordings else [NOTHING]:
            click.echo(line)
    if found.recordings and not dry_run:
        if not (yes or click.confirm("Delete this for good?")):
            raise SystemExit(1)
        if found.n_kept and not (yes or kept):
            kept = click.confirm(f"Also delete {copies(found.n_kept)} of edited texts?")
        with interruptible(), Display() as display:
            chosen = [each.recording for each in found.recordings]
            found = service.forget(dest, chosen, kept_too=kept, options=storage, on_event=display.show)
        if not as_json:
            for line in lines(found):
                click.echo(line)
    if as_json:
        click.echo(as_object(found))
    raise SystemExit(0 if found.recordings else 1)
