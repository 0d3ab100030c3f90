"""Prepare one worker process: its queue, its model, its source and destination."""

import os

from nightscribe.services.request import open_queue
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.process.identity import process_name
from nightscribe.shared.process.scratch import sweep_scratch
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.table.location import with_layout
from nightscribe.worker.engines.allowed import AllowedModels
from nightscribe.worker.loop import Worker
from nightscribe.worker.pipeline.models import Models


def open_worker(source: Location, dest: Location, settings: Settings) -> Worker:
    """Return a worker that is connected to its queue and has loaded its model, unless `load_late` is set; call `run`.

    Raises: NightscribeError: if the queue cannot be used or the model cannot be loaded.
    """
    if settings.interactive:
        settings = settings.model_copy(update={"queue_name": settings.interactive_queue})
    queue = open_queue(settings, creates_on_aws=False)
    sweep_scratch()
    # The model is loaded only now: it would take seconds and memory in vain if there were no queue.
    models = Models(
        settings.models_dir,
        threads=settings.threads,
        batch_size=settings.batch_size,
        allowed=AllowedModels(settings.model, settings.models, settings.models_dir),
    )
    if not settings.load_late:
        models.load(Options(engine=settings.engine, model=settings.model, compute_type=settings.compute_type))

    def unload(idle_s: float) -> None:
        if 0 <= settings.unload_after_s <= idle_s:
            models.unload()

    return Worker(
        name=process_name(os.getpid()),
        queue=queue,
        source=with_layout(source, settings.storage).open_source(settings.storage, leave_out=dest),
        records=Records(dest.open_store(settings.storage)),
        transcriber_for=models.transcriber,
        diarizer=models.diarizer,
        settings=settings,
        on_idle=unload,
    )
