"""Render the output of `nightscribe forget`."""

import json
from collections.abc import Iterator

from nightscribe.services.forget import Allowed, Forgotten
from nightscribe.shared.destination.erasure import Traces
from nightscribe.terminal import visible_lines
from nightscribe.views.cli_hints import typed
from nightscribe.views.humanize import count
from nightscribe.views.summary import shortened


def as_object(done: Forgotten) -> str:
    """Return the result as one JSON object on one line."""
    names = ("recording", "texts", "edited", "kept", "records", "n_corrections")
    return json.dumps(
        {
            "version": 1,
            "dry_run": done.dry_run,
            "kept_too": done.kept_too,
            "is_at_work": done.is_at_work,
            "newer": done.newer,
            "recordings": [{name: getattr(each, name) for name in names} for each in done.recordings],
        }
    )


@visible_lines
def preview(found: Forgotten) -> Iterator[str]:
    """Yield what would be deleted."""
    yield f"To be deleted for good, of {count(len(found.recordings), 'recording')}:"
    yield from shortened([f"  {_line(each)}" for each in found.recordings], None)
    if edited := [key for each in found.recordings for key in each.edited]:
        yield f"Among them {count(len(edited), 'text')} that somebody has changed:"
        yield from shortened([f"  {key}" for key in edited], None)
    if kept := [key for each in found.recordings for key in each.kept]:
        yield f"Only with --kept, {copies(len(kept))} of edited texts:"
        yield from shortened([f"  {key}" for key in kept], None)
    yield from _rest(found)


@visible_lines
def lines(done: Forgotten) -> Iterator[str]:
    """Yield what was deleted, and what to do next."""
    n_texts = sum(len(each.texts) for each in done.recordings)
    n_texts += done.n_kept if done.kept_too else 0
    yield f"Forgotten for good: {count(len(done.recordings), 'recording')}, {count(n_texts, 'text')}."
    if done.n_kept and not done.kept_too:
        yield f"Left: {copies(done.n_kept)} of edited texts, which are yours to delete."
    yield from _rest(done)
    them = "it" if len(done.recordings) == 1 else "them"
    yield f"No run will transcribe {them} again, unless you allow it: {typed('forget')} DEST NAME --allow"


def _rest(done: Forgotten) -> Iterator[str]:
    if done.newer:
        yield f"Left alone: {count(len(done.newer), 'recording')} with records of a newer nightscribe; update it first."
    if done.is_at_work:
        yield "A run or a director is active. What it finishes of these recordings is deleted by the next run."


def copies(n: int) -> str:
    """Return `1 copy` or `2 copies`."""
    return "1 copy" if n == 1 else f"{n:,} copies"


def _line(each: Traces) -> str:
    parts = [count(len(each.texts), "text"), count(len(each.records), "record")]
    parts += [count(each.n_corrections, "correction")] if each.n_corrections else []
    return f"{each.recording}: {', '.join(parts)}"


@visible_lines
def allowed_lines(done: Allowed, *, dry_run: bool) -> Iterator[str]:
    """Yield how many recordings may be transcribed again."""
    verb = "Would allow" if dry_run else "Allowed"
    if done.n_allowed:
        yield f"{verb} again: {count(done.n_allowed, 'recording')}, which the next run transcribes."
    else:
        yield "No forgotten recording has that name. Give its path below SOURCE as it was, or --source with a glob."
    if done.n_left:
        yield f"Still forgotten: {count(done.n_left, 'recording')}."
