"""Follow a run on this machine by its events, and write its report."""

import sys
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from nightscribe.report.page import MARK, FileLinks, page
from nightscribe.report.report import report
from nightscribe.report.timeline import Sightings
from nightscribe.services.events import Began, Event, Started, Working
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.destination.keys import HIDDEN_REPORT_PAGE, REPORT, REPORT_PAGE
from nightscribe.shared.errors import RetryableError
from nightscribe.shared.model.transcript import utc_now
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location, TranscriptStore
from nightscribe.terminal import visible
from nightscribe.worker.lease import lease_clock

HEAD_BYTES = 1024  # of the page, in which its mark is

log = structlog.get_logger()


@dataclass
class RunReport:
    """The data for the report of a run, apart from its progress."""

    source: Location
    dest: Location
    settings: Settings
    engine: str = ""
    redo: bool = False
    run_id: str | None = None
    """The id of the run, known once its work begins."""
    began_at: datetime = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        # This clock includes the time that the machine slept.
        self._began_s = lease_clock()
        self._sightings = Sightings(self._began_s)
        self._progress: RunProgress | None = None

    def observe(self, event: Event) -> None:
        """Take in an event of the run."""
        match event:
            case Began(engine=engine):
                self.engine, self.began_at = engine, utc_now()
                self.__post_init__()
            case Started(run_id=run_id):
                self.run_id = run_id
            case Working(progress=progress, workers=workers, activities=activities):
                self._progress = progress
                self._sightings.observe(lease_clock(), workers, activities, progress.heard_s)

    def write_stopped(self, error: Exception) -> None:
        """Write the report of a run that could not continue, if it had begun any work."""
        if self._progress and self.run_id:
            self.write_report(self._progress, stopped=str(error))

    def write_report(self, run_progress: RunProgress, *, interrupted: bool = False, stopped: str | None = None) -> str:
        """Write the report, and return a sentence that says where it is.

        A run without any work leaves the last report as it is. If the report cannot be written, a message on standard
        error says so, and nothing is raised.
        """
        store = self.dest.open_store(self.settings.storage)
        try:
            key, last = _place(store)
            if self.run_id is None and (last or run_progress.all_done):
                return f"Last report: {self.dest.display(last)}" if last else ""
            made = report(
                run_progress,
                self._sightings.drawn(self.began_at, lease_clock()),
                run=self.run_id,
                began_at=self.began_at,
                ended_at=utc_now(),
                elapsed_s=lease_clock() - self._began_s,
                interrupted=interrupted,
                stopped=stopped,
                source=self.source,
                dest=self.dest,
                settings=self.settings,
                engine=self.engine,
                redo=self.redo,
            )
            store.put(REPORT, made.model_dump_json().encode())
            store.put(key, page(made, links=FileLinks(made, key)).encode(errors="replace"))
            if key != HIDDEN_REPORT_PAGE:
                store.delete(HIDDEN_REPORT_PAGE)  # of an earlier release
        except RetryableError as error:
            log.warning("report.unwritten", why=str(error))
            print(visible(f"The report could not be written. {error}"), file=sys.stderr)
        except Exception as error:
            # A bug in the report must not make a successful run fail.
            log.exception("report.failed")
            print(visible(f"The report could not be made: {error}"), file=sys.stderr)
        else:
            return f"Report: {self.dest.display(key)}"
        return ""


def _place(store: TranscriptStore) -> tuple[str, str | None]:
    """Return where the page goes, and where the last one is. Somebody else's file of its name stays as it is."""
    there = store.ends(REPORT_PAGE, HEAD_BYTES, 0)
    if there and MARK.encode() in there[0]:
        return REPORT_PAGE, REPORT_PAGE
    last = HIDDEN_REPORT_PAGE if store.ends(HIDDEN_REPORT_PAGE, 1, 0) is not None else None
    return (HIDDEN_REPORT_PAGE if there else REPORT_PAGE), last
