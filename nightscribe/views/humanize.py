"""Write numbers and reasons for people."""

from collections.abc import Collection, Iterable

from nightscribe.shared.errors import UNKNOWN
from nightscribe.shared.model.failure_codes import SENTENCES
from nightscribe.shared.model.transcript import Flag


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


def flag_names(flags: Iterable[Flag], confidence: float | None) -> list[str]:
    """Return the flags of a transcript, low confidence with the expected share of right words."""
    right = "" if confidence is None else f" (about {100 * confidence:.0f} % of the doubtful words right)"
    return [flag + right if flag == Flag.LOW_CONFIDENCE else str(flag) for flag in flags]


def failure_group(code: str, reason: str) -> str:
    """Return the key by which failures are grouped: the code, or the reason itself where there is no code."""
    return reason if code == UNKNOWN else code


def group_sentence(code: str, reasons: Collection[str]) -> str:
    """Return one sentence for failures of one code: their reason if they share it, else what they have in common."""
    [first, *others] = set(reasons)
    return SENTENCES.get(code, SENTENCES[UNKNOWN]) if others else first
