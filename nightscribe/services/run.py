"""`nightscribe run`: everything on this machine until all is done."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from nightscribe.cli.signals import Interruption, interruptible
from nightscribe.director.backlog import Growing, PartStored, Settled
from nightscribe.director.enqueue import Director
from nightscribe.director.plan.bundles import job_s, n_jobs
from nightscribe.director.plan.estimate import LengthEstimate, typical_speed
from nightscribe.director.scan.scanner import Scan
from nightscribe.local.queue_server import local_queue
from nightscribe.local.worker_pool import WorkerPool
from nightscribe.log import configure_logging
from nightscribe.report.run_report import RunReport
from nightscribe.services import preflight
from nightscribe.services.request import Request, open_queue
from nightscribe.services.run_folder import run_folder
from nightscribe.services.run_progress import RunProgress
from nightscribe.services.run_record import RunRecord, beginning
from nightscribe.shared.errors import NightscribeError, SetupError
from nightscribe.shared.settings import Settings, to_environment
from nightscribe.shared.storage.base import LOGS, Location
from nightscribe.views.humanize import count, duration
from nightscribe.views.progress import view
from nightscribe.views.summary import all_done, before, failures, summary
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.lease import lease_clock

SAMPLE_FOR_DRY_RUN = 400
LISTED = 10


def run(request: Request) -> int:
    """Do all that is missing in DEST, and say on standard output what came of it. Gives the exit code."""
    settings, dest = request.settings, request.dest
    engine = _check(request, create=True)
    run_report = RunReport(request.source, dest, settings, engine, redo=request.redo)
    folder = run_folder(dest)
    logs = folder / LOGS
    run_progress, interrupted = None, False
    with (
        _alone(folder / "run.lock", dest),
        (logs / "run.log").open("w", errors="backslashreplace") as log_file,
        interruptible() as interruption,
    ):
        # What is for people goes to the terminal; the events of the night go to a file.
        configure_logging(settings.log_level, log_file)
        errors = Console(stderr=True)
        try:
            with RunRecord(request.records, beginning("run", request, engine)) as said_of:
                request.records.forget_activities()
                run_progress = RunProgress(request.scan(errors), LengthEstimate())
                said_of.found(run_progress)
                if run_progress.n_total:
                    request.survey(run_progress, errors)
                    run_progress.job_s = job_s(run_progress.total_s, settings.workers)
                    _fetch_weights(settings, engine, errors)
                    with local_queue(logs / "queue.log"):
                        _work(request, run_progress, run_report, logs, said=said_of, interruption=interruption)
        except KeyboardInterrupt:
            interrupted = run_progress is None or run_progress.n_left > 0
        except NightscribeError as error:
            if run_progress and run_report.run_id:
                run_report.write_report(run_progress, stopped=str(error))
            raise
        if run_progress is None:
            print("Interrupted before any work was begun.")
            return 130
        for line in summary(
            run_progress,
            elapsed_s=run_report.elapsed_s,
            dest=dest,
            formats=settings.formats,
            interrupted=interrupted,
            redo=request.redo,
        ):
            print(line)
        if said := run_report.write_report(run_progress, interrupted=interrupted):
            print(said)
        if dest.local_path is None:
            print(f"Logs of this machine: {logs}")
    if interrupted:
        return 130
    return 0 if all_done(run_progress) else 1


def dry_run(request: Request) -> int:
    """Say what `run` would do, and change nothing. Gives the exit code."""
    settings = request.settings
    engine = _check(request, create=False)
    errors = Console(stderr=True)
    scan = request.scan(errors, dry_run=True)
    run_progress = RunProgress(scan, LengthEstimate())
    request.survey(run_progress, errors, at_most=SAMPLE_FOR_DRY_RUN)
    if scan.missing:
        total_s = run_progress.total_s or 0.0
        speed = _expected_speed(scan, settings, engine)
        print(
            f"Would transcribe {count(run_progress.n_total, 'recording')}, about {duration(total_s)} of sound, in "
            f"{_roughly(total_s / speed)} ({settings.model}, {engine}, {count(settings.workers, 'worker')})."
        )
        for path, length_s in run_progress.longest(LISTED):
            print(f"  {path}" + (f" (about {duration(length_s)})" if length_s else ""))
        if run_progress.n_total > LISTED:
            print(f"  … and {run_progress.n_total - LISTED:,} more")
    else:
        print("Nothing to transcribe.")
    for line in [*before(scan, dry_run=True), *failures(run_progress, request.dest)]:
        print(line)
    return 0


def _check(request: Request, *, create: bool) -> str:
    request.source.check_source(request.settings.storage)
    preflight.check_options(request.settings)
    engine = preflight.check_engine(request.settings)
    request.dest.check_dest(request.settings.storage, create=create)
    return engine


def _fetch_weights(settings: Settings, engine: str, console: Console) -> None:
    """Once, before the workers start, or each of them would fetch the same."""
    with console.status(f"Getting the weights of {settings.model} …"):
        engines.find_weights(engine, settings.model, settings.models_dir)


def _work(
    request: Request,
    run_progress: RunProgress,
    run_report: RunReport,
    logs: Path,
    *,
    said: RunRecord,
    interruption: Interruption,
) -> None:
    settings, source, dest, engine = request.settings, request.source, request.dest, run_report.engine
    queue = open_queue(settings)
    rates = run_progress.lengths.rates()
    n_workers = n_jobs(run_progress.scan.missing, rates, run_progress.job_s, settings.workers)
    heading = f"nightscribe: {settings.model} on {engine}, {count(n_workers, 'worker')}, {source} → {dest}"
    of_workers = settings.model_copy(update={"metrics_port": 0})  # they cannot all have the same
    environment = to_environment(of_workers) | {"OMP_NUM_THREADS": str(settings.threads)}
    director = request.director(queue, engine)
    run_report.run_id = director.run_id
    said.queues(director, n_workers)
    progressed = False
    with (
        _looked_at_once_more(director, run_progress),
        WorkerPool(n_workers, [str(source.absolute()), str(dest.absolute())], environment, logs) as pool,
        view(Console(stderr=True), heading) as shown,
    ):
        for event in director.direct(run_progress.scan.missing, rates=rates, job_s=run_progress.job_s, follow=True):
            if event is not None:
                _count(run_progress, event)
                progressed = True
                continue
            interruption.check()
            lack = dest.lack_of_room()
            pool.look_after(progressed=progressed, lack=lack)
            progressed = False
            activities = list(request.records.activities())
            run_progress.observe(activities, lease_clock())
            run_report.observe(pool.names, activities, run_progress.heard_s)
            shown.show(run_progress, f"{lack}: make room; what cannot be written is tried three times." if lack else "")
            said.tell()


@contextmanager
def _looked_at_once_more(director: Director, run_progress: RunProgress) -> Iterator[None]:
    """What workers finish between the end of a run that is cut short and their own counts as well."""
    try:
        yield
    except (KeyboardInterrupt, NightscribeError):
        for event in director.last_look():
            _count(run_progress, event)
        run_progress.observe([], lease_clock())
        raise


def _count(run_progress: RunProgress, event: Settled | PartStored | Growing) -> None:
    match event:
        case Settled():
            run_progress.settle(event)
        case PartStored():
            run_progress.store_part(event)


def _expected_speed(scan: Scan, settings: Settings, engine: str) -> float:
    """Seconds of sound a second, all workers together: as in earlier runs into this destination, or else typically."""
    if scan.finished_processing_s:
        return settings.workers * scan.finished_audio_s / scan.finished_processing_s
    return settings.workers * typical_speed(engine, settings.model)


def _roughly(seconds: float) -> str:
    """A forecast, no more exact than it can be: loading a model takes some seconds as well."""
    return "less than a minute" if seconds < 45 else f"roughly {duration(60 * max(1, round(seconds / 60)))}"


@contextmanager
def _alone(lock: Path, dest: Location) -> Iterator[None]:
    """Keep a second run on this machine from working into the same destination: each has a queue of its own."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"Another nightscribe run is at work on {str(dest)!r}. Wait for it or stop it; "
                "to work with several at once, use `director` and `worker` with one queue (README)."
            ) from None
        except OSError:  # a share that knows no locks
            pass
        yield
