"""Find out which words a person has changed in a text file. Pure.

Only words count: other line breaks, paragraphs, times, encodings and line ends are a person's layout, which stays.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from html import unescape
from typing import NamedTuple

from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.corrections import (
    TOKEN,
    Change,
    Token,
    anchored,
    corrections_of,
    matches,
    normalized,
    opcodes,
    text_after,
    tokens_of,
)
from nightscribe.shared.model.jobs import FormatName
from nightscribe.shared.model.transcript import Transcript

READABLE: tuple[FormatName, ...] = ("txt", "vtt", "srt", "paragraphs")
"""Formats in which edits are understood."""
PLAIN: tuple[FormatName, ...] = ("txt", "paragraphs")
"""Those that hold nothing but what is spoken, and names."""

_TIMES = re.compile(r"^\s*(?:\d+:)?\d+:\d+[.,]\d+\s*-->")
_TAG = re.compile(r"<[^<>\n]*>")
_BLOCK = re.compile(r"\s*(?:WEBVTT|NOTE|STYLE|REGION)\b")


FEW_WORDS = 20
"""A short text may be changed altogether."""


class Found(NamedTuple):
    """A word of a file, and the characters that it takes up there."""

    text: str
    start: int
    end: int


class Edits(NamedTuple):
    """The changes that a person has made in one file."""

    changes: tuple[Change, ...]
    """Changes of the tokens of the corrected text, in the order of their times (see `tokens_of`)."""
    n_others: int
    """Changes that concern no words, such as those of a speaker's name."""


def decode(content: bytes) -> str:
    """Return the text of a file in whichever encoding an editor has written it."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")  # what editors on Windows write otherwise


def words_in(text: str, fmt: FormatName) -> list[Found]:
    """Return the words of a file, without times, numbers and markup."""
    return [
        Found(normalized(unescape(found[0]) if fmt == "vtt" else found[0]), start + found.start(), start + found.end())
        for start, line in _spoken_lines(text, fmt)
        for found in TOKEN.finditer(line)
    ]


def _spoken_lines(text: str, fmt: FormatName) -> Iterator[tuple[int, str]]:
    """Yield what is spoken, line by line with its place; what is not is blanked."""
    if fmt in PLAIN:
        yield 0, text.replace("\ufeff", " ")
        return
    at, is_spoken = 0, False
    for line in text.splitlines(keepends=True):
        if _TIMES.match(line):
            is_spoken = True
        elif not line.strip():
            is_spoken = False  # what follows is a number, a comment or a style, until the next times
        elif is_spoken:
            yield at, _TAG.sub(lambda tag: " " * len(tag[0]), line)
        at += len(line)


def is_same_in_words(content: bytes, transcript: Transcript, fmt: FormatName) -> bool:
    """Return whether a file holds exactly the words of a transcript, however they are laid out; False if unreadable."""
    if fmt not in READABLE:
        return False
    mine = words_in(render(transcript, fmt).decode(), fmt)
    return [each.text for each in words_in(decode(content), fmt)] == [each.text for each in mine]


def edits_in(content: bytes, transcript: Transcript, fmt: FormatName) -> Edits | None:
    """Return what a person has changed in a file that was written from this transcript.

    Returns: None if the file holds its words, or is damaged, or another text: nobody changes more than half of it.
    """
    text = decode(content)
    theirs = words_in(text, fmt)
    mine = [each.text for each in words_in(render(transcript, fmt).decode(), fmt)]
    written = [each.text for each in theirs]
    if (
        written == mine
        or "\0" in text
        or (len(written) < len(mine) and mine[: len(written)] == written and text[-1:] != "\n")
    ):
        return None
    tokens = tokens_of(transcript, by_time=True)
    # Names of speakers and dashes are in the file, but not in the segments.
    place = matches(mine, [token.text for token in tokens])
    changes, n_others, n_changed = list[Change](), 0, 0
    for edit in opcodes(mine, written):
        n_changed += edit[1] - edit[0]
        first, end, their_first, their_end = anchored(*edit, len(mine))
        numbers = [place[at] for at in range(first, end) if at in place]
        if numbers:
            changes.append(Change(min(numbers), max(numbers) + 1, _joined(theirs[their_first:their_end], text)))
        else:
            n_others += 1
    if n_changed > max(FEW_WORDS, len(mine) // 2):
        return None
    return Edits(tuple(_apart(changes, tokens)), n_others)


def with_changes(transcript: Transcript, changes: Sequence[Change], *, by: str, at: datetime) -> Transcript:
    """Return a transcript with changes of its tokens, by time, as corrections.

    If a word could not be told from others near it, the whole segment becomes one correction.
    """
    tokens = tokens_of(transcript, by_time=True)
    wanted = text_after(tokens, changes)
    if transcript.corrections and at <= transcript.corrections[-1].at:
        at = transcript.corrections[-1].at + timedelta(
            microseconds=1
        )  # so that each edit can be told from the one before
    for attempt in (changes, _whole_segments(changes, tokens)):
        made = corrections_of(transcript, tokens, attempt, by=by, at=at)
        new = transcript.model_copy(update={"corrections": (*transcript.corrections, *made)})
        if [token.text for token in tokens_of(new, by_time=True)] == wanted:
            break
    return new


def changes_to(tokens: Sequence[Token], first: int, end: int, text: str) -> list[Change]:
    """Return the changes that turn the tokens from `first` up to `end` into a text."""
    words = words_in(text, "txt")
    mine = [token.text for token in tokens[first:end]]
    changes = []
    for edit in opcodes(mine, [word.text for word in words]):
        i1, i2, j1, j2 = anchored(*edit, len(mine))
        changes.append(Change(first + i1, first + i2, _joined(words[j1:j2], text)))
    return list(_apart(changes, tokens))


def _whole_segments(changes: Sequence[Change], tokens: Sequence[Token]) -> list[Change]:
    """Return changes that replace whole segments."""
    wider = []
    for change in changes:
        first, end = change.first, change.end
        while first and tokens[first - 1].segment == tokens[change.first].segment:
            first -= 1
        while end < len(tokens) and tokens[end].segment == tokens[change.end - 1].segment:
            end += 1
        before, after = tokens[first : change.first], tokens[change.end : end]
        text = " ".join(
            [*(t.text for t in before), *([change.after] if change.after else []), *(t.text for t in after)]
        )
        wider.append(Change(first, end, text))
    return list(_apart(wider, tokens))


def _apart(changes: Sequence[Change], tokens: Sequence[Token]) -> Iterator[Change]:
    """Yield changes that do not overlap: where two do, one of both."""
    last: Change | None = None
    for change in sorted(changes):
        if last and change.first < last.end:
            between = "".join(f"{token.text} " for token in tokens[last.end : change.first])
            last = Change(last.first, max(last.end, change.end), f"{last.after} {between}{change.after}")
            continue
        if last:
            yield last
        last = change
    if last:
        yield last


def _joined(words: Sequence[Found], text: str) -> str:
    """Return words of a file with the spaces between them; a line break in a script without spaces is none."""
    joined = ""
    for before, word in zip([None, *words], words, strict=False):
        gap = text[before.end : word.start] if before else ""
        is_space = bool(gap) and not ("\n" in gap and len(word.text) == 1 and _is_unspaced(word, before))
        joined += (" " if is_space else "") + word.text
    return joined


def _is_unspaced(word: Found, before: Found | None) -> bool:
    return before is not None and all(len(TOKEN.findall(each.text * 2)) > 1 for each in (word, before))


def patched(content: bytes, transcript: Transcript, fmt: FormatName) -> bytes:
    """Return a file with the words of a transcript in the layout that a person has given it."""
    text = decode(content)
    theirs = words_in(text, fmt)
    render_text = render(transcript, fmt).decode()
    wanted = words_in(render_text, fmt)
    for i1, i2, j1, j2 in reversed(opcodes([each.text for each in theirs], [each.text for each in wanted])):
        first, end, wanted_first, wanted_end = anchored(i1, i2, j1, j2, len(theirs))
        if first == end:
            return render_text.encode()
        new = _joined(wanted[wanted_first:wanted_end], render_text)
        start, stop = theirs[first].start, theirs[end - 1].end
        if not new and start and text[start - 1] == " ":
            start -= 1
        text = text[:start] + (_escaped(new) if fmt == "vtt" else new) + text[stop:]
    encoding = "utf-8-sig" if content.startswith(codecs.BOM_UTF8) else "utf-8"
    return text.encode(encoding)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def united(edits: Iterable[tuple[FormatName, Edits]]) -> tuple[tuple[Change, ...], tuple[FormatName, ...]]:
    """Return the changes of several files together, and the formats whose changes contradict each other."""
    kept: list[tuple[Change, FormatName]] = []
    contradicting: dict[FormatName, None] = {}
    for fmt, each in edits:
        for change in each.changes:
            if any(change == other for other, _ in kept):
                continue
            if against := [other for rest, other in kept if change.first < rest.end and rest.first < change.end]:
                contradicting |= dict.fromkeys([*against, fmt])
            else:
                kept.append((change, fmt))
    return tuple(sorted(change for change, _ in kept)), tuple(contradicting)
