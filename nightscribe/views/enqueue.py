"""Render the output of `nightscribe director` after it has queued everything."""

from collections.abc import Iterator

from nightscribe.services.enqueue import Enqueued
from nightscribe.shared.storage.base import Location
from nightscribe.terminal import visible_lines
from nightscribe.views.humanize import count
from nightscribe.views.summary import before, failures


@visible_lines
def lines(enqueued: Enqueued, dest: Location) -> Iterator[str]:
    """Yield what was queued, what was done before, and what has failed."""
    yield f"Queued {count(enqueued.n_queued, 'recording')} on {enqueued.queue_name}."
    yield from before(enqueued.progress.scan)
    yield from failures(enqueued.progress, dest)
