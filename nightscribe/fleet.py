"""`nightscribe director`: what is missing is queued for workers elsewhere."""

import click
from rich.console import Console

from director.backlog import Settled
from director.estimate import LengthEstimate
from nightscribe.request import Request, open_queue
from nightscribe.run_record import RunRecord, beginning, queueing
from nightscribe.summary import before, failures
from nightscribe.tally import Tally
from nightscribe.words import count
from shared.sources import Unreadable


def queue_missing(request: Request, *, letters: bool = True) -> int:
    """Queue all that is missing, and say what came of it; with `letters`, what was set aside is no longer missing.

    Gives the exit code.
    """
    settings = request.settings
    director = request.director(open_queue(settings), settings.engine)
    if letters:
        director.record_dead_letters()
    errors = Console(stderr=True)
    n_gone = 0
    with RunRecord(request.records, queueing(beginning("director", request, settings.engine), director)) as said:
        tally = Tally(request.scan(errors), LengthEstimate())
        said.found(tally)
        request.survey(tally, errors)
        for event in director.direct(tally.scan.missing, rates=tally.lengths.rates(), follow=False):
            if isinstance(event, Settled) and isinstance(event.result, Unreadable):
                tally.settle(event)
                n_gone += 1
            elif event is None:
                said.tell()
    click.echo(f"Queued {count(tally.n_total - n_gone, 'recording')} on {settings.queue_name}.")
    failed = list(failures(tally, request.dest))
    for line in [*before(tally.scan), *failed]:
        click.echo(line)
    return 1 if failed else 0
