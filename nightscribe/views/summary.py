"""Render the summary at the end of a run, to be read in ten seconds."""

from collections.abc import Iterator, Sequence

from nightscribe.director.scan.scanner import Scan
from nightscribe.services.run_progress import RunProgress
from nightscribe.shared.destination.keys import FAILURES, TRANSCRIPTS
from nightscribe.shared.storage.base import Location
from nightscribe.terminal import visible_lines
from nightscribe.views.cli_hints import typed
from nightscribe.views.humanize import count, duration, flag_names

SHOWN = 20


@visible_lines
def summary(
    run_progress: RunProgress,
    *,
    elapsed_s: float,
    dest: Location,
    formats: tuple[str, ...],
    interrupted: bool,
    redo: bool = False,
) -> Iterator[str]:
    """Yield the lines of the summary, the most important first."""
    if run_progress.done:
        # This speed, unlike the live one, includes the loading of models, since a night includes it.
        speed = run_progress.done_audio_s / elapsed_s
        yield (
            f"Done: {count(run_progress.done, 'recording')}, {duration(run_progress.done_audio_s)} of sound "
            f"in {duration(elapsed_s)} ({speed:.1f} × real time)."
        )
    elif not run_progress.scan.n_recordings:
        yield "No recordings were found: no audio or video file that ffmpeg reads."
        return
    elif not run_progress.n_total:
        everything = run_progress.all_done and not run_progress.scan.being_written
        yield "Nothing to do: every recording has its transcript." if everything else "Nothing new to do."
    yield from before(run_progress.scan)
    if run_progress.forgotten:
        yield f"Forgotten for good because of their age: {count(len(run_progress.forgotten), 'transcript')}."
        yield from shortened([f"  {recording}" for recording in run_progress.forgotten], None)
    if interrupted:
        how = (
            "Those with a transcript keep it; --redo starts all of them again."
            if redo
            else "Run the same command again to continue."
        )
        yield f"Interrupted: {count(run_progress.n_left, 'recording')} left. {how}"
    yield from failures(run_progress, dest)
    if run_progress.flagged:
        yield f"Worth a look: {count(len(run_progress.flagged), 'transcript')}."
        lines = [
            f"  {each.recording}: {', '.join(flag_names(each.flags, each.confidence))}" for each in run_progress.flagged
        ]
        yield from shortened(lines, dest.display(TRANSCRIPTS))
    yield f"Transcripts: {dest} ({', '.join(formats)})"


@visible_lines
def before(scan: Scan, *, dry_run: bool = False) -> Iterator[str]:
    """Yield what was done before this run, and what was or would be done without transcribing."""
    done = [f"{count(scan.n_finished, 'recording')} already done"] if scan.n_finished else []
    if scan.other_options:
        what = f": {', '.join(scan.differences)}" if scan.differences else ""
        done.append(f"{scan.other_options:,} of them with different options{what} (--redo transcribes them again)")
    if n_labels := scan.missing.n_only_speakers:
        labelled = "would be labelled" if dry_run else "labelled"
        done.append(f"{count(n_labels, 'recording')} already transcribed, with only the speakers {labelled}")
    if scan.n_foreign:
        done.append(f"{count(scan.n_foreign, 'recording')} with text files of another tool, left alone")
    if scan.n_forgotten:
        done.append(
            f"{count(scan.n_forgotten, 'recording')} forgotten for good, left alone ({typed('forget')} --allow)"
        )
    if scan.n_ignored:
        done.append(f"{count(scan.n_ignored, 'recording')} ignored, as {typed('ignore')} lists")
    if scan.renamed:
        verb = "would follow" if dry_run else "followed"
        done.append(f"{count(len(scan.renamed), 'transcript')} {verb} a renamed recording")
    if scan.laid_out:
        verb = "would be laid out" if dry_run else "laid out"
        done.append(f"{count(len(scan.laid_out), 'text file')} {verb} anew (--subtitles, --line-chars, --lines)")
    if scan.rewritten:
        verb = "would be written" if dry_run else "written"
        done.append(f"{count(len(scan.rewritten), 'missing text file')} {verb} again")
    if done:
        yield f"Before: {'; '.join(done)}."
    if scan.being_written:
        yield f"Left for the next run, still being written: {count(len(scan.being_written), 'recording')}."
        yield from shortened([f"  {path}" for path in scan.being_written], None)


@visible_lines
def failures(run_progress: RunProgress, dest: Location) -> Iterator[str]:
    """Yield every recording without a transcript, with its reason."""
    failed = run_progress.failures
    if not failed:
        return
    yield f"Failed: {count(len(failed), 'recording')}."
    yield from shortened([f"  {each.recording}: {each.reason}" for each in failed], dest.display(FAILURES))
    if n_before := len(run_progress.scan.failed_before):
        were = "was" if n_before == 1 else "were"
        yield f"  ({n_before:,} of these failed in an earlier run and {were} left alone; --retry-failed tries again.)"


@visible_lines
def shortened(lines: Sequence[str], rest: str | None) -> Iterator[str]:
    """Yield the first lines and, if there are more, their number and where to find them."""
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        yield f"  … and {len(lines) - SHOWN:,} more" + (f", in {rest}" if rest else "")
