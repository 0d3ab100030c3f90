"""What the user asked for, and the parts that it is done with: source, records, scan, queue and director."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from rich.console import Console

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.enqueue import Director
from nightscribe.director.plan.estimate import sample
from nightscribe.director.scan.scanner import Scan, Scanner
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.audio.probe import probe
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.jobs import Layout, Options
from nightscribe.shared.model.transcript import Provenance
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location, RecordingSource
from nightscribe.shared.telemetry import metrics, tracing
from nightscribe.views.humanize import count

SAMPLE = 32  # looking into a file takes time before the first job is sent
MAX_PROBES = 4


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    source: Location
    dest: Location
    settings: Settings
    redo: bool = False
    retry_failed: bool = False

    @cached_property
    def recordings(self) -> RecordingSource:
        """The source, without the destination if that lies in it."""
        return self.source.open_source(self.settings.storage, leave_out=self.dest)

    @cached_property
    def records(self) -> Records:
        """What the destination knows."""
        return Records(self.dest.open_store(self.settings.storage))

    def scan(self, console: Console, *, dry_run: bool = False) -> Scan:
        """Look for what is missing, and show how many files were seen so far."""
        scanner = self.scanner(settle_s=self.settings.settle_s, dry_run=dry_run)
        with tracing.scan(), console.status("Looking for recordings …") as status:
            found = scanner.scan(lambda n: status.update(f"Looking for recordings … {count(n, 'file')} seen"))
        metrics.show_source(found.states())
        return found

    def scanner(self, *, settle_s: float, dry_run: bool = False) -> Scanner:
        """What looks for it."""
        return Scanner(
            source=self.recordings,
            records=self.records,
            formats=self.settings.formats,
            settle_s=settle_s,
            layout=self.layout,
            redo=self.redo,
            retry_failed=self.retry_failed,
            dry_run=dry_run,
            is_current=self._is_current,
        )

    def survey(self, run_progress: RunProgress, console: Console, *, at_most: int = SAMPLE) -> None:
        """Look into some of the missing recordings, from which the length of the others follows."""
        missing = run_progress.scan.missing
        n_chosen = count(min(at_most, len(missing)), "recording")
        with console.status("") as status:
            for number, (each, seconds) in enumerate(self.lengths(missing, at_most), 1):
                status.update(f"Looking into {number:,} of {n_chosen} …")
                if seconds is not None:
                    run_progress.foresee(each.recording, seconds)

    def lengths(self, missing: Backlog, at_most: int = SAMPLE) -> Iterator[tuple[Missing, float | None]]:
        """Some of the recordings, each with its length where that can be told."""
        chosen = sample(missing, at_most)
        with ThreadPoolExecutor(MAX_PROBES) as pool:
            try:
                yield from zip(chosen, pool.map(self._length_s, chosen), strict=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _length_s(self, missing: Missing) -> float | None:
        report_alive()
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


def open_queue(settings: Settings, *, creates_on_aws: bool = True) -> JobQueue:
    """The queue that the settings name, there and ready. Raises: QueueError, RetryableError: see `JobQueue.ensure`."""
    queue = connect(
        settings.queue_name,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_receives=settings.max_receives,
        creates_on_aws=creates_on_aws,
    )
    queue.ensure()
    return queue
