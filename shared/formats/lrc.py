"""Write LRC, the timed lines that music players show.

A line is shown until the next one, so an empty line ends a cue before silence.
"""

import re
from itertools import pairwise

from nightscribe.shared.formats.cues import Cue, cues_of
from nightscribe.shared.formats.format import Format, same_words
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.formats.timecodes import centiseconds
from nightscribe.shared.model.transcript import Transcript

# Players search a whole line for times `[00:01]`, tags `[ar:…]` and word times `<00:01>`, ffmpeg treats any `[` at the
# beginning as one, and LRC has no escape. A word joiner, which has no width, turns them into text.
_LIKE_TAG = re.compile(r"(^\[|[\[<](?=[^\]>]*:))")
_WORD_JOINER = "\u2060"
SILENCE_MS = 500  # a shorter gap between cues is only a breath


def render(transcript: Transcript) -> bytes:
    """Return the tags of the file, then the text of each cue on one line, in UTF-8. Minutes grow past 59."""
    cues = cues_of(transcript, named=True)
    lines = [f"[ti:{_text(transcript.stem.rpartition('/')[2])}]", "[re:nightscribe]"]
    if cues:
        lines.append(f"[length:{_time(cues[-1].end_ms)}]")
    for cue, next_start_ms in _with_next(cues):
        lines.append(f"[{_time(cue.start_ms)}]{_text(' '.join(cue.lines))}")
        if next_start_ms is None or next_start_ms - cue.end_ms >= SILENCE_MS:
            lines.append(f"[{_time(cue.end_ms)}]")
    return "".join(f"{line}\n" for line in lines).encode()


def _with_next(cues: list[Cue]) -> list[tuple[Cue, int | None]]:
    """Return each cue with the start of the next in milliseconds, None for the last."""
    return [(cue, after.start_ms if after else None) for cue, after in pairwise([*cues, None]) if cue]


def _text(text: str) -> str:
    return _LIKE_TAG.sub(rf"{_WORD_JOINER}\g<1>{_WORD_JOINER}", one_line(text))


def _time(ms: int) -> str:
    seconds, hundredths = divmod(centiseconds(ms), 100)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes:02}:{seconds:02}.{hundredths:02}"


FORMAT = Format("lrc", ".lrc", "text/plain; charset=utf-8", render, same_words(render), is_subtitle=True)
