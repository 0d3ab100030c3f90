"""`nightscribe retry`: recordings that failed are missing again, and a fleet is given them at once."""

import shlex
import sysconfig
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from shutil import which
from uuid import uuid4

import click

from director.letters import DeadLetters
from nightscribe.account import is_live
from nightscribe.fleet import queue_missing
from nightscribe.reach import reached
from nightscribe.run import Request
from nightscribe.summary import shortened
from nightscribe.words import count
from shared.activity import Run
from shared.errors import NightscribeError
from shared.names import FAILURES
from shared.records import Records
from shared.settings import ENV_PREFIX, Settings, load_settings, shown_default
from shared.store import FolderStore
from shared.transcript import Failure


def retry(dest: Path, names: Sequence[str], reasons: Sequence[str], *, dry_run: bool, **given: object) -> int:
    """Put failures back, and say what comes next. Gives the exit code; `given` are settings."""
    records = Records(FolderStore(dest))
    last = records.last_run()
    settings = load_settings(**(_asked(last) | {name: value for name, value in given.items() if value is not None}))
    trouble = None if last and last.command == "run" else _take_in_letters(records, last, settings, dry_run=dry_run)
    if trouble:
        click.echo(f"What was set aside on the queue cannot be looked at: {trouble}", err=True)
    chosen = [failure for failure in records.failures() if is_meant(failure, names, reasons)]
    for line in _listed(chosen, dest, dry_run=dry_run):
        click.echo(line)
    if dry_run or not chosen:
        return 0
    for failure in chosen:
        records.forgive(failure.recording)  # from here on it is missing, and done by the next run whatever happens
    if last and last.command == "director" and not trouble and Path(last.source).is_dir():
        try:
            queue_missing(Request(Path(last.source), dest, settings))
            return 0
        except NightscribeError as error:
            click.echo(f"They are not queued: {error}", err=True)
    for line in _what_next(last, dest):
        click.echo(line)
    return 0


def is_meant(failure: Failure, names: Sequence[str], reasons: Sequence[str]) -> bool:
    """Whether a failure is one of those asked for: by one of the names if there are any, and by one of the reasons."""
    path, reason = failure.recording.casefold(), failure.reason.casefold()
    named = any(name.casefold() in path or fnmatchcase(path, name.casefold()) for name in names)
    explained = any(text.casefold() in reason for text in reasons)
    return (named or not names) and (explained or not reasons)


def command_again(last: Run, dest: Path) -> str:
    """The command that does the same once more, to be typed as it is."""
    installed = Path(sysconfig.get_path("scripts")) / "nightscribe"
    words = ["nightscribe" if which("nightscribe") else str(installed), last.command, last.source, str(dest.absolute())]
    for name, value in _asked(last).items():
        if value == shown_default(name) or (name == "queue_name" and last.command == "run"):
            continue
        option = "--" + name.replace("_", "-")
        words += [option] if value == "True" else [option, value]
    return shlex.join(words)


def _asked(last: Run | None) -> dict[str, str]:
    """The settings of the last run, by their names."""
    return {name.removeprefix(ENV_PREFIX).lower(): value for name, value in (last.asked if last else {}).items()}


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


def _listed(chosen: Sequence[Failure], dest: Path, *, dry_run: bool) -> Iterator[str]:
    if not chosen:
        yield "Nothing to put back: no recording failed that is meant."
        return
    yield f"{'Would be put' if dry_run else 'Put'} back: {count(len(chosen), 'recording')}."
    each = [f"  {failure.recording}: {failure.reason}" for failure in chosen]
    yield from shortened(each, dest / FAILURES if dry_run else None)


def _what_next(last: Run | None, dest: Path) -> Iterator[str]:
    if last is None:
        yield "They are missing again: the next `nightscribe run` or `nightscribe director` does them."
        return
    if is_live(last):
        yield f"A {last.command} is at work that will not look at them again. When it has ended, type:"
    else:
        yield "They are missing again. To do them, type:"
    yield f"  {command_again(last, dest)}"
