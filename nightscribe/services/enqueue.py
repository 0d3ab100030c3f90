"""Queue what is missing, for workers on any machine."""

from dataclasses import dataclass

from nightscribe.director.backlog import Settled
from nightscribe.services.events import OnEvent, ignore
from nightscribe.services.request import Request, open_queue, scan, survey
from nightscribe.services.run_progress import RunProgress
from nightscribe.services.run_record import RunRecord, beginning, queueing
from nightscribe.services.table_output import table_kept
from nightscribe.shared.model.recording import Unreadable


@dataclass(frozen=True)
class Enqueued:
    """The recordings that were queued."""

    queue_name: str
    n_queued: int
    """Recordings, those of earlier runs that are still on the queue not included."""
    progress: RunProgress


def enqueue(request: Request, on_event: OnEvent = ignore, *, dead_letters: bool = True) -> Enqueued:
    """Queue everything that is missing; with `dead_letters`, first record dead letters as failures.

    Raises: QueueError: if the queue cannot be used. RetryableError: if the queue or a store stays unreachable.
    """
    settings = request.settings
    director = request.director(open_queue(settings), settings.engine)
    if dead_letters:
        director.record_dead_letters()
    n_gone = 0
    with RunRecord(request.records, queueing(beginning("director", request, settings.engine), director)) as record:
        progress = scan(request, on_event)
        record.found(progress)
        survey(request, progress, on_event)
        for event in director.direct(progress.scan.missing, rates=progress.lengths.rates(), follow=False):
            if isinstance(event, Settled) and isinstance(event.result, Unreadable):
                progress.settle(event)
                n_gone += 1
            elif event is None:
                record.update()
    with table_kept(request, progress, on_event):
        pass
    return Enqueued(settings.queue_name, progress.n_total - n_gone, progress)
