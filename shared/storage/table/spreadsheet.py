"""Make cells that no spreadsheet program takes for a formula. Pure."""

import re

_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*([eE][+-]?\d+)?%?")
MARK = "'"  # spreadsheet programs show what follows it as text


def guarded(cell: str) -> str:
    """Return a cell that begins like a formula with a mark before it, so that no program runs it; numbers stay."""
    if cell.lstrip(" ").startswith(_STARTS) and not _NUMBER.fullmatch(cell.strip()):
        return MARK + cell
    return cell


def unguarded(cell: str) -> str:
    """Return what `guarded` was given."""
    return cell[1:] if cell.startswith(MARK) and guarded(cell[1:]) == cell else cell
