"""Define the command `nightscribe worker`."""

import signal
import sys
from typing import TYPE_CHECKING, Any

import click
import structlog

from nightscribe.cli.options import flag, folders, settings
from nightscribe.shared.settings import load_settings

if TYPE_CHECKING:
    from nightscribe.shared.storage.base import Location

log = structlog.get_logger()


@click.command()
@folders()
@settings(
    "model", "models", "engine", "threads", "batch_size", "queue_name", "interactive", "models_dir", "follow_links"
)
@settings("load_late", "unload_after_s", "log_level", "metrics_port")
@flag("--until-empty", "End when the queue is empty; otherwise wait for more jobs.")
def worker(source: "Location", dest: "Location", until_empty: bool, **given: Any) -> None:
    """Transcribe one job from the queue after another: recordings from SOURCE, transcripts to DEST.

    \b
    Examples:
      AWS_ENDPOINT_URL_SQS=http://localhost:4566 nightscribe worker ~/recordings ~/transcripts --until-empty
      NIGHTSCRIBE_SOURCE=/source NIGHTSCRIBE_DEST=/dest nightscribe worker --model small

    SOURCE and DEST are the director's, under whatever paths this machine sees them. Each job says how to transcribe its
    recordings; --model only says which weights to load at the start. On SIGTERM and Ctrl-C the worker releases its job
    to the queue and ends within ten seconds.
    """
    from nightscribe.cli.observing import observe
    from nightscribe.cli.signals import stop_on_signals
    from nightscribe.cli.watchdog import end_once_silent
    from nightscribe.log import configure_logging
    from nightscribe.services import model_choice, preflight
    from nightscribe.services.work import open_worker
    from nightscribe.shared.telemetry import metrics

    end_once_silent()
    chosen, reason = model_choice.resolved(load_settings(**given))
    if reason:
        click.echo(reason, err=True)
    source.check_source(chosen.storage)
    dest.check_dest(chosen.storage, create=True)
    engine = preflight.check_engine(chosen)
    configure_logging(chosen.log_level)
    observe("worker", chosen, engine, metrics.WORKER)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # there is no job to release yet
    opened = open_worker(source, dest, chosen)
    stop_on_signals(opened)
    log.info("worker.started", worker=opened.name, queue=chosen.queue_name)
    opened.run(until_empty=until_empty)
    log.info("worker.stopped", worker=opened.name)
