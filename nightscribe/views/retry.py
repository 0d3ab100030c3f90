"""Print the result of `nightscribe retry`."""

from collections.abc import Iterator

import click

from nightscribe.services.requested_settings import asked
from nightscribe.services.retry import Retried
from nightscribe.services.run_record import CHOSEN
from nightscribe.shared.destination.keys import FAILURES
from nightscribe.terminal import visible, visible_lines
from nightscribe.views.cli_hints import run_again
from nightscribe.views.enqueue import lines as queued_lines
from nightscribe.views.humanize import count
from nightscribe.views.summary import shortened


def show(retried: Retried, *, all_meant: bool) -> None:
    """Print what is retried and what to do next. `all_meant`: neither names nor reasons were given."""
    if retried.unreachable:
        click.echo(visible(f"The dead-letter queue cannot be read: {retried.unreachable}"), err=True)
    for line in _chosen(retried):
        click.echo(line)
    last = retried.last
    if last and last.n_unreadable and all_meant:
        click.echo(f"Every run tries unreadable files again: {count(last.n_unreadable, 'recording')}.")
    if retried.enqueued:
        for line in queued_lines(retried.enqueued, retried.dest):
            click.echo(line)
    if retried.is_over:
        return
    if last and retried.is_watched:
        click.echo(visible(f"The watching director on {last.host} will queue them at its next scan."))
        return
    if retried.not_enqueued:
        click.echo(visible(f"They were not queued: {retried.not_enqueued}"), err=True)
    for line in _what_next(retried):
        click.echo(line)


@visible_lines
def _chosen(retried: Retried) -> Iterator[str]:
    if retried.n_dead_letters:
        yield f"{count(retried.n_dead_letters, 'job')} on the dead-letter queue would be processed too."
    chosen, n_kept = retried.chosen, retried.n_kept
    if not chosen:
        yield "Nothing to retry: no failed recording matches."
        return
    yield f"{'Would' if retried.dry_run else 'Will'} retry {count(len(chosen), 'recording')}."
    each = [f"  {failure.recording}: {failure.reason}" for failure in chosen]
    yield from shortened(each, retried.dest.display(FAILURES) if retried.dry_run else None)
    if n_kept:
        one = n_kept == 1
        keep = "keeps its earlier transcript" if one else "keep their earlier transcripts"
        redo = f"only --redo transcribes {'it' if one else 'them'} again, with all finished ones."
        yield f"Of these, {count(n_kept, 'recording')} {keep}: {redo}"


@visible_lines
def _what_next(retried: Retried) -> Iterator[str]:
    who = "The others" if retried.n_kept else "They"
    last = retried.last
    if last is None:
        yield f"{who} count as missing again: the next `nightscribe run` or `nightscribe director` retries them."
        return
    if retried.is_live:
        yield f"The {last.command} in progress will not retry them. When it has ended, type:"
    else:
        yield f"{who} count as missing again. To transcribe them, type:"
    chosen = last.asked.get(CHOSEN)
    source = chosen if isinstance(chosen, tuple) else last.source
    yield f"  {run_again(last.command, source, retried.dest, asked(last.command, retried.settings))}"
