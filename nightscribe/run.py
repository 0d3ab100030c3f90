"""`nightscribe run`: everything on this machine until all is done."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from director.backlog import Growing, PartStored, Settled
from director.director import Director
from director.estimate import LengthEstimate, typical_speed
from director.plan import job_s, n_jobs
from director.scan import Scan
from nightscribe import preflight
from nightscribe.interruption import Interruption, interruptible
from nightscribe.local_queue import local_queue
from nightscribe.pool import WorkerPool
from nightscribe.progress import view
from nightscribe.report.night import Night
from nightscribe.request import Request, open_queue
from nightscribe.run_record import RunRecord, beginning
from nightscribe.summary import all_done, before, failures, summary
from nightscribe.tally import Tally
from nightscribe.words import count, duration
from shared.errors import NightscribeError, SetupError
from shared.log import configure_logging
from shared.places import Place
from shared.settings import Settings, to_environment
from worker import engines
from worker.lease import lease_clock
from worker.weights.resolver import resolve

SAMPLE_FOR_DRY_RUN = 400
LISTED = 10


def run(request: Request) -> int:
    """Do all that is missing in DEST, and say on standard output what came of it. Gives the exit code."""
    settings, dest = request.settings, request.dest
    engine = _check(request, create=True)
    night = Night(request.source, dest, settings, engine, redo=request.redo)
    folder = preflight.folder_of_run(dest)
    logs = folder / preflight.LOGS
    tally, interrupted = None, False
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
                tally = Tally(request.scan(errors), LengthEstimate())
                said_of.found(tally)
                if tally.n_total:
                    request.survey(tally, errors)
                    tally.job_s = job_s(tally.total_s, settings.workers)
                    _fetch_weights(settings, engine, errors)
                    with local_queue(logs / "queue.log"):
                        _work(request, tally, night, logs, said=said_of, interruption=interruption)
        except KeyboardInterrupt:
            interrupted = tally is None or tally.n_left > 0
        except NightscribeError as error:
            if tally and night.run_id:
                night.write_report(tally, stopped=str(error))
            raise
        if tally is None:
            print("Interrupted before any work was begun.")
            return 130
        for line in summary(
            tally,
            elapsed_s=night.elapsed_s,
            dest=dest,
            formats=settings.formats,
            interrupted=interrupted,
            redo=request.redo,
        ):
            print(line)
        if said := night.write_report(tally, interrupted=interrupted):
            print(said)
        if not isinstance(dest, Path):
            print(f"Logs of this machine: {logs}")
    if interrupted:
        return 130
    return 0 if all_done(tally) else 1


def dry_run(request: Request) -> int:
    """Say what `run` would do, and change nothing. Gives the exit code."""
    settings = request.settings
    engine = _check(request, create=False)
    errors = Console(stderr=True)
    scan = request.scan(errors, dry_run=True)
    tally = Tally(scan, LengthEstimate())
    request.survey(tally, errors, at_most=SAMPLE_FOR_DRY_RUN)
    if scan.missing:
        total_s = tally.total_s or 0.0
        speed = _expected_speed(scan, settings, engine)
        print(
            f"Would transcribe {count(tally.n_total, 'recording')}, about {duration(total_s)} of sound, in "
            f"{_roughly(total_s / speed)} ({settings.model}, {engine}, {count(settings.workers, 'worker')})."
        )
        for path, length_s in tally.longest(LISTED):
            print(f"  {path}" + (f" (about {duration(length_s)})" if length_s else ""))
        if tally.n_total > LISTED:
            print(f"  … and {tally.n_total - LISTED:,} more")
    else:
        print("Nothing to transcribe.")
    for line in [*before(scan, dry_run=True), *failures(tally, request.dest)]:
        print(line)
    return 0


def _check(request: Request, *, create: bool) -> str:
    preflight.check_source(request.source, request.settings)
    preflight.check_options(request.settings)
    engine = preflight.check_engine(request.settings)
    preflight.check_dest(request.dest, request.settings, create=create)
    return engine


def _fetch_weights(settings: Settings, engine: str, console: Console) -> None:
    """Once, before the workers start, or each of them would fetch the same."""
    with console.status(f"Getting the weights of {settings.model} …"):
        resolve(settings.model, engines.layout(engine), settings.models_dir)


def _work(
    request: Request, tally: Tally, night: Night, logs: Path, *, said: RunRecord, interruption: Interruption
) -> None:
    settings, source, dest, engine = request.settings, request.source, request.dest, night.engine
    queue = open_queue(settings)
    rates = tally.lengths.rates()
    n_workers = n_jobs(tally.scan.missing, rates, tally.job_s, settings.workers)
    heading = f"nightscribe: {settings.model} on {engine}, {count(n_workers, 'worker')}, {source} → {dest}"
    of_workers = settings.model_copy(update={"metrics_port": 0})  # they cannot all have the same
    environment = to_environment(of_workers) | {"OMP_NUM_THREADS": str(settings.threads)}
    director = request.director(queue, engine)
    night.run_id = director.run_id
    said.queues(director, n_workers)
    progressed = False
    with (
        _looked_at_once_more(director, tally),
        WorkerPool(n_workers, [str(source.absolute()), str(dest.absolute())], environment, logs) as pool,
        view(Console(stderr=True), heading) as shown,
    ):
        for event in director.direct(tally.scan.missing, rates=rates, job_s=tally.job_s, follow=True):
            if event is not None:
                _count(tally, event)
                progressed = True
                continue
            interruption.check()
            lack = preflight.lack_of_room(dest)
            pool.look_after(progressed=progressed, lack=lack)
            progressed = False
            activities = list(request.records.activities())
            tally.observe(activities, lease_clock())
            night.observe(pool.names, activities, tally.heard_s)
            shown.show(tally, f"{lack}: make room; what cannot be written is tried three times." if lack else "")
            said.tell()


@contextmanager
def _looked_at_once_more(director: Director, tally: Tally) -> Iterator[None]:
    """What workers finish between the end of a run that is cut short and their own counts as well."""
    try:
        yield
    except (KeyboardInterrupt, NightscribeError):
        for event in director.last_look():
            _count(tally, event)
        tally.observe([], lease_clock())
        raise


def _count(tally: Tally, event: Settled | PartStored | Growing) -> None:
    match event:
        case Settled():
            tally.settle(event)
        case PartStored():
            tally.store_part(event)


def _expected_speed(scan: Scan, settings: Settings, engine: str) -> float:
    """Seconds of sound a second, all workers together: as in earlier runs into this destination, or else typically."""
    if scan.finished_processing_s:
        return settings.workers * scan.finished_audio_s / scan.finished_processing_s
    return settings.workers * typical_speed(engine, settings.model)


def _roughly(seconds: float) -> str:
    """A forecast, no more exact than it can be: loading a model takes some seconds as well."""
    return "less than a minute" if seconds < 45 else f"roughly {duration(60 * max(1, round(seconds / 60)))}"


@contextmanager
def _alone(lock: Path, dest: Place) -> Iterator[None]:
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
