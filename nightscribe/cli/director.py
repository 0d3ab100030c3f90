"""Define the command `nightscribe director`."""

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
@flag("--watch", "Stay, and also queue recordings that arrive later.")
@flag("--redo", "Also queue finished recordings.")
@flag("--retry-failed", "Also queue recordings that failed in an earlier run.")
@flag("--check", "Only check that SOURCE, DEST, the options and the queue are valid.")
def director(
    source: "Location", dest: "Location", *, watch: bool, redo: bool, retry_failed: bool, check: bool, **given: Any
) -> None:
    """Compare SOURCE with DEST and queue what is missing, for workers on any machine.

    \b
    Examples (any SQS server; the AWS_* variables are boto3's own):
      AWS_ENDPOINT_URL_SQS=http://localhost:4566 nightscribe director ~/recordings ~/transcripts
      AWS_PROFILE=me nightscribe director /mnt/recordings /mnt/transcripts --model small
      AWS_PROFILE=me nightscribe director /mnt/recordings /mnt/transcripts --watch

    The director creates the queue and its dead-letter queue if they do not exist. It keeps at most --max-queued-jobs on
    the queue, and ends once the last job is queued. With --watch it stays until SIGTERM (exit code 0) or Ctrl-C (130):
    it queues a new recording once it has stopped growing, and queues again what a lost queue held and what `retry`
    releases. Exit code without --watch: 0, or 1 if recordings failed in an earlier run.
    """
    from nightscribe.cli.observing import observe
    from nightscribe.cli.watchdog import end_once_silent
    from nightscribe.log import configure_logging
    from nightscribe.services import model_choice, preflight
    from nightscribe.services.request import Request, open_queue
    from nightscribe.shared.telemetry import metrics

    end_once_silent()
    chosen, reason = model_choice.resolved(load_settings(**given))
    if reason:
        click.echo(reason, err=True)
    if watch and redo:
        raise SetupError("--watch queues what is missing, and --redo what is finished: give only one of them.")
    source.check_source(chosen.storage)
    dest.check_dest(chosen.storage, create=True)
    preflight.check_options(chosen)
    if check:
        open_queue(chosen)
        click.echo("Source, destination, options and queue are valid.")
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

    # As the first process of a container, it would otherwise ignore SIGTERM.
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

    heading = f"Watching {request.source} for {request.dest} (Ctrl-C to stop)"
    with interruptible() as interruption:
        with watch_display(request.settings.log_level, heading) as show:

            def on_event(event: Event) -> None:
                interruption.check()
                show(event)

            watched = watch(request, on_event)
        click.echo(f"Stopped watching. {left(watched)}")
    return 0 if interruption.number == signal.SIGTERM else 130
