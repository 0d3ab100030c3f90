"""`nightscribe director`."""

import signal
from typing import TYPE_CHECKING, Any

import click

from nightscribe.cli.options import flag, folders, settings
from nightscribe.services.requested_settings import OPTIONS
from nightscribe.shared.errors import SetupError
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.services.request import Request
    from nightscribe.shared.storage.base import Location


@click.command()
@folders()
@settings(*OPTIONS["director"], "log_level", "metrics_port")
@flag("--watch", "Stay, and queue recordings that arrive, too.")
@flag("--redo", "Queue finished recordings too.")
@flag("--retry-failed", "Queue recordings again that failed in an earlier run.")
@flag("--check", "Only check that SOURCE, DEST, the options and the queue are right.")
def director(
    source: "Location", dest: "Location", *, watch: bool, redo: bool, retry_failed: bool, check: bool, **given: Any
) -> None:
    """Compare SOURCE with DEST and queue what is missing, for workers elsewhere to do.

    \b
    Examples (any SQS server; the AWS_* variables are boto3's own):
      AWS_ENDPOINT_URL_SQS=http://localhost:4566 nightscribe director ~/recordings ~/transcripts
      AWS_PROFILE=me nightscribe director /mnt/recordings /mnt/transcripts --model small
      AWS_PROFILE=me nightscribe director /mnt/recordings /mnt/transcripts --watch

    The queue and its dead-letter queue are created if missing. No more than --max-queued-jobs are kept on the queue, so
    the director stays until the last one is queued. With --watch it stays until SIGTERM (exit code 0) or Ctrl-C (130):
    a recording that arrives is queued once it has stopped growing, jobs that a lost queue held are queued again, and
    so is what `retry` lets be tried again. Exit code without it: 0, or 1 if recordings failed in an earlier run.
    """
    from nightscribe.cli.observing import observe
    from nightscribe.cli.watchdog import end_once_silent
    from nightscribe.log import configure_logging
    from nightscribe.services import preflight
    from nightscribe.services.request import Request, open_queue
    from nightscribe.shared.telemetry import metrics

    end_once_silent()
    chosen = load_settings(**given)
    if watch and redo:
        raise SetupError("--watch takes up what is missing, and --redo what is finished: give one of them at a time.")
    source.check_source(chosen.storage)
    dest.check_dest(chosen.storage, create=True)
    preflight.check_options(chosen)
    if check:
        open_queue(chosen)
        click.echo("Source, destination, options and queue are right.")
        return
    configure_logging(chosen.log_level)
    observe("director", chosen, chosen.engine, metrics.DIRECTOR)
    request = Request(source, dest, chosen, redo=redo, retry_failed=retry_failed)
    raise SystemExit(_watch(request) if watch else _enqueue(request))


def _enqueue(request: "Request") -> int:
    from nightscribe.cli.signals import interruptible
    from nightscribe.services.enqueue import enqueue
    from nightscribe.views.enqueue import lines
    from nightscribe.views.progress import Display

    # As the first process of a container, it would not hear of a SIGTERM otherwise.
    with interruptible(), Display(request) as display:
        enqueued = enqueue(request, display.show)
    for line in lines(enqueued, request.dest):
        click.echo(line)
    return 0 if enqueued.progress.all_done else 1


def _watch(request: "Request") -> int:
    from nightscribe.cli.signals import interruptible
    from nightscribe.services.events import Event
    from nightscribe.services.watch import watch
    from nightscribe.views.watch import left, watch_display

    heading = f"Watching {request.source} for {request.dest} (Ctrl-C ends it)"
    with interruptible() as interruption:
        with watch_display(request.settings.log_level, heading) as show:

            def tell(event: Event) -> None:
                interruption.check()
                show(event)

            watched = watch(request, tell)
        click.echo(f"Stopped watching. {left(watched)}")
    return 0 if interruption.number == signal.SIGTERM else 130
