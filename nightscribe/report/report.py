"""Collect the complete data of a run: `report.json` is a dump of it, and the page is made from it."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from nightscribe.report.timeline import TimeLine
from nightscribe.services.requested_settings import asked
from nightscribe.services.run_progress import MAX_LISTED, RunProgress
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.model.paths import printable
from nightscribe.shared.model.transcript import Flag
from nightscribe.shared.model.versioned import Frozen
from nightscribe.shared.settings import SPEAKERS, TEXTS, WORDS, Settings
from nightscribe.shared.storage.base import Location
from nightscribe.views.cli_hints import retry_command, run_again
from nightscribe.views.summary import before


class Failed(Frozen):
    """A recording without a transcript."""

    recording: str
    code: str = Field(description="What kind of failure it is (docs/failure-codes.md).")
    reason: str
    attempts: int | None = Field(default=None, description="None where it could not even be looked at.")
    failed_at: datetime | None = None
    worker: str | None = None
    earlier: bool = Field(default=False, description="It failed in an earlier run and was left alone.")


class Suspicious(Frozen):
    """A transcript that a person may want to look at."""

    recording: str
    flags: tuple[Flag, ...]
    text: str = Field(description="Its text file: path in the destination.")
    confidence: float | None = Field(
        default=None, description="Expected share of right words, from 0 to 1, where the text is in doubt."
    )


class Done(Frozen):
    """A recording that was transcribed in this run."""

    recording: str
    text: str = Field(description="The text file that is best to read: path in the destination.")
    length_s: float = Field(description="Seconds of sound.")
    language: str | None = Field(default=None, description="Code of the language spoken; None if nobody speaks.")
    flags: tuple[Flag, ...] = ()


class Totals(Frozen):
    """A run in numbers."""

    recordings: int = Field(description="Recordings that were missing at the start.")
    done: int
    failed: int = Field(description="Recordings without a transcript, those of earlier runs included.")
    left: int = Field(description="Recordings neither done nor failed at the end.")
    audio_s: float = Field(description="Seconds of sound in the recordings done.")
    speed: float = Field(description="Seconds of sound a second, from the beginning to the end of the run.")
    done_before: int = Field(description="Recordings that already had transcripts.")


class Report(Frozen):
    """A run from its beginning to its end."""

    version: Literal[1] = 1
    run: str | None = Field(description="Its id; None if it ended before anything was queued.")
    began_at: datetime
    ended_at: datetime
    elapsed_s: float
    interrupted: bool
    stopped: str | None = Field(description="Why it could not continue, if that ended it.")
    source: str
    dest: str
    model: str
    engine: str
    redo: bool = Field(description="Whether finished recordings were to be done again.")
    options: dict[str, str | int | float | bool | tuple[str, ...]] = Field(
        description="The settings of words and texts."
    )
    totals: Totals
    languages: dict[str, int] = Field(description="Recordings by the language spoken, the most frequent first.")
    notes: tuple[str, ...] = Field(description="What was done before, and what was done without transcribing.")
    run_command: str = Field(description="The command that transcribes what is left, with the same options.")
    retry_command: str | None = Field(description="The command to type before it, to retry what failed.")
    time_line: TimeLine
    failures: tuple[Failed, ...]
    suspicious: tuple[Suspicious, ...]
    recordings: tuple[Done, ...] = Field(
        default=(), description=f"The recordings done, folder by folder; the first {MAX_LISTED:,} that were."
    )


def report(
    run_progress: RunProgress,
    time_line: TimeLine,
    *,
    run: str | None,
    began_at: datetime,
    ended_at: datetime,
    elapsed_s: float,
    interrupted: bool,
    stopped: str | None,
    source: Location,
    dest: Location,
    settings: Settings,
    engine: str,
    redo: bool = False,
) -> Report:
    """Return the report of a run that has ended."""
    source, dest = source.absolute(), dest.absolute()
    failures = (
        *(_failed(failure) for failure in run_progress.failed),
        *(_failed(failure, earlier=True) for failure in run_progress.scan.failed_before),
        *(
            Failed(recording=item.path, code="not_readable", reason=item.reason)
            for item in run_progress.scan.unreadable
        ),
    )
    recorded = run_progress.failed or run_progress.scan.failed_before
    return Report(
        run=run,
        began_at=began_at,
        ended_at=ended_at,
        elapsed_s=round(elapsed_s, 1),
        interrupted=interrupted,
        stopped=stopped,
        source=printable(str(source)),
        dest=printable(str(dest)),
        model=settings.model,
        engine=engine,
        redo=redo,
        options={name: getattr(settings, name) for name in (*WORDS, *SPEAKERS, *TEXTS)},
        totals=Totals(
            recordings=run_progress.n_total,
            done=run_progress.done,
            failed=len(failures),
            left=run_progress.n_left,
            audio_s=round(run_progress.done_audio_s, 1),
            speed=round(run_progress.done_audio_s / elapsed_s, 2) if elapsed_s > 0 else 0.0,
            done_before=run_progress.scan.n_finished,
        ),
        languages=dict(run_progress.languages.most_common()),
        notes=tuple(line.strip() for line in before(run_progress.scan)),
        run_command=printable(run_again("run", source, dest, asked("run", settings))),
        retry_command=printable(retry_command(dest)) if recorded else None,
        time_line=time_line,
        failures=failures,
        suspicious=tuple(
            Suspicious(recording=each.recording, flags=each.flags, text=each.text, confidence=each.confidence)
            for each in run_progress.flagged
        ),
        recordings=tuple(
            Done(
                recording=printable(each.recording),
                text=each.text,
                length_s=round(each.length_s, 1),
                language=each.language,
                flags=each.flags,
            )
            for each in sorted(run_progress.finished, key=lambda each: each.recording.rpartition("/"))
        ),
    )


def _failed(failure: Failure, *, earlier: bool = False) -> Failed:
    return Failed(
        recording=failure.recording,
        code=failure.code,
        reason=failure.reason,
        attempts=failure.attempts,
        failed_at=failure.failed_at,
        worker=failure.worker,
        earlier=earlier,
    )
