"""Make text safe to show: file names are chosen by others, and may try to control the terminal that shows them.

A name may hold escape sequences that move the cursor or change colours, a line break that begins a forged line, or a
character that reverses the writing direction of all that follows. JSON output is exact and does not pass through here.
"""

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import chain
from typing import ParamSpec

P = ParamSpec("P")

_PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_C1 = range(0x80, 0xA0)
_C1_BYTES = range(0xDC80, 0xDCA0)  # the same characters as undecodable bytes of a name, as Python represents them
_LINE_ENDS = (0x2028, 0x2029)
_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE: dict[int, int | str] = {
    **_PICTURES,
    **{code: f"\\x{code:02x}" for code in _C1},
    **{code: f"\\x{code - 0xDC00:02x}" for code in _C1_BYTES},
    **{code: f"\\u{code:04x}" for code in chain(_LINE_ENDS, _DIRECTIONS)},
}


def visible(text: str) -> str:
    """Return the text as one line that cannot affect the terminal or the writing direction.

    Control characters become their pictures (`␛`, `␊`), and those without a picture become escapes (`\\x9b`,
    `\\u202e`). All other characters, including letters of any script, are unchanged.
    """
    return text if text.isascii() and text.isprintable() else text.translate(_VISIBLE)


def fitted(line: str) -> str:
    """Return a line for standard output, broken between words where a terminal would break it in the middle of one.

    Later lines are indented by two more spaces. Nothing changes where the output is no terminal, and no word is broken:
    paths and commands stay whole.
    """
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line, max(width, 20), subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False,
        replace_whitespace=False, drop_whitespace=True, expand_tabs=False,
    )  # fmt: skip


def visible_lines(make: Callable[P, Iterator[str]]) -> Callable[P, Iterator[str]]:
    """Make a function that yields lines yield them as `visible` returns them."""

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> Iterator[str]:
        return map(visible, make(*args, **kwargs))

    return made
