"""`nightscribe run`: everything on this machine until all is done."""

import fcntl
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType

from rich.console import Console

from director.backlog import Missing, PartStored, Settled
from director.director import Director
from director.estimate import LengthEstimate, sample, typical_speed
from director.plan import job_s, n_jobs
from director.scan import Scan, Scanner
from nightscribe import preflight
from nightscribe.account import account, beginning
from nightscribe.local_queue import local_queue
from nightscribe.night import Night
from nightscribe.pool import WorkerPool
from nightscribe.progress import view
from nightscribe.summary import all_done, before, failures, summary
from nightscribe.tally import Tally
from nightscribe.words import count, duration
from shared.errors import NightscribeError, SetupError
from shared.jobs import RECORDS_FOLDER, Layout, Options
from shared.log import configure_logging
from shared.media import probe
from shared.queue import JobQueue, connect
from shared.records import Records
from shared.settings import Settings, to_environment
from shared.sources import FolderSource
from shared.store import FolderStore
from shared.transcript import Provenance
from worker import engines
from worker.weights.resolver import resolve

SAMPLE = 32  # looking into a file takes time before the first job is sent
SAMPLE_FOR_DRY_RUN = 400
PROBES_AT_ONCE = 4
LISTED = 10


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    source: Path
    dest: Path
    settings: Settings
    redo: bool = False
    retry_failed: bool = False

    @cached_property
    def recordings(self) -> FolderSource:
        """The source, without the destination if that lies in it."""
        return FolderSource(self.source, leave_out=self.dest, follow_links=self.settings.follow_links)

    @cached_property
    def records(self) -> Records:
        """What the destination knows."""
        return Records(FolderStore(self.dest))

    def scan(self, console: Console, *, dry_run: bool = False) -> Scan:
        """Look for what is missing, and show how many files were seen so far."""
        scanner = Scanner(
            source=self.recordings,
            records=self.records,
            formats=self.settings.formats,
            settle_s=self.settings.settle_s,
            layout=self.layout,
            redo=self.redo,
            retry_failed=self.retry_failed,
            dry_run=dry_run,
            is_current=self._is_current,
        )
        with console.status("Looking for recordings …") as status:
            return scanner.scan(lambda n: status.update(f"Looking for recordings … {count(n, 'file')} seen"))

    def survey(self, tally: Tally, console: Console, *, at_most: int = SAMPLE) -> None:
        """Look into some of the missing recordings, from which the length of the others follows."""
        chosen = sample(tally.scan.missing, at_most)
        with console.status("") as status, ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
            try:
                for number, (missing, seconds) in enumerate(
                    zip(chosen, pool.map(self._length_s, chosen), strict=True), 1
                ):
                    status.update(f"Looking into {number:,} of {count(len(chosen), 'recording')} …")
                    if seconds is not None:
                        tally.foresee(missing.recording, seconds)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _length_s(self, missing: Missing) -> float | None:
        with suppress(NightscribeError, OSError), self.recordings.local(missing.recording.path) as path:
            return probe(path).duration_s
        return None

    @property
    def layout(self) -> Layout:
        """How texts are to look."""
        settings = self.settings
        return Layout(line_chars=settings.line_chars, lines=settings.lines, words=settings.word_timestamps)

    def director(self, queue: JobQueue, engine: str) -> Director:
        """What queues it."""
        settings = self.settings
        return Director(
            queue=queue,
            source=self.recordings,
            records=self.records,
            options=Options(
                engine=engine,
                model=settings.model,
                task=settings.task,
                language=settings.language,
                language_per_window=settings.language_per_window,
            ),
            formats=settings.formats,
            layout=self.layout,
            window=settings.window,
            max_receives=settings.max_receives,
            redo=self.redo,
            retry_failed=self.retry_failed,
        )

    def _is_current(self, done: Provenance) -> bool:
        asked = (self.settings.model, self.settings.task, self.settings.language, self.settings.language_per_window)
        options = done.options
        return (options.model, options.task, options.language, options.language_per_window) == asked


def run(request: Request) -> int:
    """Do all that is missing in DEST, and say on standard output what came of it. Gives the exit code."""
    settings, dest = request.settings, request.dest
    engine = _check(request, create=True)
    night = Night(request.source, dest, settings, engine)
    records_folder = dest / RECORDS_FOLDER
    logs = dest / preflight.LOGS
    tally, interrupted = None, False
    with _alone(records_folder / "run.lock"), (logs / "run.log").open("w") as log_file, _interruptible():
        # What is for people goes to the terminal; the events of the night go to a file.
        configure_logging(settings.log_level, log_file)
        errors = Console(stderr=True)
        try:
            tally = Tally(request.scan(errors), LengthEstimate())
            if tally.n_total:
                request.records.forget_activities()
                request.survey(tally, errors)
                tally.job_s = job_s(tally.total_s, settings.workers)
                _fetch_weights(settings, engine, errors)
                with local_queue(logs / "queue.log"):
                    _work(request, tally, night, logs, errors)
        except KeyboardInterrupt:
            interrupted = True
        except NightscribeError as error:
            if tally and night.run_id:
                night.write_report(tally, stopped=str(error))
            raise
        if tally is None:
            print("Interrupted before any work was begun.")
            return 130
        for line in summary(
            tally, elapsed_s=night.elapsed_s, dest=dest, formats=settings.formats, interrupted=interrupted
        ):
            print(line)
        if said := night.write_report(tally, interrupted=interrupted):
            print(said)
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
    preflight.check_source(request.source)
    preflight.check_options(request.settings)
    engine = preflight.check_engine(request.settings)
    preflight.check_dest(request.dest, create=create)
    return engine


def _fetch_weights(settings: Settings, engine: str, console: Console) -> None:
    """Once, before the workers start, or each of them would fetch the same."""
    with console.status(f"Getting the weights of {settings.model} …"):
        resolve(settings.model, engines.layout(engine), settings.models_dir)


def open_queue(settings: Settings) -> JobQueue:
    """The queue that the settings name, there and ready. Raises: QueueError, RetryableError: see `JobQueue.ensure`."""
    queue = connect(
        settings.queue_name, visibility_timeout_s=settings.visibility_timeout_s, max_receives=settings.max_receives
    )
    queue.ensure()
    return queue


def _work(request: Request, tally: Tally, night: Night, logs: Path, console: Console) -> None:
    settings, source, dest, engine = request.settings, request.source, request.dest, night.engine
    queue = open_queue(settings)
    rates = tally.lengths.rates()
    n_workers = n_jobs(tally.scan.missing, rates, tally.job_s, settings.workers)
    heading = f"nightscribe: {settings.model} on {engine}, {count(n_workers, 'worker')}, {source} → {dest}"
    environment = to_environment(settings) | {"OMP_NUM_THREADS": str(settings.threads)}
    director = request.director(queue, engine)
    night.run_id = director.run_id
    run = beginning("run", director, source=source, settings=settings, n_total=tally.n_total, n_workers=n_workers)
    progressed = False
    with (
        account(request.records, run, tally) as said,
        WorkerPool(n_workers, [str(source.absolute()), str(dest.absolute())], environment, logs) as pool,
        view(console, heading) as shown,
    ):
        for event in director.direct(tally.scan.missing, rates=rates, job_s=tally.job_s, follow=True):
            match event:
                case Settled():
                    tally.settle(event)
                case PartStored():
                    tally.store_part(event)
            if event is not None:
                progressed = True
                continue
            pool.look_after(progressed=progressed)
            progressed = False
            activities = list(request.records.activities())
            tally.observe(activities, time.monotonic())
            night.observe(pool.names, activities, tally.heard_s)
            shown.show(tally)
            said.tell(tally)


def _expected_speed(scan: Scan, settings: Settings, engine: str) -> float:
    """Seconds of sound a second, all workers together: as in earlier runs into this destination, or else typically."""
    if scan.finished_processing_s:
        return settings.workers * scan.finished_audio_s / scan.finished_processing_s
    return settings.workers * typical_speed(engine, settings.model)


def _roughly(seconds: float) -> str:
    """A forecast, no more exact than it can be: loading a model takes some seconds as well."""
    return "less than a minute" if seconds < 45 else f"roughly {duration(60 * max(1, round(seconds / 60)))}"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep a second run on this machine from working into the same destination: each has a queue of its own."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"Another nightscribe run is at work on {str(lock.parent.parent)!r}. Wait for it or stop it; "
                "to work with several at once, use `director` and `worker` with one queue (README)."
            ) from None
        except OSError:  # a share that knows no locks
            pass
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C, a kill or a closed terminal end the run once, in order; a second Ctrl-C does not cut that short."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # A signal that was being ignored (nohup) goes on being ignored.
    before = {number: handler for number in signals if (handler := signal.getsignal(number)) != signal.SIG_IGN}

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
