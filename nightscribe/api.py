"""The public Python interface. Import its names from `nightscribe` itself; see docs/python.md."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from nightscribe.log import configure_logging
from nightscribe.report.run_report import RunReport
from nightscribe.search.base import SearchResult
from nightscribe.search.dates import filters_from
from nightscribe.services.correct import correct_passage
from nightscribe.services.events import Event, Planned, Working
from nightscribe.services.forget import forget
from nightscribe.services.request import Request
from nightscribe.services.run import RunResult, run
from nightscribe.services.run_progress import RunProgress
from nightscribe.services.search import search
from nightscribe.services.transcribe import transcribe as transcribe_file
from nightscribe.shared.destination.keys import TRANSCRIPTS
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.formats.registry import check_formats, render
from nightscribe.shared.model.corrections import corrected
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.transcript import Correction, Segment, Word
from nightscribe.shared.model.transcript import Transcript as Record
from nightscribe.shared.settings import load_settings
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.shared.storage.registry import parse_location
from nightscribe.worker.lease import lease_clock


@dataclass(frozen=True)
class Transcript:
    """The transcript of one recording."""

    record: Record
    """The complete record, as it is stored."""

    @property
    def recording(self) -> str:
        """Path of the recording below its source, or its name if it was transcribed alone."""
        return self.record.recording

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Segments of about one sentence, with their times in seconds, as people have corrected them."""
        return corrected(self.record).segments

    @property
    def words(self) -> tuple[Word, ...]:
        """Words with their times; complete only if `word_timestamps` was set."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """What people have changed, oldest first. The words of the engine are those of `record`."""
        return self.record.corrections

    @property
    def text(self) -> str:
        """The text, one segment a line."""
        return self.to("txt").removesuffix("\n")

    @property
    def language(self) -> str | None:
        """Code of the language spoken; None where nobody speaks."""
        return self.record.language

    @property
    def duration_s(self) -> float:
        """Seconds of sound."""
        return self.record.decoded_s

    def to(self, format: str) -> str:  # noqa: A002  what it is called everywhere else
        """Return the transcript in a text format, such as "srt". Raises: ValueRefused: if the format does not exist.

        UnicodeDecodeError: if the format is no text; see `to_bytes`.
        """
        return self.to_bytes(format).decode()

    def to_bytes(self, format: str) -> bytes:  # noqa: A002
        """Return the transcript in any format. Raises: ValueRefused: if the format does not exist."""
        [name] = check_formats(format)
        return render(self.record, name)

    def save(self, path: str | Path) -> None:
        """Write a file atomically, in the format of its suffix.

        Raises: ValueRefused: if there is no such format. RetryableError: if the file cannot be written.
        """
        path = Path(path)
        FolderStore(path.parent).put(path.name, self.to_bytes(path.suffix))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Progress:
    """The progress of `transcribe_folder`."""

    n_total: int
    """Recordings that were missing at the start."""
    n_done: int
    n_failed: int
    done_s: float
    """Seconds of sound that are done."""
    total_s: float | None
    """Estimated seconds of sound in all of them."""
    left_s: float | None
    """Estimated seconds until the end."""


@dataclass(frozen=True)
class Destination:
    """The transcripts and failures in a folder or bucket. `len()` returns the number of transcripts."""

    location: Location
    records: Records

    def __len__(self) -> int:
        return self.records.count(TRANSCRIPTS)

    def __iter__(self) -> Iterator[Transcript]:
        return self.transcripts()

    def transcripts(self) -> Iterator[Transcript]:
        """Yield every transcript, in no particular order; damaged ones are left out."""
        for key in self.records.store.walk(TRANSCRIPTS):
            if key.endswith(".json") and (record := self.records.orphan(key)):
                yield Transcript(record)

    def transcript(self, recording: str) -> Transcript | None:
        """Return the transcript of a recording, named by its path below the source, or None if it has none."""
        record = self.records.transcript(recording)
        return Transcript(record) if record else None

    def failures(self) -> Iterator[Failure]:
        """Yield the recorded failures, each with its reason."""
        return self.records.failures()

    def correct(self, recording: str, at_s: float, text: str, *, by: str) -> Transcript:
        """Replace the text of the passage at a time, and return the corrected transcript; its files are written again.

        Only the words that differ become corrections, kept with the person's name `by`; see docs/corrections.md.

        Raises: ValueRefused: if nobody speaks at that time, or the recording has no transcript. RetryableError: if
        the destination is unreachable.
        """
        correct_passage(self.location, recording, at_s, text, by=by, options=load_settings().storage)
        record = self.records.transcript(recording)
        assert record  # noqa: S101  it was there a moment ago
        return Transcript(record)

    def forget(self, *names: str, kept_too: bool = False) -> tuple[str, ...]:
        """Delete everything of these recordings for good, without asking, and return their paths.

        No run transcribes them again; `nightscribe forget --allow` takes that back. See docs/forgetting.md.

        Args:
            names: paths of recordings or folders below the source, or globs of whole paths.
            kept_too: also delete copies such as `talk (kept).txt`.

        Raises: ValueRefused: if no name is given. RetryableError: if the destination is unreachable.
        """
        done = forget(self.location, names, kept_too=kept_too, options=load_settings().storage)
        return tuple(each.recording for each in done.recordings)

    def search(
        self,
        query: str,
        *,
        speaker: str = "",
        language: str = "",
        folder: str = "",
        since: str | None = None,
        until: str | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> SearchResult:
        """Return the passages that match a query, as `nightscribe search` does. No query is an error.

        Args:
            query: words, "phrases", OR, NOT, NEAR and prefix* (docs/search.md).
            speaker: only what this speaker says.
            language: code of a language.
            folder: path of a folder below the source, or of one recording.
            since: year, month or day, such as "2012-05"; recordings from its beginning on.
            until: the same; recordings until its end.
            limit: maximum number of hits that are returned.
            offset: number of hits to skip.

        The index is first brought up to date with the records.

        Raises: ValueRefused: if the language or a date is not valid. RetryableError: if the destination is unreachable.
        """
        filters = filters_from(speaker=speaker, language=language, folder=folder, since=since, until=until)
        options = load_settings().storage
        return search(self.location, query, filters, limit=limit, offset=offset, options=options).result


def transcribe(
    path: str | Path,
    model: str = "base",
    language: str = "auto",
    *,
    task: str = "transcribe",
    engine: str = "auto",
    tracks: str | int = "default",
    speakers: str | int = "off",
    word_timestamps: bool = False,
    threads: int = 0,
    models_dir: str | Path | None = None,
    progress: Callable[[float], object] | None = None,
) -> Transcript:
    """Transcribe one recording in this process, and return its transcript. The model stays in memory.

    Args:
        path: an audio or video file.
        model: name of a model, or the path of its weights.
        language: code of the spoken language, or "auto".
        task: "transcribe", or "translate" into English.
        engine: name of an engine; "auto" chooses the first that is installed.
        tracks: audio tracks of a film: "default", "all", or the number of one.
        speakers: who speaks: "off", "auto", "channels", or the number of speakers.
        word_timestamps: give every word its time.
        threads: processor threads; 0 for one a core.
        models_dir: folder of the weights; by default that of the command.
        progress: called with the seconds of sound done so far.

    Raises: SetupError: if the file, the engine or the weights are missing, or a value makes no sense. PermanentError:
    if the file holds no sound that can be decoded. RetryableError: if reading it fails.
    """
    _log_warnings_only()
    settings = load_settings(
        model=model,
        language=language,
        task=task,
        engine=engine,
        tracks=str(tracks),
        speakers=str(speakers),
        word_timestamps=word_timestamps,
        threads=threads,
        models_dir=models_dir,
    )

    def report(done_s: float) -> None:
        if progress:
            progress(done_s)

    return Transcript(transcribe_file(Path(path), settings, report))


def transcribe_folder(
    source: str | Path,
    dest: str | Path,
    model: str = "base",
    language: str = "auto",
    *,
    task: str = "transcribe",
    engine: str = "auto",
    tracks: str | int = "default",
    speakers: str | int = "off",
    formats: Sequence[str] = ("txt", "vtt", "srt"),
    word_timestamps: bool = False,
    workers: int | None = None,
    models_dir: str | Path | None = None,
    redo: bool = False,
    retry_failed: bool = False,
    progress: Callable[[Progress], object] | None = None,
) -> RunResult:
    """Transcribe everything that is missing in `dest` with worker processes on this machine, as `nightscribe run` does.

    Args:
        source: folder or bucket (s3://bucket/prefix) of the recordings.
        dest: folder or bucket for the transcripts.
        formats: names of the files to write.
        workers: worker processes; None for one a core.
        redo: transcribe finished recordings again.
        retry_failed: retry recordings that failed before.
        progress: called about once a second; raise KeyboardInterrupt in it to stop the run cleanly.

    The other arguments are those of `transcribe`.

    Raises: NightscribeError: if the run cannot start or continue; a failed recording does not raise. KeyboardInterrupt:
    if the run was stopped before its scan was over.
    """
    _log_warnings_only()
    settings = load_settings(
        model=model,
        language=language,
        task=task,
        engine=engine,
        tracks=str(tracks),
        speakers=str(speakers),
        formats=",".join(formats),
        word_timestamps=word_timestamps,
        workers=workers,
        models_dir=models_dir,
    )
    request = Request(
        parse_location(str(source)), parse_location(str(dest)), settings, redo=redo, retry_failed=retry_failed
    )
    report = RunReport(request.source, request.dest, settings, redo=redo)

    def on_event(event: Event) -> None:
        report.observe(event)
        if progress and isinstance(event, Planned | Working):
            progress(_progress(event.progress))

    try:
        result = run(request, on_event)
    except NightscribeError as error:
        report.write_stopped(error)
        raise
    report.write_report(result.progress, interrupted=result.interrupted)
    return result


def open_destination(dest: str | Path) -> Destination:
    """Open the destination of earlier runs. Raises: SetupError: if it does not exist."""
    location, settings = parse_location(str(dest)), load_settings()
    location.check_records(settings.storage)
    return Destination(location, Records(location.open_store(settings.storage)))


def _progress(progress: RunProgress) -> Progress:
    return Progress(
        n_total=progress.n_total,
        n_done=progress.done,
        n_failed=progress.n_settled - progress.done,
        done_s=progress.heard_s,
        total_s=progress.total_s,
        left_s=progress.left_s(lease_clock()),
    )


def _log_warnings_only() -> None:
    """Log only warnings, to standard error, unless the program has configured structlog itself."""
    if not structlog.is_configured():
        configure_logging("warning", sys.stderr)
