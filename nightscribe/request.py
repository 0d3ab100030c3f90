"""What the user asked for, and the parts that it is done with: source, records, scan, queue and director."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.console import Console

from director.backlog import Missing
from director.director import Director
from director.estimate import sample
from director.scan import Scan, Scanner
from nightscribe.tally import Tally
from nightscribe.words import count
from shared.errors import NightscribeError
from shared.jobs import Layout, Options
from shared.media import probe
from shared.queue import JobQueue, connect
from shared.records import Records
from shared.settings import Settings
from shared.sources import FolderSource
from shared.store import FolderStore
from shared.transcript import Provenance

SAMPLE = 32  # looking into a file takes time before the first job is sent
PROBES_AT_ONCE = 4


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
