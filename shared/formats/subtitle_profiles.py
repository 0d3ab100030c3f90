"""The guidelines that subtitles follow, as numbers. Pure data.

Sources: Netflix, Timed Text Style Guide, general requirements and the guides of single languages; BBC, Subtitle
Guidelines 1.2. Widths are in columns, of which East Asian characters take two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nightscribe.shared.model.jobs import BBC, NETFLIX, PLAIN, Layout, SubtitleProfile


@dataclass(frozen=True)
class Profile:
    """What a guideline demands of cues."""

    line_chars: int
    """Longest line, in columns."""
    lines: int
    """Most lines of a cue."""
    columns_per_s: float
    """How fast people read."""
    min_ms: int
    """Shortest time for which a cue is shown, where the next one leaves it."""
    max_ms: int
    linger_ms: int
    """How long a cue stays after its last word, where the next one leaves that time."""
    gap_ms: int
    """Gap between two cues that follow each other closely."""
    flicker_ms: int
    """A longer gap than `gap_ms`, but shorter than this, flickers, so that the cue stays until the next."""
    line_chars_of: Mapping[str, int] = field(default_factory=dict)
    """Longest line in single languages."""
    columns_per_s_of: Mapping[str, float] = field(default_factory=dict)


UNLIMITED = 10**9
_SLOWER = dict.fromkeys("cs da de el es fi fr hr hu it nl no pl pt ro ru sv th tr uk vi".split(), 17.0)  # noqa: SIM905

PROFILES: Mapping[SubtitleProfile, Profile] = {
    PLAIN: Profile(
        line_chars=UNLIMITED,  # the layout alone decides
        lines=UNLIMITED,
        columns_per_s=20,
        min_ms=1000,
        max_ms=7000,
        linger_ms=500,
        gap_ms=80,  # two frames of 25 a second: the eye sees that the text has changed
        flicker_ms=500,
    ),
    NETFLIX: Profile(
        line_chars=42,
        lines=2,
        columns_per_s=20,
        min_ms=834,  # five sixths of a second
        max_ms=7000,
        linger_ms=500,  # twelve frames
        gap_ms=84,  # two frames of 24 a second
        flicker_ms=500,
        line_chars_of={"zh": 32, "yue": 32, "ja": 26, "ko": 32, "th": 35, "ru": 39, "uk": 39},
        columns_per_s_of={**_SLOWER, "zh": 18, "yue": 18, "ja": 8, "ko": 24, "hi": 22},
    ),
    BBC: Profile(
        line_chars=37,
        lines=2,
        columns_per_s=16,  # 160 words a minute
        min_ms=1000,
        max_ms=7000,
        linger_ms=500,
        gap_ms=0,
        flicker_ms=1000,
    ),
}


def profile_of(layout: Layout, language: str | None) -> Profile:
    """Return the profile of a layout for a language; the layout's own limits count where they are stricter."""
    profile = PROFILES[layout.subtitles]
    code = language or ""
    line_chars = profile.line_chars_of.get(code, profile.line_chars)
    return replace(
        profile,
        line_chars=min(layout.line_chars, line_chars),
        lines=min(layout.lines, profile.lines),
        columns_per_s=profile.columns_per_s_of.get(code, profile.columns_per_s),
    )
