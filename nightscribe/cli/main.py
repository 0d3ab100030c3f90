"""The command line: what each command is called, takes and explains."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from typing import Any, Literal, get_args, get_origin

import click
import structlog
from prometheus_client.registry import Collector

from nightscribe import metrics_server as exposition
from nightscribe.cli.health import health
from nightscribe.cli.signals import interruptible
from nightscribe.cli.watchdog import end_once_silent
from nightscribe.log import configure_logging
from nightscribe.services import preflight
from nightscribe.services import run as local
from nightscribe.services.enqueue import queue_missing
from nightscribe.services.request import Request, open_queue
from nightscribe.services.retry import retry as requeue
from nightscribe.services.watch import keep_watch
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError, SetupError
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.process.identity import process_name
from nightscribe.shared.process.liveness import MAX_AGE_S
from nightscribe.shared.process.scratch import sweep_scratch
from nightscribe.shared.settings import ENV_PREFIX, Settings, load_settings, shown_default
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.registry import parse_location
from nightscribe.shared.telemetry import metrics, tracing
from nightscribe.views.cli_hints import OPTIONS
from nightscribe.views.status_watch import show
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.loop import Worker
from nightscribe.worker.pipeline.models import Models

log = structlog.get_logger()

GIVE_BACK_WITHIN_S = 1.5
STOP_WITHIN_S = 7  # then the process ends in the middle of a window; what it was doing is done again elsewhere


class _Commands(click.Group):
    """Ends with a sentence and exit code 2 where the user can set things right, with 130 where they interrupt."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NightscribeError as error:
            raise _CannotWork(str(error)) from error
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            raise SystemExit(130) from None


class _CannotWork(click.ClickException):
    exit_code = 2


def _setting(name: str, default: str | None = None) -> Callable[[Any], Any]:
    """The command-line option of a setting; its help, variable and (unless another is told) default are its own."""
    field = Settings.model_fields[name]
    kind: dict[str, Any]
    if field.annotation is bool:
        kind = {"is_flag": True, "default": None}  # None: not given, so that the variable counts
    elif get_origin(field.annotation) is Literal:
        kind = {"type": click.Choice(get_args(field.annotation))}
    else:
        kind = {"type": str, "metavar": name.rpartition("_")[2].upper()}
    return click.option(
        "--" + name.replace("_", "-"),
        name,
        help=f"{field.description}  [{ENV_PREFIX}{name.upper()}; default: {default or shown_default(name)}]",
        **kind,
    )


def _settings(*names: str) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for name in reversed(names):
            command = _setting(name)(command)
        return command

    return decorate


def _flag(option: str, meaning: str) -> Callable[[Any], Any]:
    variable = ENV_PREFIX + option.removeprefix("--").replace("-", "_").upper()
    return click.option(option, is_flag=True, envvar=variable, help=f"{meaning}  [{variable}]")


def _folders(*names: str, required: bool) -> Callable[[Any], Any]:
    """SOURCE and DEST, each a folder or a bucket, as arguments or as variables."""

    def decorate(command: Any) -> Any:
        for name in reversed(names or ("source", "dest")):
            command = click.argument(
                name, type=parse_location, envvar=f"{ENV_PREFIX}{name.upper()}", required=required
            )(command)
        return command

    return decorate


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nightscribe")
def cli() -> None:
    """Turn a folder of recordings into a folder of transcripts, overnight.

    \b
    Everything on this machine:
      nightscribe run ~/recordings ~/transcripts

    \b
    With a queue of your own and as many workers as you like:
      nightscribe director ~/recordings ~/transcripts
      nightscribe worker ~/recordings ~/transcripts

    \b
    A director that stays for what arrives, and buckets in place of folders:
      nightscribe director ~/recordings s3://transcripts/2012 --watch

    Interrupt it at any time and run it again: it goes on where it stopped.
    """
    configure_logging("warning")


@cli.command()
@_folders(required=True)
@_settings(*OPTIONS["run"])
@_flag("--dry-run", "Only say what would be done, and how long it will roughly take.")
@_flag("--redo", "Transcribe finished recordings again.")
@_flag("--retry-failed", "Try recordings again that failed in an earlier run.")
def run(source: Location, dest: Location, dry_run: bool, redo: bool, retry_failed: bool, **given: Any) -> None:
    """Transcribe everything in SOURCE into DEST on this machine, and end when it is done.

    \b
    Examples:
      nightscribe run ~/recordings ~/transcripts
      nightscribe run ~/recordings ~/transcripts --dry-run
      nightscribe run ~/interviews ~/interviews --model small --language en
      nightscribe run calls text --formats txt,json --retry-failed
      nightscribe run s3://interviews/2012 s3://texts

    Each is a folder or a bucket. Folders below SOURCE are mirrored in DEST, which may lie in SOURCE or be SOURCE
    itself. What has its transcript already is left alone. Exit code: 0 all done, 1 some recordings failed, 2 wrong
    use, 130 interrupted.
    """
    request = Request(source, dest, load_settings(**given), redo=redo, retry_failed=retry_failed)
    _trace("director")
    if not dry_run:
        raise SystemExit(local.run(request))
    with interruptible():
        raise SystemExit(local.dry_run(request))


@cli.command()
@_folders(required=True)
@_settings(*OPTIONS["director"], "log_level", "metrics_port")
@_flag("--watch", "Stay, and queue recordings that arrive, too.")
@_flag("--redo", "Queue finished recordings too.")
@_flag("--retry-failed", "Queue recordings again that failed in an earlier run.")
@_flag("--check", "Only see that SOURCE, DEST, the options and the queue are right.")
def director(
    source: Location, dest: Location, *, watch: bool, redo: bool, retry_failed: bool, check: bool, **given: Any
) -> None:
    """Compare SOURCE with DEST and queue what is missing, for workers elsewhere to do.

    \b
    Examples (any SQS server; the AWS_* variables are boto3's own):
      AWS_ENDPOINT_URL_SQS=http://localhost:4566 nightscribe director ~/recordings ~/transcripts
      AWS_PROFILE=me nightscribe director /mnt/recordings /mnt/transcripts --model small
      AWS_PROFILE=me nightscribe director /mnt/recordings /mnt/transcripts --watch

    The queue and its dead-letter queue are created if missing. Only `window` jobs are kept on the queue at a time, so
    the director stays until the last one is queued. With --watch it stays until SIGTERM (exit code 0) or Ctrl-C (130):
    a recording that arrives is queued once it has stopped growing, what a lost queue held is queued again, and what
    `retry` puts back is too. Exit code without it: 0, or 1 if recordings failed in an earlier run.
    """
    end_once_silent()
    settings = load_settings(**given)
    if watch and redo:
        raise SetupError("--watch takes up what is missing, and --redo what is finished: give one of them at a time.")
    source.check_source(settings.storage)
    dest.check_dest(settings.storage, create=True)
    preflight.check_options(settings)
    if check:
        open_queue(settings)
        click.echo("Source, destination, options and queue are right.")
        return
    configure_logging(settings.log_level)
    _observe("director", settings, settings.engine, metrics.DIRECTOR)
    request = Request(source, dest, settings, redo=redo, retry_failed=retry_failed)
    if watch:
        raise SystemExit(keep_watch(request))
    with interruptible():  # as the first process of a container, it would not hear of a SIGTERM otherwise
        raise SystemExit(queue_missing(request))


@cli.command()
@_folders(required=True)
@_settings("model", "engine", "threads", "batch_size", "queue_name", "models_dir", "follow_links")
@_settings("log_level", "metrics_port")
@_flag("--until-empty", "End when nothing is left on the queue; otherwise wait for more.")
def worker(source: Location, dest: Location, until_empty: bool, **given: Any) -> None:
    """Do one job from the queue after the other: recordings from SOURCE, transcripts to DEST.

    \b
    Examples:
      AWS_ENDPOINT_URL_SQS=http://localhost:4566 nightscribe worker ~/recordings ~/transcripts --until-empty
      NIGHTSCRIBE_SOURCE=/source NIGHTSCRIBE_DEST=/dest nightscribe worker --model small

    SOURCE and DEST are the director's, under whatever paths this machine sees them. How a recording is transcribed
    stands in its job; --model only says which weights to load at the start. SIGTERM and Ctrl-C give the job in hand
    back to the queue and end within ten seconds.
    """
    end_once_silent()
    settings = load_settings(**given)
    source.check_source(settings.storage)
    dest.check_dest(settings.storage, create=True)
    engine = preflight.check_engine(settings)
    configure_logging(settings.log_level)
    _observe("worker", settings, engine, metrics.WORKER)
    queue = open_queue(settings, creates_on_aws=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # there is nothing to give back yet
    sweep_scratch()
    # The model is loaded only now: it takes seconds and memory, in vain if there is no queue.
    models = Models(settings.models_dir, threads=settings.threads, batch_size=settings.batch_size)
    models.transcriber(Options(engine=settings.engine, model=settings.model))
    made = Worker(
        name=process_name(os.getpid()),
        queue=queue,
        source=source.open_source(settings.storage, leave_out=dest),
        records=Records(dest.open_store(settings.storage)),
        transcriber_for=models.transcriber,
        settings=settings,
    )
    _stop_on_signals(made)
    log.info("worker.started", worker=made.name, queue=settings.queue_name)
    made.run(until_empty=until_empty)
    log.info("worker.stopped", worker=made.name)


def _observe(role: str, settings: Settings, engine: str, collectors: Iterable[Collector]) -> None:
    """Serve metrics and send traces until the command ends, each if it is asked for."""
    exposition.serve(settings, collectors, process=process_name(os.getpid()), engine=engine)
    _trace(role)


def _trace(role: str) -> None:
    click.get_current_context().with_resource(tracing.exported(f"nightscribe-{role}", process_name(os.getpid())))


def _stop_on_signals(made: Worker) -> None:
    """Ask the worker to stop; if it is still busy after `STOP_WITHIN_S`, give its job back and end the process."""

    def end() -> None:
        giving_back = threading.Thread(target=made.abandon, daemon=True)
        giving_back.start()
        giving_back.join(GIVE_BACK_WITHIN_S)
        log.info("worker.stopped", worker=made.name, why="busy for too long after a signal")
        os._exit(0)

    def stop(_number: int, _frame: object) -> None:
        if not made.stop.is_set():
            made.stop.set()
            timer = threading.Timer(STOP_WITHIN_S, end)
            timer.daemon = True
            timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


@cli.command()
@_folders("dest", required=True)
@_setting("queue_name", default="that of the last director")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until the run has ended or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --watch, one on each line.")
def status(dest: Location, watch: bool, as_json: bool, **given: Any) -> None:
    """Show how things stand in DEST: what is queued, in progress, failed and done, and the time left.

    \b
    Examples:
      nightscribe status ~/transcripts
      nightscribe status ~/transcripts --watch
      nightscribe status ~/transcripts --json

    Nothing is received from the queue for that. Which recordings are queued is shown by the server of `run`, by
    ministack and by LocalStack; Amazon's tells only how many jobs there are. --watch stays until a `run` that is at
    work has ended; with workers elsewhere, until Ctrl-C. Exit code: 0, 1 if recordings failed, 2 if DEST is no
    destination.
    """
    settings = load_settings(**given)
    dest.check_records(settings.storage)
    raise SystemExit(show(dest, settings, watch=watch, as_json=as_json))


@cli.command()
@_folders("dest", required=True)
@_setting("queue_name", default="that of the last director")
@click.option(
    "--name", "names", multiple=True, metavar="GLOB", help="Only recordings of such paths, or with this in it."
)
@click.option(
    "--reason", "reasons", multiple=True, metavar="TEXT", help="Only those that failed for a reason with this in it."
)
@click.option("--dry-run", is_flag=True, help="Only list what would be put back.")
def retry(dest: Location, names: tuple[str, ...], reasons: tuple[str, ...], dry_run: bool, **given: Any) -> None:
    """Put recordings back that failed in DEST, so that they are tried again.

    \b
    Examples:
      nightscribe retry ~/transcripts
      nightscribe retry ~/transcripts --name '2012/*' --name interview
      nightscribe retry ~/transcripts --reason memory --dry-run

    Capitals do not matter. Of several names, one must fit, and so of several reasons. After a `run`, type the command
    that is told; after a `director`, they are queued at once if its source is seen from here. Exit code: 0, or 2 if
    DEST is no destination.
    """
    dest.check_records(load_settings(**given).storage)
    raise SystemExit(requeue(dest, names, reasons, dry_run=dry_run, **given))


@cli.command(name="health")
@click.option("--within", "max_age_s", type=float, default=MAX_AGE_S, show_default=True, help="Seconds.")
def tell_health(max_age_s: float) -> None:
    """Say whether the director or worker of this container has shown a sign of life lately.

    \b
    Examples:
      NIGHTSCRIBE_PULSE=/tmp/pulse nightscribe health --within 60
      docker exec CONTAINER nightscribe health

    They touch the file that NIGHTSCRIBE_PULSE names as their work goes on; the images name one. Exit code: 0, or 1
    where there was none.
    """
    raise SystemExit(health(max_age_s))


@cli.group()
def models() -> None:
    """Weights of speech models on this machine.

    \b
    Example:
      nightscribe models pull base
    """


@models.command()
@click.argument("name")
@_settings("engine", "models_dir")
def pull(name: str, **given: Any) -> None:
    """Fetch the weights of the model NAME ahead of time, for instance while an image is built.

    \b
    Examples:
      nightscribe models pull base
      nightscribe models pull tiny.en --engine openai-whisper
    """
    settings = load_settings(model=name, **given)
    engine = preflight.check_engine(settings)
    found = engines.find_weights(engine, name, settings.models_dir)
    click.echo(f"{name} for {engine}: {found.path} (from: {found.route})")


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # names of folders may hold bytes that are no text
    cli(prog_name="nightscribe")
