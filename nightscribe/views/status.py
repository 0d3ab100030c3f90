"""Render a status as lines, or with a progress bar for a live view."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from textwrap import fill

from rich.console import Group, RenderableType
from rich.text import Text

from nightscribe.services.status import FAILURES_KEPT, QueuedJob, QueueState, Status, Working
from nightscribe.shared.destination.keys import FAILURES
from nightscribe.shared.model.activity import Run
from nightscribe.shared.model.failure import Failure
from nightscribe.shared.process.identity import short_name
from nightscribe.terminal import visible_lines
from nightscribe.views.humanize import count, duration, failure_group, group_sentence
from nightscribe.views.progress import bar_of_all, so_far

LISTED = 10
LISTED_LIVE = 4  # a live view must fit on a screen
SILENT_S = 60.0
LABEL = 13  # columns


def render(status: Status) -> RenderableType:
    """Return the live view; long lines are cut off at the edge of the screen, so that all lines fit."""
    run = status.run
    parts: list[RenderableType] = [Text(line, style="bold") for line in _heading(status)]
    if run and run.command == "run" and status.live and run.n_total is not None:
        parts.append(bar_of_all(run.heard_s, run.total_s))
    parts.extend(map(_line, _blocks(status, LISTED_LIVE)))
    return Group(*parts)


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def lines(status: Status) -> Iterator[str]:
    """Yield all lines, the most important first."""
    yield from _heading(status)
    yield from _blocks(status, LISTED)


def wrapped(status: Status, width: int) -> Iterator[str]:
    """Yield the lines wrapped for a terminal, between words only, so that paths can be copied."""
    filled = partial(fill, width=width, break_long_words=False, break_on_hyphens=False)
    yield from map(filled, _heading(status))
    for line in _blocks(status, LISTED):
        yield filled(line[LABEL:], initial_indent=line[:LABEL], subsequent_indent=" " * LABEL)


@visible_lines
def _heading(status: Status) -> Iterator[str]:
    if status.trouble:
        yield f"Last seen {_clock(status.at, status.at)}: {status.trouble}"
    run = status.run
    if run is None:
        yield f"No run into {status.dest} has been recorded."
        return
    what = (
        run.model
        + (f" on {run.engine}" if run.command == "run" else "")
        + (f", {count(run.n_workers, 'worker')}" if run.n_workers else "")
        + (", including finished ones" if run.redo else "")
    )
    yield f"{run.source} → {status.dest} ({what})"
    yield _when(status, run)
    if status.live and run.watch:
        yield f"So far, {_done(run)}." if run.n_total else "It has found nothing to queue yet."
    elif status.live and (run.command == "run" or run.n_total is None):
        yield _so_far(run, is_working=bool(status.workers))


def _when(status: Status, run: Run) -> str:
    noun = "run" if run.command == "run" else "watching director" if run.watch else "director"
    if status.live:
        return f"A {noun} is active; it started {_clock(run.began_at, status.at)}."
    if run.ended_at is None:
        return f"The last {noun} broke off; its last sign of life was {_clock(run.updated_at, status.at)}."
    ended = _clock(run.ended_at, status.at)
    if run.command == "director":
        return _when_queued(run, ended)
    if run.interrupted:
        return f"The last run was interrupted {ended}; {_done(run)}."
    took = duration((run.ended_at - run.began_at).total_seconds())
    what = _done(run) if run.n_total else "there was nothing to do"
    return f"The last run ended {ended}, after {took}; {what}."


def _when_queued(run: Run, ended: str) -> str:
    if run.watch:
        return f"The last director stopped watching {ended}; until then, {_done(run)}."
    if run.n_total is None:
        return f"The last director was interrupted {ended}; {_done(run)}."
    missing = count(run.n_total, "recording")
    if run.interrupted:
        return f"The last director was interrupted {ended}, before it had queued all that was missing ({missing})."
    return f"The last director queued {missing} and ended {ended}."


def _so_far(run: Run, *, is_working: bool) -> str:
    if run.n_total is None:
        return "It is scanning for missing recordings."
    return so_far(
        run.n_done + run.n_failed,
        run.n_total,
        heard_s=run.heard_s,
        total_s=run.total_s,
        speed=run.speed,
        left_s=run.left_s,
        n_failed=run.n_failed,
        is_working=is_working,
    )


def _done(run: Run) -> str:
    if run.n_total is None:
        return "it had not finished its scan"
    failed = f", {run.n_failed:,} failed" if run.n_failed else ""
    return f"{run.n_done:,} of {count(run.n_total, 'recording')} done{failed}"


def _clock(then: datetime, now: datetime) -> str:
    """Return `at 21:14` or `on 2 May at 21:14`, in local time."""
    local, today = then.astimezone(), now.astimezone()
    day = "" if local.date() == today.date() else f"on {local.day} {local:%b} "
    return f"{day}at {local:%H:%M}"


@visible_lines
def _blocks(status: Status, listed: int) -> Iterator[str]:
    if status.workers:
        yield from _block("In progress", map(_worker, status.workers))
    elif status.live or not (status.run and status.run.command == "run"):  # the workers of a finished run have ended
        yield _labelled("In progress", "no worker reports any work")
    queue = status.queue
    if queue is None:
        yield _labelled("Queue", status.no_queue or "")
    else:
        yield from _block("Queued", [_counts(status, queue), *_waiting(queue, listed)])
        if queue.n_set_aside:
            dead = f"{count(queue.n_set_aside, 'job')}, for the next director or `retry` to process"
            yield _labelled("Dead letters", dead)
    yield from _block("Failed", _failed(status, listed))
    yield _labelled("Done", count(status.n_done, "recording"))


def _labelled(label: str, text: str) -> str:
    return f"{label:{LABEL}}{text}"


def _block(label: str, items: Iterable[str]) -> Iterator[str]:
    for number, item in enumerate(items):
        yield _labelled("" if number else label, item)


def _worker(working: Working) -> str:
    if working.trouble:
        return f"{working.worker}: rests, and then tries again: {working.trouble}"
    done = duration(working.done_s)
    if working.slice_s:
        done += f" of {duration(working.slice_s)}"
    parts = [f"{short_name(working.worker)}: {working.recording}, {done} done"]
    if working.n_recordings > 1:
        parts.append(f"of a job of {working.n_recordings:,} recordings")
    if working.receive_count > 1:
        parts.append(f"try {working.receive_count}")
    if working.silent_s > SILENT_S:
        parts.append(f"silent for {duration(working.silent_s)}")
    return " · ".join(parts)


def _counts(status: Status, queue: QueueState) -> str:
    """Return what waits on the queue, with the queue's name unless it belongs to the current run."""
    its_own = status.live and status.run is not None and status.run.command == "run"
    where = "" if its_own else f" on {queue.name}" + (f" at {queue.server}" if queue.server else "")
    recordings = {path for job in queue.jobs or () if job.waiting for path in job.recordings}
    of_what = f" with {count(len(recordings), 'recording')}" if recordings else ""
    return f"{count(queue.n_waiting, 'job')}{of_what}{where}" + (
        f"; {queue.n_held:,} more in progress or delayed" if queue.n_held else ""
    )


def _waiting(queue: QueueState, listed: int) -> Iterator[str]:
    waiting = [job for job in queue.jobs or () if job.waiting]
    yield from map(_job, waiting[:listed])
    if len(waiting) > listed:
        yield f"… and {count(len(waiting) - listed, 'more job')}"


def _job(job: QueuedJob) -> str:
    if not job.recordings:
        return "a message that is not a job of this version"
    line = job.recordings[0]
    if job.slice:
        line += f" (slice {job.slice} of {job.n_slices})"
    if len(job.recordings) > 1:
        line += f" and {len(job.recordings) - 1:,} more"
    return line + (f" · try {job.receive_count + 1}" if job.receive_count else "")


def _failed(status: Status, listed: int) -> Iterator[str]:
    newest = f", of the newest {FAILURES_KEPT:,}:" if status.n_failed > len(status.failures) >= FAILURES_KEPT else ""
    yield count(status.n_failed, "recording") + newest
    if len(status.failures) <= listed:
        yield from (f"{failure.recording}: {failure.reason}" for failure in status.failures)
        return
    groups: dict[str, list[Failure]] = {}
    for failure in status.failures:
        groups.setdefault(failure_group(failure.code, failure.reason), []).append(failure)
    for alike in list(groups.values())[:listed]:
        if len(alike) == 1:
            yield f"{alike[0].recording}: {alike[0].reason}"
        else:
            sentence = group_sentence(alike[0].code, {each.reason for each in alike})
            yield f"{alike[0].recording} and {len(alike) - 1:,} more: {sentence}"
    if len(groups) > listed:
        yield f"… and {len(groups) - listed:,} other reasons, in {status.dest}/{FAILURES}"
