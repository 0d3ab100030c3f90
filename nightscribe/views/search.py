"""Render the output of `nightscribe search` and `nightscribe index`."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from urllib.parse import quote

import click

from nightscribe.search.base import Hit
from nightscribe.search.snippets import snippet
from nightscribe.services.search import Indexed, Searched
from nightscribe.terminal import fitted, visible, visible_lines
from nightscribe.views.humanize import count

# The first of these that is installed plays a hit from its second on.
PLAYERS = {"mpv": "mpv --start={at} {file}", "vlc": "vlc --start-time={at} {file}", "ffplay": "ffplay -ss {at} {file}"}
MARK = "**"


def as_object(searched: Searched) -> str:
    """Return the result as one JSON object on one line."""
    found = searched.result
    return json.dumps(
        {
            "version": 1,
            "query": found.query,
            "n_hits": found.n_hits,
            "has_more_hits": found.has_more_hits,
            "offset": found.offset,
            "suggestion": found.suggestion,
            "n_recordings": found.n_recordings,
            "checked_at": found.checked_at.isoformat() if found.checked_at else None,
            "hits": [_hit(hit) for hit in found.hits],
        }
    )


def _hit(hit: Hit) -> dict[str, object]:
    return {
        "recording": hit.recording,
        "start_s": hit.start_s,
        "end_s": hit.end_s,
        "speaker": hit.speaker,
        "text": hit.text,
        "marks": hit.marks,
        "language": hit.language,
        "recorded_at": hit.recorded_at.isoformat(),
        "stem": hit.stem,
    }


def lines(searched: Searched, source: str | None, *, limit: int, is_terminal: bool) -> Iterator[str]:
    """Yield two lines for each hit, and what to do next. `source` overrides where the recordings are."""
    found = searched.result
    place = source or searched.source
    for hit in found.hits:
        head = f"{visible(hit.recording)}  {clock(hit.start_s)}"
        yield click.style(head, bold=is_terminal) + (f"  {visible(hit.speaker)}" if hit.speaker else "")
        yield fitted(f"  {_marked(hit, is_terminal=is_terminal)}")
        if command := play(hit, place):
            yield click.style(f"  {visible(command)}", dim=is_terminal)
    if found.hits:
        total = f"more than {found.n_hits:,}" if found.has_more_hits else f"{found.n_hits:,}"
        last = found.offset + len(found.hits)
        more = f" --page {last // limit + 1} shows more." if found.has_more_hits or last < found.n_hits else ""
        where = f"in {count(found.n_recordings, 'transcript')}."
        if len(found.hits) == found.n_hits and not found.has_more_hits:
            yield f"{count(found.n_hits, 'hit')} {where}"
        else:
            yield f"{found.offset + 1:,} to {last:,} of {total} hits {where}{more}"
    elif found.offset and found.n_hits:
        yield f"There are only {count(found.n_hits, 'hit')}."
    elif not found.is_searchable:
        yield "There is nothing to search for: give a word, or at least one letter or digit."
    else:
        yield f"Nothing found in {count(found.n_recordings, 'transcript')}."
        if found.suggestion:
            yield f"Did you mean: {visible(found.suggestion)}"


def clock(seconds: float) -> str:
    """Return `1:02:03` or `2:03`."""
    minutes, rest_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"


def play(hit: Hit, source: str | None) -> str:
    """Return the command or link that plays a recording from the hit on, or "" if its place is not known."""
    if not source:
        return ""
    at = int(hit.start_s)
    if "://" in source:
        return f"{source.rstrip('/')}/{hit.recording}#t={at}"
    path = Path(source, hit.recording).absolute()
    for name, command in PLAYERS.items():
        if which(name):
            return command.format(at=at, file=shlex.quote(str(path)))
    return f"file://{quote(str(path))}#t={at}"


def _marked(hit: Hit, *, is_terminal: bool) -> str:
    text, marks = snippet(hit.text, hit.marks)
    shown, at = "", 0
    for start, end in marks:
        word = visible(text[start:end])
        shown += visible(text[at:start])
        shown += click.style(word, fg="yellow", bold=True) if is_terminal else f"{MARK}{word}{MARK}"
        at = end
    return shown + visible(text[at:])


@visible_lines
def index_lines(indexed: Indexed) -> Iterator[str]:
    """Yield what has changed, and what the index holds now."""
    done, totals = indexed.updated, indexed.totals
    if done.n_changed or done.n_removed:
        yield f"Indexed: {count(done.n_changed, 'new or changed transcript')}, {done.n_removed:,} removed."
    else:
        yield "The index was up to date."
    if done.n_unreadable:
        yield f"Left out: {count(done.n_unreadable, 'record')} that cannot be read; see nightscribe verify."
    size = f"{totals.n_bytes / 2**20:,.1f} MB"
    held = f"{count(totals.n_recordings, 'transcript')}, {count(totals.n_passages, 'passage')}"
    yield f"Index: {held}, {size}: {indexed.path}"
