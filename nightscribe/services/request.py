"""Hold the user's request, and create what it needs: source, records, scanner, queue and director."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.enqueue import Director
from nightscribe.director.folder_hotwords import FolderHotwords
from nightscribe.director.plan.estimate import LengthEstimate, sample
from nightscribe.director.scan.scanner import Scanner
from nightscribe.services import model_choice, preflight
from nightscribe.services.events import ModelChosen, OnEvent, Planned, Scanning, Surveying, ignore
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.audio.probe import probe
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.model.engines import AUTO as MODEL_AUTO
from nightscribe.shared.model.jobs import ENGLISH, REQUESTS, Layout, Options
from nightscribe.shared.model.speaker_options import AUTO, same_labels
from nightscribe.shared.model.transcript import Provenance
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.queue.client import JobQueue, connect
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location, RecordingSource
from nightscribe.shared.storage.table.location import with_layout
from nightscribe.shared.telemetry import metrics, tracing

DIFFERENCES_NAMED = 3
SAMPLE = 32  # probing files delays the first job
MAX_PROBES = 4


@dataclass(frozen=True)
class Request:
    """The user's request: where to transcribe from and to, and how."""

    source: Location
    dest: Location
    settings: Settings
    redo: bool = False
    retry_failed: bool = False

    @cached_property
    def recordings(self) -> RecordingSource:
        """The source, without the destination if that lies in it."""
        return self.corpus.open_source(self.settings.storage, leave_out=self.dest)

    @cached_property
    def corpus(self) -> Location:
        """The source with the layout of a corpus, if the user named one."""
        return with_layout(self.source, self.settings.storage)

    @cached_property
    def records(self) -> Records:
        """The records of the destination."""
        return Records(self.dest.open_store(self.settings.storage))

    @cached_property
    def differences(self) -> Counter[str]:
        """How many finished transcripts were made with each other option than is asked for now."""
        return Counter()

    @cached_property
    def hotwords(self) -> FolderHotwords:
        """The words to listen for in each recording."""
        return FolderHotwords(self.recordings, self.settings.hotwords)

    @property
    def layout(self) -> Layout:
        """The layout of the texts."""
        settings = self.settings
        return layout(settings)

    @cached_property
    def _speakers(self) -> Options:
        return self.options(self.settings.engine)

    def options(self, engine: str) -> Options:
        """Return the options that affect a transcript."""
        return options(self.settings, engine)

    def check(self, *, create: bool) -> str:
        """Check the request and return the engine to use; with `create`, create the destination and try to write to it.

        Raises: SetupError: if the work cannot be done as requested. RetryableError: if a bucket is unreachable.
        """
        self.source.check_source(self.settings.storage)
        if self.corpus is not self.source:
            self.corpus.check_source(self.settings.storage)
        preflight.check_options(self.settings)
        engine = preflight.check_engine(self.settings)
        preflight.check_speakers(self.settings)
        self.dest.check_dest(self.settings.storage, create=create)
        return engine

    def scanner(self, *, settle_s: float, dry_run: bool = False) -> Scanner:
        """Return the scanner that compares source and destination."""
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
            has_labels=lambda done: same_labels(done.options, self._speakers),
            hotwords=self.hotwords,
        )

    def director(self, queue: JobQueue, engine: str) -> Director:
        """Return the director that queues what is missing."""
        return Director(
            queue=queue,
            source=self.recordings,
            records=self.records,
            options=self.options(engine),
            formats=self.settings.formats,
            layout=self.layout,
            max_queued_jobs=self.settings.max_queued_jobs,
            max_receives=self.settings.max_receives,
            hotwords=self.hotwords,
            redo=self.redo,
            retry_failed=self.retry_failed,
        )

    def lengths(
        self, missing: Backlog, at_most: int = SAMPLE, *, guess: bool = False
    ) -> Iterator[tuple[Missing, float | None]]:
        """Probe a sample of recordings and yield each with its length in seconds, None where it cannot be probed.

        With `guess`, a length that is not stated is guessed from the bit rate.
        """
        chosen = sample(missing, at_most)
        length_s = partial(self._length_s, guess=guess)
        with ThreadPoolExecutor(MAX_PROBES) as pool:
            try:
                yield from zip(chosen, pool.map(length_s, chosen), strict=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _length_s(self, missing: Missing, *, guess: bool) -> float | None:
        report_alive()
        with suppress(NightscribeError, OSError), self.recordings.local(missing.recording.path) as path:
            info = probe(path)
            return info.guessed_s if info.duration_s is None and guess else info.duration_s
        return None

    def _is_current(self, done: Provenance) -> bool:
        wanted = self.options(done.options.engine)
        words = self.hotwords.of(done.recording)
        if words != wanted.hotwords:
            wanted = wanted.model_copy(update={"hotwords": words})
        names = ("model", "task", "translate_to", "language", "languages", "language_per_window", "tracks", *REQUESTS)
        different = [name for name in names if getattr(done.options, name) != getattr(wanted, name)]
        self.differences.update(_difference(name, getattr(done.options, name)) for name in different)
        return not different


def layout(settings: Settings) -> Layout:
    """Return the layout of texts from settings."""
    return Layout(
        line_chars=settings.line_chars,
        lines=settings.lines,
        words=settings.word_timestamps,
        subtitles=settings.subtitles,
    )


def _difference(name: str, value: object) -> str:
    option = "--" + name.replace("_", "-")
    if name in ("prompt", "hotwords"):  # they may be long
        return f"{'another' if name == 'prompt' else 'other'} {option}" if value else f"no {option}"
    return f"{option} {_typed(value)}"


def _typed(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def options(settings: Settings, engine: str) -> Options:
    """Return the options of a job from settings. The bounds matter only where the number of speakers is to be found."""
    bounds: dict[str, Any] = {"min_speakers": settings.min_speakers, "max_speakers": settings.max_speakers}
    return Options(
        engine=engine,
        model=settings.model,
        task="translate" if settings.translate_to else settings.task,
        translate_to=settings.translate_to or ENGLISH,
        **{name: getattr(settings, name) for name in REQUESTS},
        language=settings.language,
        language_per_window=settings.language_per_window,
        tracks=settings.tracks,
        languages=settings.languages if settings.language == "auto" else (),
        speakers=settings.speakers,
        **(bounds if settings.speakers == AUTO else {}),
        voiceprints=not settings.no_voiceprints,
    )


def with_model(request: Request, on_event: OnEvent, *, dry_run: bool = False) -> Request:
    """Return the request with a model instead of `auto`, chosen by the sound that is missing if time is limited.

    Raises: SetupError: if no model can do what is requested.
    """
    settings = request.settings
    if settings.model != MODEL_AUTO:
        return request
    provisional = replace(request, settings=model_choice.resolved(settings)[0])
    provisional.check(create=not dry_run)
    audio_s = None
    if settings.allowed_hours:
        progress = scan(provisional, on_event, dry_run=True)
        survey(provisional, progress, ignore, guess=True)
        audio_s = progress.total_s
    chosen, reason = model_choice.resolved(settings, audio_s)
    on_event(ModelChosen(chosen.model, reason))
    return replace(request, settings=chosen)


def scan(request: Request, on_event: OnEvent, *, dry_run: bool = False) -> RunProgress:
    """Compare source and destination, and return the progress of a run that has yet to do what is missing."""
    on_event(Scanning())
    scanner = request.scanner(settle_s=request.settings.settle_s, dry_run=dry_run)
    with tracing.scan():
        found = scanner.scan(lambda n: on_event(Scanning(n)))
    found.differences = tuple(option for option, _ in request.differences.most_common(DIFFERENCES_NAMED))
    metrics.show_source(found.states())
    return RunProgress(found, LengthEstimate())


def survey(
    request: Request, progress: RunProgress, on_event: OnEvent, *, at_most: int = SAMPLE, guess: bool = False
) -> None:
    """Probe some of the missing recordings, to estimate the lengths of the others. `guess`: see `Request.lengths`."""
    missing = progress.scan.missing
    n = min(at_most, len(missing))
    for number, (each, seconds) in enumerate(request.lengths(missing, at_most, guess=guess), 1):
        on_event(Surveying(number, n))
        if seconds is not None:
            progress.foresee(each.recording, seconds)
    on_event(Planned(progress))


def open_queue(settings: Settings, *, creates_on_aws: bool = True) -> JobQueue:
    """Connect to the queue that the settings name, and return it ready for use. Raises: what `ensure` raises."""
    queue = connect(
        settings.queue_name,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_receives=settings.max_receives,
        creates_on_aws=creates_on_aws,
        secrets=settings.queue_secrets,
    )
    queue.ensure()
    return queue
