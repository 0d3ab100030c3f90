"""Say what is being done now: the run, its progress, and what each worker does."""

from dataclasses import dataclass

from nightscribe.server.context import Context
from nightscribe.services.run_record import is_live
from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.activity import Activity, Run
from nightscribe.shared.process.identity import has_ended

SILENT_S = 120.0


@dataclass(frozen=True)
class Tonight:
    """What is being done now."""

    run: Run | None
    """The run or the director in progress."""
    working: tuple[Activity, ...]
    """What workers are at."""

    @property
    def is_busy(self) -> bool:
        """Return whether anything is being done."""
        return bool(self.working) or (self.run is not None and not self.run.watch)

    @property
    def share(self) -> float | None:
        """Return how much of the run is done, from 0 to 1, where that is known."""
        run = self.run
        if run is None or not run.n_total:
            return None
        if run.total_s:
            return min(1.0, run.heard_s / run.total_s)
        return min(1.0, (run.n_done + run.n_failed) / run.n_total)


def tonight(context: Context, folder: str = "") -> Tonight:
    """Return what is being done. `folder`: outside which nothing is told."""
    records = Records(context.dest.open_store(context.storage))
    last = None if folder else records.last_run()
    working = tuple(
        each
        for each in records.activities()
        if each.message
        and (not folder or each.recording.startswith(f"{folder}/"))
        and not has_ended(each.worker)
        and records.silent_s(each) < SILENT_S
    )
    return Tonight(last if last and is_live(last) else None, working)
