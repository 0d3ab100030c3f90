"""Transcribe everything on this machine: a queue server, worker processes, and a director that follows them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nightscribe.director.enqueue import Director
from nightscribe.director.plan.bundles import job_s, n_jobs
from nightscribe.local.queue_server import local_queue
from nightscribe.local.worker_pool import WorkerPool
from nightscribe.services.events import Began, FetchingWeights, Started, Stopping, Tell, Working, ignore
from nightscribe.services.request import Request, open_queue, scan, survey
from nightscribe.services.run_folder import run_folder
from nightscribe.services.run_progress import FailedRecording, RunProgress
from nightscribe.services.run_record import RunRecord, beginning
from nightscribe.shared.errors import NightscribeError, SetupError
from nightscribe.shared.settings import to_environment
from nightscribe.shared.storage.base import LOGS, Location
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.lease import lease_clock


@dataclass(frozen=True)
class RunResult:
    """What came of a run."""

    progress: RunProgress = field(repr=False)
    engine: str
    elapsed_s: float
    interrupted: bool
    """Whether it was stopped while recordings were left."""
    logs: Path

    @property
    def n_done(self) -> int:
        """Recordings that this run has transcribed."""
        return self.progress.done

    @property
    def n_left(self) -> int:
        """Recordings that it did not come to."""
        return self.progress.n_left

    @property
    def audio_s(self) -> float:
        """Seconds of sound that it has transcribed."""
        return self.progress.done_audio_s

    @property
    def failures(self) -> tuple[FailedRecording, ...]:
        """Recordings without a transcript, those that failed in earlier runs included."""
        return tuple(self.progress.failures)

    @property
    def is_complete(self) -> bool:
        """Whether every recording of the source has its transcript."""
        return not self.interrupted and self.progress.all_done


def run(request: Request, tell: Tell = ignore) -> RunResult:
    """Transcribe all that is missing in DEST and wait for its end; `tell` receives events as the run goes on.

    A KeyboardInterrupt, be it a signal's or raised by `tell`, stops the run in order: workers give back what they are
    doing, and what they had finished counts.

    Raises: NightscribeError: if the run cannot begin or go on. KeyboardInterrupt: if it came before the scan was over.
    """
    engine = request.check(create=True)
    folder = run_folder(request.dest)
    logs = folder / LOGS
    progress, interrupted = None, False
    with _alone(folder / "run.lock", request.dest):
        tell(Began(engine, logs))
        began_s = lease_clock()  # which goes on while a laptop sleeps
        try:
            with RunRecord(request.records, beginning("run", request, engine)) as record:
                request.records.forget_activities()
                progress = scan(request, tell)
                record.found(progress)
                if progress.n_total:
                    survey(request, progress, tell)
                    progress.job_s = job_s(progress.total_s, request.settings.workers)
                    # Once, before the workers start, or each of them would fetch the same.
                    tell(FetchingWeights(request.settings.model))
                    engines.find_weights(engine, request.settings.model, request.settings.models_dir)
                    with local_queue(logs / "queue.log"):
                        _work(request, progress, record, tell, engine=engine, logs=logs)
        except KeyboardInterrupt:
            if progress is None:
                raise
            interrupted = progress.n_left > 0
        return RunResult(progress, engine, lease_clock() - began_s, interrupted, logs)


def _work(request: Request, progress: RunProgress, record: RunRecord, tell: Tell, *, engine: str, logs: Path) -> None:
    settings = request.settings
    director = request.director(open_queue(settings), engine)
    rates = progress.lengths.rates()
    n_workers = n_jobs(progress.scan.missing, rates, progress.job_s, settings.workers)
    record.queues(director, n_workers)
    tell(Started(director.run_id, n_workers))
    with _last_look(director, progress), _pool(request, n_workers, logs) as pool, _end_announced(tell):
        progressed = False
        for event in director.direct(progress.scan.missing, rates=rates, job_s=progress.job_s, follow=True):
            if event is not None:
                progress.count(event)
                progressed = True
                continue
            lack = request.dest.lack_of_room()
            pool.look_after(progressed=progressed, lack=lack)
            progressed = False
            activities = tuple(request.records.activities())
            progress.observe(activities, lease_clock())
            trouble = f"{lack}: make room; what cannot be written is tried again, for an hour at least." if lack else ""
            tell(Working(progress, tuple(pool.names), activities, trouble))
            record.update()


def _pool(request: Request, n_workers: int, logs: Path) -> WorkerPool:
    folders = [str(request.source.absolute()), str(request.dest.absolute())]
    of_workers = request.settings.model_copy(update={"metrics_port": 0})  # they cannot all have the same
    environment = to_environment(of_workers) | {"OMP_NUM_THREADS": str(request.settings.threads)}
    return WorkerPool(n_workers, folders, environment, logs)


@contextmanager
def _end_announced(tell: Tell) -> Iterator[None]:
    try:
        yield
    finally:
        tell(Stopping())


@contextmanager
def _last_look(director: Director, progress: RunProgress) -> Iterator[None]:
    """Count what workers finish between the end of a run that is cut short and their own."""
    try:
        yield
    except (KeyboardInterrupt, NightscribeError):
        for event in director.last_look():
            progress.count(event)
        progress.observe([], lease_clock())
        raise


@contextmanager
def _alone(lock: Path, dest: Location) -> Iterator[None]:
    """Keep a second run on this machine out of the same destination: each has a queue of its own."""
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
