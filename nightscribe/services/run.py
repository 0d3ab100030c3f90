"""Transcribe everything on this machine, with a queue server, worker processes and a director that follows them."""

import fcntl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nightscribe.director.enqueue import Director
from nightscribe.director.plan.bundles import job_s, n_jobs
from nightscribe.local.queue_server import local_queue
from nightscribe.local.worker_pool import WorkerPool
from nightscribe.services import preflight
from nightscribe.services.events import Began, FetchingWeights, OnEvent, Started, Stopping, Working, ignore
from nightscribe.services.forget import forget_old
from nightscribe.services.request import Request, open_queue, scan, survey, with_model
from nightscribe.services.run_folder import run_folder
from nightscribe.services.run_progress import FailedRecording, RunProgress
from nightscribe.services.run_record import RunRecord, beginning
from nightscribe.services.search import update_if_there
from nightscribe.services.table_output import TableOutput, table_kept
from nightscribe.shared.errors import NightscribeError, SetupError
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.speaker_options import needs_models
from nightscribe.shared.settings import to_environment
from nightscribe.shared.storage.base import LOGS, Location
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.lease import lease_clock
from nightscribe.worker.pipeline.diarize.diarizer import Diarizer


@dataclass(frozen=True)
class RunResult:
    """The result of a run."""

    progress: RunProgress = field(repr=False)
    engine: str
    elapsed_s: float
    interrupted: bool
    """True if the run was stopped before all recordings were done."""
    logs: Path

    @property
    def n_done(self) -> int:
        """Return the number of recordings that this run has transcribed."""
        return self.progress.done

    @property
    def n_left(self) -> int:
        """Return the number of recordings that are neither done nor failed."""
        return self.progress.n_left

    @property
    def audio_s(self) -> float:
        """Return the seconds of sound that the run has transcribed."""
        return self.progress.done_audio_s

    @property
    def failures(self) -> tuple[FailedRecording, ...]:
        """Return the recordings without a transcript, including those that failed in earlier runs."""
        return tuple(self.progress.failures)

    @property
    def is_complete(self) -> bool:
        """Return whether every recording in the source has a transcript."""
        return not self.interrupted and self.progress.all_done


def run(request: Request, on_event: OnEvent = ignore) -> RunResult:
    """Transcribe everything that is missing in DEST, and return when it is done; `on_event` receives progress events.

    A KeyboardInterrupt, from a signal or raised by `on_event`, stops the run cleanly: workers release their jobs,
    and finished work is kept.

    Raises: NightscribeError: if the run cannot start or continue. KeyboardInterrupt: if it came before the scan ended.
    """
    request = with_model(request, on_event)
    engine = request.check(create=True)
    folder = run_folder(request.dest)
    logs = folder / LOGS
    progress, interrupted = None, False
    with _alone(folder / "run.lock", request.dest):
        on_event(Began(engine, logs))
        began_s = lease_clock()  # this clock continues while a laptop sleeps
        try:
            with RunRecord(request.records, beginning("run", request, engine)) as record:
                request.records.forget_activities()
                forgotten = _forget_old(request)
                progress = scan(request, on_event)
                progress.forgotten = forgotten
                record.found(progress)
                if progress.n_total:
                    survey(request, progress, on_event)
                    progress.job_s = job_s(progress.total_s, request.settings.workers)
                    # Fetch the weights once, before the workers start; otherwise each would fetch them.
                    on_event(FetchingWeights(request.settings.model))
                    settings = request.settings
                    engines.find_weights(
                        engine, settings.model, settings.models_dir, compute_type=settings.compute_type
                    )
                    preflight.check_engine(request.settings)  # more may be known about a model that was just downloaded
                    if needs_models(request.settings):
                        on_event(FetchingWeights("voices"))
                        Diarizer(request.settings.models_dir)
                    with local_queue(logs / "queue.log"), table_kept(request, progress, on_event) as table:
                        _work(request, progress, record, on_event, table, engine=engine, logs=logs)
                else:
                    with table_kept(request, progress, on_event):
                        pass
        except KeyboardInterrupt:
            if progress is None:
                raise
            interrupted = progress.n_left > 0
        if progress.done or progress.scan.renamed:
            update_if_there(request.dest, request.settings.storage)
        return RunResult(progress, engine, lease_clock() - began_s, interrupted, logs)


def _forget_old(request: Request) -> tuple[str, ...]:
    """Delete the transcripts that are older than the settings allow, and return their recordings."""
    if not request.settings.forget_after_days:
        return ()
    done = forget_old(request.dest, request.settings.forget_after_days, options=request.settings.storage)
    return tuple(each.recording for each in done.recordings)


def _work(
    request: Request,
    progress: RunProgress,
    record: RunRecord,
    on_event: OnEvent,
    table: TableOutput | None,
    *,
    engine: str,
    logs: Path,
) -> None:
    settings = request.settings
    director = request.director(open_queue(settings), engine)
    rates = progress.lengths.rates()
    n_workers = n_jobs(progress.scan.missing, rates, progress.job_s, settings.workers)
    record.queues(director, n_workers)
    on_event(Started(director.run_id, n_workers))
    with _last_look(director, progress), _pool(request, n_workers, logs) as pool, _end_announced(on_event):
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
            on_event(Working(progress, tuple(pool.names), activities, _trouble(lack, progress.activities)))
            record.update()
            if table:
                table.write_if_due(progress)


def _trouble(lack: str | None, activities: Sequence[Activity]) -> str:
    """Return a sentence on what holds up the work: no room in the destination, or workers that rest; else nothing."""
    if lack:
        return f"{lack}: make room; what cannot be written is tried again, for an hour at least."
    reasons = Counter(activity.trouble for activity in activities if activity.trouble)
    if not reasons:
        return ""
    [(reason, n)] = reasons.most_common(1)
    who = "A worker rests and then tries" if n == 1 else f"{n} workers rest and then try"
    return f"{who} again: {reason}"


def _pool(request: Request, n_workers: int, logs: Path) -> WorkerPool:
    folders = [str(request.source.root.absolute()), str(request.dest.absolute())]
    of_workers = request.settings.model_copy(update={"metrics_port": 0})  # they cannot share one port
    environment = to_environment(of_workers) | {"OMP_NUM_THREADS": str(request.settings.threads)}
    return WorkerPool(n_workers, folders, environment, logs)


@contextmanager
def _end_announced(on_event: OnEvent) -> Iterator[None]:
    try:
        yield
    finally:
        on_event(Stopping())


@contextmanager
def _last_look(director: Director, progress: RunProgress) -> Iterator[None]:
    """Count what the workers still finish between an interruption and their end."""
    try:
        yield
    except (KeyboardInterrupt, NightscribeError):
        for event in director.last_look():
            progress.count(event)
        progress.observe([], lease_clock())
        raise


@contextmanager
def _alone(lock: Path, dest: Location) -> Iterator[None]:
    """Refuse a second run on this machine into the same destination, since each run has its own queue."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"Another nightscribe run is using {str(dest)!r}. Wait for it or stop it; "
                "to run several at once, use `director` and `worker` with one queue (docs/reference.md)."
            ) from None
        except OSError:  # a network share that does not support locks
            pass
        yield
