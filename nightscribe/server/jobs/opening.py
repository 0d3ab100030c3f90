"""Put the jobs of a server together, with the queue server and the workers that it starts on this machine."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from nightscribe.local.queue_server import local_queue
from nightscribe.local.worker_pool import WorkerPool
from nightscribe.server.config import ServerSettings
from nightscribe.server.database.database import Database
from nightscribe.server.database.place import state_folder
from nightscribe.server.jobs.lane import Lane
from nightscribe.server.jobs.service import Jobs, Limits
from nightscribe.server.jobs.spool import Spool
from nightscribe.services.run_folder import run_folder
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.process.cores import usable_cores
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.settings import Settings, to_environment
from nightscribe.shared.storage.base import LOGS, Location
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.engines.allowed import AllowedModels

log = structlog.get_logger()

QUEUE_WITHIN_S = 3.0
"""How long a call to the queue is repeated while a client waits; what is not sent by then is sent later."""
NICENESS = 10  # of workers without haste, so that they leave the processor to those for which somebody waits
LOOK_S = 1.0
RETRIED_AFTER_S = 60.0


def open_jobs(
    source: Location,
    dest: Location,
    settings: Settings,
    server: ServerSettings,
    database: Database,
    *,
    changed: Callable[[], None] = lambda: None,
) -> Jobs:
    """Return the jobs of a server. Enter them as a context once their queue may be used.

    `changed` is called after a transcript was stored.
    """
    recordings = source.open_source(settings.storage, leave_out=dest)
    records = Records(dest.open_store(settings.storage))

    def lane(address: str) -> Lane:
        def connected() -> JobQueue:
            return connect(
                address,
                visibility_timeout_s=settings.visibility_timeout_s,
                max_receives=settings.max_receives,
                retry_timeout_s=QUEUE_WITHIN_S,
                secrets=settings.queue_secrets,
            )

        return Lane(connected, records, max_receives=settings.max_receives)

    return Jobs(
        source=recordings,
        records=records,
        database=database,
        batch=lane(settings.queue_name),
        interactive=lane(settings.interactive_queue),
        spool=Spool(recordings, state_folder() / "uploads", most_bytes=round(server.max_upload_gb * 2**30)),
        limits=Limits(
            most_interactive=server.max_waiting,
            keep_results_s=60 * server.results_minutes,
            refresh_on_use=not server.no_refresh,
            keep_uploads_s=3600 * server.upload_hours,
        ),
        check_options=_checker(settings, with_engine=not server.no_workers),
        changed=changed,
    )


def _checker(settings: Settings, *, with_engine: bool) -> Callable[[Options], None]:
    """Return what refuses options that no worker can fulfil, as far as this machine can know that."""
    allowed = AllowedModels(settings.model, settings.models, settings.models_dir)

    def check(options: Options) -> None:
        allowed.check(options)
        if with_engine:
            engine = engines.choose(options.engine)
            engines.check(
                engine, options.model, language=options.language, task=options.task, languages=options.languages
            )

    return check


@dataclass
class LocalWorkers:
    """The worker processes that a server starts on this machine, and that it starts again when they die."""

    pools: list[WorkerPool]
    prepare: Callable[[], object] = lambda: None
    """Fetches the weights, once and not in each worker. Raises: SetupError: if there are none."""
    trouble: str = ""
    """Why there are no workers now, in one sentence."""

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="workers", daemon=True)

    def __enter__(self) -> "LocalWorkers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.prepare()
                with ExitStack() as stack:
                    for pool in self.pools:
                        stack.enter_context(pool)
                    self.trouble = ""
                    while not self._over.wait(LOOK_S):
                        for pool in self.pools:
                            pool.look_after(progressed=False)
            except (SetupError, OSError) as error:
                self.trouble = str(error)
                log.error("workers.stopped", why=str(error))
                self._over.wait(RETRIED_AFTER_S)


@dataclass(frozen=True)
class Work:
    """The jobs of a server, and what it starts on this machine to do them."""

    jobs: Jobs
    workers: LocalWorkers | None
    queue_log: Path | None
    """Log of the queue server to start; None if there is another queue."""

    @classmethod
    def of(
        cls,
        source: Location,
        dest: Location,
        settings: Settings,
        server: ServerSettings,
        database: Database,
        *,
        starts_queue: bool,
        changed: Callable[[], None] = lambda: None,
    ) -> "Work":
        """Put it together; nothing is started yet. `changed`: see `open_jobs`."""
        logs = run_folder(dest) / LOGS
        workers = None
        if not server.no_workers:
            workers = LocalWorkers(
                _pools(source, dest, settings, server, logs),
                lambda: engines.find_weights(engines.choose(settings.engine), settings.model, settings.models_dir),
            )
        jobs = open_jobs(source, dest, settings, server, database, changed=changed)
        return cls(jobs, workers, logs / "server-queue.log" if starts_queue else None)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the queue server, the workers and the thread that follows the jobs while the context lasts."""
        with ExitStack() as stack:
            if self.queue_log:
                stack.enter_context(local_queue(self.queue_log))
            stack.enter_context(self.jobs)
            if self.workers:
                stack.enter_context(self.workers)
            yield


def _pools(
    source: Location, dest: Location, settings: Settings, server: ServerSettings, logs: Path
) -> list[WorkerPool]:
    folders = [str(source.absolute()), str(dest.absolute())]
    of_all = settings.model_copy(update={"metrics_port": 0})  # they cannot share one port

    def pool(n: int, name: str, niceness: int, **changes: object) -> WorkerPool:
        chosen = of_all.model_copy(update=changes)
        environment = to_environment(chosen) | {"OMP_NUM_THREADS": str(chosen.threads)}
        if server.no_gpu:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        return WorkerPool(n, folders, environment, logs, name=name, niceness=niceness)

    # One clip is done soonest by all cores together; a backlog by one process for each of them.
    return [
        pool(server.interactive_workers, "interactive", 0, interactive=True, threads=usable_cores()),
        pool(server.workers, "batch", NICENESS, interactive=False),
    ]
