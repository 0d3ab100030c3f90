"""Write numbers and reasons for people."""

import re


def duration(seconds: float) -> str:
    """Return `4.2 s`, `42 s`, `2 min 30 s`, `42 min` or `3 h 05 min`."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 600:
        minutes, rest_s = divmod(round(seconds), 60)
        return f"{minutes} min {rest_s:02} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def count(n: int, thing: str) -> str:
    """Return `1 recording` or `1,200 recordings`."""
    return f"{n:,} {thing}" + ("" if n == 1 else "s")


def kind(reason: str, recording: str) -> str:
    """Return why a recording failed, without the names in it, so that equal reasons can be grouped."""
    return re.sub(r"(?<!\w)'[^']+'(?!\w)", "…", reason.replace(repr(recording), "It", 1))
