"""`nightscribe director`: what is missing is queued for workers elsewhere."""

import click
from rich.console import Console

from nightscribe.director.backlog import Settled
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.services.request import Request, open_queue
from nightscribe.services.run_progress import RunProgress
from nightscribe.services.run_record import RunRecord, beginning, queueing
from nightscribe.shared.model.recording import Unreadable
from nightscribe.views.humanize import count
from nightscribe.views.summary import before, failures


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
        run_progress = RunProgress(request.scan(errors), LengthEstimate())
        said.found(run_progress)
        request.survey(run_progress, errors)
        for event in director.direct(run_progress.scan.missing, rates=run_progress.lengths.rates(), follow=False):
            if isinstance(event, Settled) and isinstance(event.result, Unreadable):
                run_progress.settle(event)
                n_gone += 1
            elif event is None:
                said.tell()
    click.echo(f"Queued {count(run_progress.n_total - n_gone, 'recording')} on {settings.queue_name}.")
    failed = list(failures(run_progress, request.dest))
    for line in [*before(run_progress.scan), *failed]:
        click.echo(line)
    return 1 if failed else 0
