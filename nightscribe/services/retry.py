"""`nightscribe retry`: recordings that failed are missing again, and a fleet is given them at once."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from uuid import uuid4

import click

from nightscribe.director.dead_letters import DeadLetters
from nightscribe.services.enqueue import queue_missing
from nightscribe.services.queue_discovery import is_named, queue_name, reached
from nightscribe.services.request import Request
from nightscribe.services.run_record import is_live
from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import FAILURES
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.activity import Run
from nightscribe.shared.model.transcript import Failure
from nightscribe.shared.settings import Settings, load_settings
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.registry import parse_location
from nightscribe.views.cli_hints import asked, run_again
from nightscribe.views.humanize import count
from nightscribe.views.summary import shortened


def retry(dest: Location, names: Sequence[str], reasons: Sequence[str], *, dry_run: bool, **given: object) -> int:
    """Put failures back, and say what comes next. Gives the exit code; `given` are settings."""
    records = Records(dest.open_store(load_settings(**given).storage))
    last = records.last_run()
    settings = load_settings(**(_asked(last) | given))
    settings = settings.model_copy(update={"queue_name": queue_name(last, settings)}) if last else settings
    of_fleet = last.command == "director" if last else is_named(settings)
    trouble = _take_in_letters(records, last, settings, dry_run=dry_run) if of_fleet else None
    if trouble:
        click.echo(f"What was set aside on the queue cannot be looked at: {trouble}", err=True)
    chosen = [failure for failure in records.failures() if is_meant(failure, names, reasons)]
    n_kept = sum(_keeps_transcript(records, failure) for failure in chosen)
    for line in _listed(chosen, n_kept, dest, dry_run=dry_run):
        click.echo(line)
    if last and last.n_unreadable and not (names or reasons):
        click.echo(f"What could not be read is looked at by every run anyway: {count(last.n_unreadable, 'recording')}.")
    if dry_run or not chosen:
        return 0
    for failure in chosen:
        records.forgive(failure.recording)  # from here on it is missing, and done by the next run whatever happens
    if n_kept == len(chosen):
        return 0
    if last and last.watch and is_live(last):
        click.echo(f"The director that watches on {last.host} queues them at its next look.")
        return 0
    if last and last.command == "director" and not trouble and _is_seen(parse_location(last.source)):
        try:
            queue_missing(Request(parse_location(last.source), dest, settings), letters=False)
            return 0
        except NightscribeError as error:
            click.echo(f"They are not queued: {error}", err=True)
    for line in _what_next(last, dest, settings, who="The others" if n_kept else "They"):
        click.echo(line)
    return 0


def is_meant(failure: Failure, names: Sequence[str], reasons: Sequence[str]) -> bool:
    """Whether a failure is one of those asked for: by one of the names if there are any, and by one of the reasons."""
    path, reason = failure.recording.casefold(), failure.reason.casefold()
    named = any(name.casefold() in path or fnmatchcase(path, name.casefold()) for name in names)
    explained = any(text.casefold() in reason for text in reasons)
    return (named or not names) and (explained or not reasons)


def _is_seen(source: Location) -> bool:
    """Whether a source is one from this machine as well."""
    return source.local_path is None or source.local_path.is_dir()


def _asked(last: Run | None) -> dict[str, object]:
    """The settings of the last run; which queue it is depends on more."""
    values = last.asked if last else {}
    return {name: value for name, value in values.items() if name in Settings.model_fields and name != "queue_name"}


def _keeps_transcript(records: Records, failure: Failure) -> bool:
    """Whether it failed in a redo, and counts as finished all the same."""
    try:
        done = records.provenance(failure.recording)
    except NewerRecord:
        return True
    return done is not None and done.fingerprint == failure.fingerprint


def _take_in_letters(records: Records, last: Run | None, settings: Settings, *, dry_run: bool) -> str | None:
    """Record what was set aside, so that it does not come back as a failure later; gives what stands in the way."""
    try:
        with reached(last, settings) as queue:
            if not dry_run:
                DeadLetters(queue, records, uuid4().hex, settings.max_receives).record()
            elif n_letters := queue.dead_counts().queued:
                click.echo(f"On the queue, {count(n_letters, 'job')} that was set aside would be looked at too.")
    except NightscribeError as error:
        return str(error)
    return None


def _listed(chosen: Sequence[Failure], n_kept: int, dest: Location, *, dry_run: bool) -> Iterator[str]:
    if not chosen:
        yield "Nothing to put back: no recording failed that is meant."
        return
    yield f"{'Would be put' if dry_run else 'Put'} back: {count(len(chosen), 'recording')}."
    each = [f"  {failure.recording}: {failure.reason}" for failure in chosen]
    yield from shortened(each, dest.display(FAILURES) if dry_run else None)
    if n_kept:
        keep = "keeps the transcript that it" if n_kept == 1 else "keep the transcripts that they"
        yield (
            f"Of these, {count(n_kept, 'recording')} {keep} had before: only --redo does that again, with all that is "
            "finished."
        )


def _what_next(last: Run | None, dest: Location, settings: Settings, *, who: str) -> Iterator[str]:
    if last is None:
        yield f"{who} are missing again: the next `nightscribe run` or `nightscribe director` does them."
        return
    if is_live(last):
        yield f"A {last.command} is at work that will not look at them again. When it has ended, type:"
    else:
        yield f"{who} are missing again. To do them, type:"
    yield f"  {run_again(last.command, last.source, dest, asked(last.command, settings))}"
